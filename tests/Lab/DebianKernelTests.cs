namespace Dataplane.Tests;

/// <summary>On the kernel that Debian installs, which knows no iommufd.</summary>
[Guest(Machines.Debian)]
public sealed class DebianKernelTests
{
    [Fact]
    public void Kernel_IsDebiansAndHasGroupsAlone()
    {
        Assert.EndsWith("-amd64\n", File.ReadAllText("/proc/sys/kernel/osrelease"), StringComparison.Ordinal);
        Assert.False(File.Exists("/dev/iommu") || Directory.Exists("/dev/vfio/devices"));
        Assert.Equal(Guest.Nics.Length,
            Directory.GetFiles("/dev/vfio").Count(file => int.TryParse(Path.GetFileName(file), out _)));
    }

    [Fact]
    public void Nic_OpenedAsTheKernelLetsUs_IsBehindType1()
    {
        using Eal eal = VfioGuest.Start(IommuBackend.Auto);
        using PciFunction function = eal.OpenNic(Guest.Nics[0]);
        Assert.IsType<VfioContainer>(function.Container);
        Assert.Equal(0x8086, function.ReadConfig16(0));
    }

    [Fact]
    public void Forward_OnBoundNics_MovesPackets()
    {
        using var forward = new GuestForward("igb");
        forward.WaitForTraffic().Stop();
    }
}
