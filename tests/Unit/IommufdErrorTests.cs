namespace Dataplane.Tests;

/// <summary>What the kernel refuses ends in a message that says what to do.</summary>
public class IommufdErrorTests
{
    private static PciDevice Nic => new()
    {
        Address = new(0, 2, 0, 0), Vendor = 0x8086, Device = 0x10c9, SysfsPath = "/sys", IommuGroup = 7,
        VfioDevice = "vfio3", KernelDriver = "vfio-pci",
    };

    [Theory]
    [InlineData(Errno.ENOENT, "CONFIG_IOMMUFD", "--iommu-backend=type1")]
    [InlineData(Errno.EACCES, "owner and mode", "sudo dpctl bind")]
    public void Node_ThatCannotBeOpened_SaysWhatToDo(Errno errno, string why, string fix) =>
        AssertSays(IommufdErrors.Node(errno), errno, why, fix);

    [Theory]
    [InlineData(Errno.ENOENT, "has gone", "sudo dpctl bind 0000:02:00.0")]
    [InlineData(Errno.EACCES, "owner and mode", "sudo dpctl bind 0000:02:00.0 --user")]
    public void Cdev_ThatCannotBeOpened_SaysWhatToDo(Errno errno, string why, string fix) =>
        AssertSays(IommufdErrors.Cdev(Nic, "/dev/vfio/devices/vfio3", errno), errno, why, fix);

    [Theory]
    [InlineData(Errno.EPERM, "does not remap interrupts", "allow_unsafe_interrupts")]
    [InlineData(Errno.EACCES, "has a token", "--vfio-vf-token")]
    [InlineData(Errno.EINVAL, "in use already", "once")]
    [InlineData(Errno.ENODEV, "no IOMMU", "intel_iommu=on")]
    public void Bind_Refused_SaysWhatToDo(Errno errno, string why, string fix) =>
        AssertSays(IommufdErrors.Bind(Nic, new("x", errno), token: false, "/nowhere", "/nowhere"), errno, why, fix);

    [Theory]
    [InlineData(64 * 4096, 0)]
    [InlineData(3 * 4096, 3 * 4096)]         // the kernel would count pages of 4096
    [InlineData(4096 + 2048, 4096)]
    [InlineData(65 * 4096, 4096)]
    public void GetDirtyBitmap_KernelWouldWriteBehindIt_IsRefused(ulong length, ulong pageSize)
    {
        using var none = new Microsoft.Win32.SafeHandles.SafeFileHandle();
        Assert.Throws<ArgumentOutOfRangeException>(() =>
            Native.Iommufd.GetDirtyBitmap(none, 1, 0, length, pageSize, new ulong[1], 0));
    }

    [Theory]
    [InlineData(Errno.EPERM)]
    [InlineData(Errno.EBUSY)]
    public void Bind_RefusedForASiblingOfTheKernel_NamesItAndItsDriver(Errno errno)
    {
        using var sys = new FakeSys();
        string members = Path.Combine(sys.Root, "kernel/iommu_groups/7/devices");
        foreach ((string address, string driver) in (ReadOnlySpan<(string, string)>)
            [("0000:02:00.0", "vfio-pci"), ("0000:02:00.1", "igb")])
        {
            Directory.CreateDirectory(Path.Combine(members, address));
            Directory.CreateDirectory(Path.Combine(sys.Root, driver));
            Directory.CreateSymbolicLink(Path.Combine(members, address, "driver"), Path.Combine(sys.Root, driver));
        }
        DataplaneException e = IommufdErrors.Bind(Nic, new("x", errno), token: false, sys.Root);
        Assert.Contains("0000:02:00.1 is bound to igb", e.Message, StringComparison.Ordinal);
        Assert.Contains("sudo dpctl bind --group 7", e.Fix, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true, "IR-PCI-MSI", "held by process 71 (dpdk-testpmd)")]    // whose descriptors may be seen
    [InlineData(false, "IR-PCI-MSI", "held by a process of another user")]
    [InlineData(false, "PCI-MSI", "does not remap interrupts")]
    public void Bind_PermissionForAGroup_TellsItsUserFromInterrupts(bool seen, string chip, string why)
    {
        using var sys = new FakeSys();
        foreach ((string address, string vfio) in (ReadOnlySpan<(string, string)>)
            [("0000:02:00.0", "vfio3"), ("0000:02:00.1", "vfio4")])
        {
            Directory.CreateDirectory($"{sys.Root}/kernel/iommu_groups/7/devices/{address}");
            Directory.CreateDirectory($"{sys.Root}/bus/pci/devices/{address}/vfio-dev/{vfio}");
        }
        Directory.CreateDirectory($"{sys.Root}/71/fd");
        File.WriteAllText($"{sys.Root}/71/comm", "dpdk-testpmd\n");
        File.WriteAllText($"{sys.Root}/interrupts", $" 24:  0  {chip}-0000:00:01.0  0-edge  nic\n");
        // One that holds the function itself is told apart from this by another error.
        File.CreateSymbolicLink($"{sys.Root}/71/fd/5", "/dev/vfio/devices/" + (seen ? "vfio4" : "vfio3"));
        AssertSays(IommufdErrors.Bind(Nic, new("x", Errno.EPERM), token: false, sys.Root, sys.Root), Errno.EPERM, why,
            why.StartsWith("held", StringComparison.Ordinal) ? "end that process" : "allow_unsafe_interrupts");
    }

    [Fact]
    public void Bind_BusyOtherwise_NamesTheOldInterface() =>
        AssertSays(IommufdErrors.Bind(Nic, new("x", Errno.EBUSY), token: false, "/nowhere"), Errno.EBUSY,
            "/dev/vfio/7", "--iommu-backend=type1");

    [Fact]
    public void Map_TooLittleLockedMemory_SaysTheLimit()
    {
        DataplaneException? e = IommufdErrors.Map(new("x", Errno.ENOMEM), new(0, 4 << 20, Iova.Bad), 60 << 20);
        Assert.Contains("65536 KB", e!.What, StringComparison.Ordinal);
        Assert.Null(IommufdErrors.Map(new("x", Errno.EEXIST), default, 0));
    }

    [Fact]
    public void NoCdev_BoundOrNot_TellsThemApart()
    {
        Assert.Contains("type1", IommufdErrors.NoCdev(Nic).Fix, StringComparison.Ordinal);
        Assert.Contains("igb", IommufdErrors.NoCdev(Nic with { KernelDriver = "igb" }).Why, StringComparison.Ordinal);
    }

    private static void AssertSays(DataplaneException e, Errno errno, string why, string fix)
    {
        Assert.Equal(errno, e.Errno);
        Assert.Contains(why, e.Why, StringComparison.Ordinal);
        Assert.Contains(fix, e.Fix, StringComparison.Ordinal);
        Assert.Equal(DmaBackends.See, e.See);
    }
}
