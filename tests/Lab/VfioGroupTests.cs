using System.Diagnostics;

namespace Dataplane.Tests;

/// <summary>A slot with two functions in one IOMMU group, neither of which can be reset alone.</summary>
[Guest(Machines.Intel)]
public sealed class VfioGroupTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(1);
    private readonly string _nic = Guest.Pair("e1000e").Second, _other;
    private readonly ITestOutputHelper _output;
    private readonly GuestSlot _slot;

    // Conventional functions have no ACS, no function level reset and, as QEMU makes them, no power management. Both
    // must say that there are several: the kernel makes a function's group before it has seen the next.
    public VfioGroupTests(ITestOutputHelper output)
    {
        _output = output;
        _other = _nic[..^1] + "1";
        _slot = new GuestSlot(_nic);
        Swap(_other, "e1000,addr=0.1,multifunction=on,id=beside", "e1000,addr=0.0,multifunction=on,id=first");
        Bind(_nic);
    }

    public void Dispose()
    {
        Swap(_nic);
        Bind(_nic);
    }

    [Theory]
    [InlineData(IommuBackend.Type1)]
    [InlineData(IommuBackend.Iommufd)]
    public void Group_OfTwoFunctions_IsUsedAsAWholeAndResetAsAWhole(IommuBackend backend)
    {
        Assert.Equal(Group(_nic), Group(_other));
        using Eal eal = VfioGuest.Start(backend);
        DeviceException refused = Assert.Throws<DeviceException>(() => eal.OpenNic(_nic));
        Assert.Equal(Errno.EPERM, refused.Errno);
        Assert.Contains($"group {Group(_nic)} is not viable", refused.What, StringComparison.Ordinal);
        Assert.Contains($"{_other} is bound to e1000", refused.Why, StringComparison.Ordinal);
        Assert.DoesNotContain(_nic, refused.Why, StringComparison.Ordinal);
        Assert.Equal($"sudo dpctl bind --group {Group(_nic)}", refused.Fix);

        Bind(_other);
        using PciFunction function = eal.OpenNic(_nic);
        Mmio registers = function.MapBar(0);
        registers.Write(IntelRegs.VlanEtherType, 0x1234);
        using (PciFunction beside = eal.OpenNic(_other))
        {
            Assert.Same(function.Container, beside.Container);
            Assert.False(function.Reset(), "the other is in use");
        }
        Assert.Equal(0x1234u, registers.Read(IntelRegs.VlanEtherType));   // neither its opening nor its end did
        Assert.True(function.Reset(), "nobody else is there");
        Assert.NotEqual(0x1234u, registers.Read(IntelRegs.VlanEtherType));
    }

    [Fact]
    public void Group_OneFunctionWithAnotherProcess_IsSaidSo()
    {
        Bind(_other);
        string file = Path.Combine("/tmp", Path.GetRandomFileName());
        using Eal eal = VfioGuest.Start(IommuBackend.Iommufd);
        using (Process child = VfioGuest.Child(nameof(VfioChildTests.OpenAndStay), _other, file, IommuBackend.Iommufd))
        {
            VfioGuest.WaitForFile(file, child);
            DeviceException refused = Assert.Throws<DeviceException>(() => eal.OpenNic(_nic));
            _output.WriteLine(refused.Message);
            child.Kill();
            child.WaitForExit();
            Assert.Equal(Errno.EPERM, refused.Errno);
            Assert.Contains($"held by process {child.Id} ", refused.Why, StringComparison.Ordinal);
            Assert.DoesNotContain("interrupts", refused.Message, StringComparison.Ordinal);
        }
        using PciFunction function = eal.OpenNic(_nic);
        Assert.Equal(0x8086, function.ReadConfig16(0));
    }

    private void Swap(string awaited, params ReadOnlySpan<string> functions)
    {
        _slot.PullOut();
        Assert.True(SpinWait.SpinUntil(() => !Directory.Exists(Sysfs(_nic)), s_patience), "still there");
        if (functions.IsEmpty)
            _slot.PlugIn();
        else
            _slot.PlugIn(functions);
        Assert.True(SpinWait.SpinUntil(() => Directory.Exists(Sysfs(awaited) + "/driver"), s_patience), "not there");
    }

    private static void Bind(string address)
    {
        File.WriteAllText(Sysfs(address) + "/driver_override", "vfio-pci");
        File.WriteAllText(Sysfs(address) + "/driver/unbind", address);
        File.WriteAllText("/sys/bus/pci/drivers_probe", address);
    }

    private static string Group(string address) =>
        Path.GetFileName(Directory.ResolveLinkTarget(Sysfs(address) + "/iommu_group", false)!.FullName);

    private static string Sysfs(string address) => $"/sys/bus/pci/devices/{address}";
}
