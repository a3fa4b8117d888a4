namespace Dataplane.Tests;

/// <summary>An IOMMU that remaps no interrupts.</summary>
[Guest(Machines.NoRemapping)]
public sealed class IommufdRefusalTests
{
    [Theory]
    [InlineData("igb")]
    [InlineData("virtio")]
    public void Open_NoInterruptRemapping_SaysWhyAndLeavesNothing(string model)
    {
        using Eal eal = Eal.Initialize(["-l", "0", "-m", "16", "--iommu-backend=iommufd"], out _);
        PciDevice device = PciScan.One("/sys", PciAddress.Parse(Guest.Pair(model).First))!;
        var e = Assert.Throws<DeviceException>(() => eal.Dma.Open(device));
        Assert.Equal(Errno.EPERM, e.Errno);
        Assert.Contains("does not remap interrupts", e.Why, StringComparison.Ordinal);
        Assert.Contains("/sys/module/iommufd/parameters/allow_unsafe_interrupts", e.Fix, StringComparison.Ordinal);
        Assert.Empty(eal.Dma.Containers);
    }
}
