using Dataplane.Dpctl;

namespace Dataplane.Tests;

/// <summary>What doctor says of IOMMU, VFIO and iommufd.</summary>
public sealed class DpctlDmaChecksTests : IDisposable
{
    private const string Group = "/sys/kernel/iommu_groups/0/", Vfio = "/sys/bus/pci/drivers/vfio-pci/",
        Switch = "/sys/module/iommufd/parameters/allow_unsafe_interrupts";
    private readonly FakeHost _host = new();

    public void Dispose() => _host.Dispose();

    private void Expect(string check, Status status, string text, string? fix = null)
    {
        Finding finding = Assert.Single(DmaChecks.All(_host), one => one.Check == check);
        Assert.Equal(status, finding.Status);
        Assert.Contains(text, finding.Text, StringComparison.Ordinal);
        Assert.Equal(status == Status.Ok, finding.Fix == null);
        if (fix != null)
            Assert.Contains(fix, finding.Fix, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("GenuineIntel", "intel_iommu=on")]
    [InlineData("AuthenticAMD", "AMD-Vi")]
    public void Iommu_None_WarnsInTheVendorsWords(string vendor, string fix)
    {
        _host.With("/proc/cpuinfo", $"vendor_id : {vendor}");
        Expect("iommu", Status.Warn, "none", fix);
    }

    [Fact]
    public void Iommu_OnlyGroupsOfVfiosOwn_IsNone()
    {
        _host.With(Group + "name", "vfio-noiommu");
        Expect("iommu", Status.Warn, "none");
        _host.With("/sys/kernel/iommu_groups/1/type", "DMA").With("/sys/class/iommu/dmar0/x", "");
        Expect("iommu", Status.Ok, "1 groups (dmar0)");
    }

    [Fact]
    public void Remapping_None_SaysThatVfioRefuses()
    {
        _host.With(Group + "type", "DMA").With("/proc/interrupts", "  1:  9  IO-APIC  1-edge  i8042");
        Expect("remapping", Status.Warn, "refuse devices (EPERM)", "in the firmware");
        _host.With(Switch, "Y");
        Expect("remapping", Status.Warn, "told to accept that", $"echo 0 | sudo tee {Switch}");
        _host.With("/proc/interrupts", "  1:  9  IR-IO-APIC  1-edge  i8042");
        Expect("remapping", Status.Ok, "remaps");
    }

    [Fact]
    public void Vfio_NotLoaded_IsOneCommandAway() =>
        Expect("vfio", Status.Warn, "not loaded", "sudo modprobe vfio-pci");

    [Fact]
    public void Vfio_ClosedGroup_IsNamed()
    {
        _host.With(Vfio + "new_id", "").With("/dev/vfio/vfio", "");
        Expect("vfio", Status.Ok, "nothing is bound");
        _host.With("/dev/vfio/12", "").With("/dev/vfio/devices/vfio0", "").Closed.Add("/dev/vfio/12");
        Expect("vfio", Status.Warn, "may not open /dev/vfio/12", "sudo dpctl bind --user $USER");
        _host.Closed.Clear();
        Expect("vfio", Status.Ok, "all 2 files of bound devices");
    }

    [Fact]
    public void Iommufd_NodesAndRights_AreLookedAt()
    {
        Expect("iommufd", Status.Ok, "not in this kernel");
        _host.With("/dev/iommu", "").With(Vfio + "0000:01:00.0/x", "");
        Expect("iommufd", Status.Ok, "no nodes for it");
        _host.With("/dev/vfio/devices/vfio0", "");
        Expect("iommufd", Status.Ok, "open to this user");
        _host.Closed.Add("/dev/iommu");
        Expect("iommufd", Status.Warn, "may not open /dev/iommu", "--user");
    }

    [Fact]
    public void UnsafeWays_InUse_AreWarnedOf()
    {
        Expect("noiommu", Status.Ok, "off");
        Expect("uio", Status.Ok, "no device");
        _host.With("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y")
            .With("/sys/bus/pci/drivers/uio_pci_generic/0000:03:00.0/x", "");
        Expect("noiommu", Status.Warn, "overwrite all memory", "echo 0");
        Expect("uio", Status.Warn, "0000:03:00.0", "sudo dpctl bind 0000:03:00.0");
    }
}
