namespace Dataplane.Tests;

/// <summary>Devices without an IOMMU, by physical addresses.</summary>
[Guest(Machines.Bare)]
public sealed class NoIommuTests
{
    private const string Switch = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

    [Theory]
    [InlineData("igb")]
    [InlineData("e1000e")]
    [InlineData("virtio")]
    [InlineData("virtio-packed")]
    public unsafe void Open_WithTheOption_GivesPhysicalAddresses(string model)
    {
        using Eal eal = VfioGuest.Start(IommuBackend.Auto, unsafeNoIommu: true);
        (string first, string second) = Guest.Pair(model);
        using PciFunction function = eal.OpenNic(first), other = eal.OpenNic(second);
        Assert.Equal(("noiommu", IovaMode.Pa), (function.Container.Backend, function.Container.IovaMode));
        Assert.Same(function.Container, other.Container);
        Memseg memseg = eal.Memory.Memsegs[0];
        Assert.Equal(eal.Memory.ToIova((void*)memseg.Address), function.Container.ToIova((void*)memseg.Address));
        Assert.NotEqual(memseg.Address, function.Container.ToIova((void*)memseg.Address).Value);
        function.SetBusMaster(true);
        Assert.Equal(4, function.ReadConfig16(4) & 4);
        function.SetInterrupts(InterruptKind.MsiX, 1);
    }

    [Fact]
    public void Open_WithoutTheOption_SaysThatItIsNotSafe()
    {
        using Eal eal = VfioGuest.Start(IommuBackend.Auto);
        DeviceException refused = Assert.Throws<DeviceException>(() => eal.OpenNic(Guest.Pair("igb").First));
        Assert.Contains("--unsafe-noiommu", refused.Fix, StringComparison.Ordinal);
    }

    [Fact]
    public void Open_WithTheModeSwitchedOff_NamesTheSwitch()
    {
        using Eal eal = VfioGuest.Start(IommuBackend.Auto, unsafeNoIommu: true);
        File.WriteAllText(Switch, "0");
        try
        {
            DeviceException refused = Assert.Throws<DeviceException>(() => eal.OpenNic(Guest.Pair("igb").First));
            Assert.Contains(Switch, refused.Fix, StringComparison.Ordinal);
        }
        finally
        {
            File.WriteAllText(Switch, "1");
        }
        using PciFunction function = eal.OpenNic(Guest.Pair("igb").First);
        Assert.Equal("noiommu", function.Container.Backend);
    }
}
