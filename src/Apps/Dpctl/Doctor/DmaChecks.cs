namespace Dataplane.Dpctl;

/// <summary>What doctor asks of the way to a bound NIC: IOMMU, interrupt remapping, VFIO, iommufd.</summary>
internal static class DmaChecks
{
    private const string Groups = "/sys/kernel/iommu_groups",
        NoIommu = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
    private static readonly string[] s_unsafe =
        ["/sys/module/iommufd/parameters/allow_unsafe_interrupts",
        "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"];

    internal static IEnumerable<Finding> All(Host host) =>
        [Iommu(host), Remapping(host), Vfio(host), Iommufd(host), UnsafeMode(host), Uio(host)];

    private static Finding Iommu(Host host)
    {
        // VFIO's no-iommu mode makes groups too; they have this name.
        int groups = host.List(Groups).Count(group => host.Read($"{Groups}/{group}/name") != "vfio-noiommu");
        if (groups > 0)
            return new("iommu", Status.Ok, $"{groups} groups ({string.Join(", ", host.List("/sys/class/iommu"))})");
        return new("iommu", Status.Warn, "there is none, or it is off: a NIC cannot be given to a process safely",
            $"switch {(IsAmd(host) ? "AMD-Vi" : "VT-d")} on in the firmware, then "
            + BootParameters.Fix(host, IsAmd(host) ? "iommu=pt" : "intel_iommu=on iommu=pt"));
    }

    // The names of interrupt controllers behind a remapping IOMMU begin with IR- (arch/x86, kernel/irq).
    private static Finding Remapping(Host host)
    {
        if (host.List(Groups).Count == 0)
            return new("remapping", Status.Ok, "without an IOMMU there are no interrupts to remap");
        if (host.Read("/proc/interrupts") is not { } text || text.Contains(" IR-", StringComparison.Ordinal)
            || !text.Contains("IO-APIC", StringComparison.Ordinal))
            return new("remapping", Status.Ok, "the IOMMU remaps interrupts");
        string[] switches = [.. s_unsafe.Where(host.Exists)];
        if (switches.Any(path => host.Read(path) is "Y" or "1"))
            return new("remapping", Status.Warn, "the IOMMU does not remap interrupts, and VFIO was told to accept "
                + "that: a device can raise any interrupt of this machine",
                $"echo 0 | sudo tee {string.Join(' ', switches)}");
        return new("remapping", Status.Warn, "the IOMMU does not remap interrupts: VFIO and iommufd refuse devices "
            + "(EPERM)", "switch interrupt remapping (or x2APIC) on in the firmware; or accept that (for a test): "
            + $"echo 1 | sudo tee {string.Join(' ', switches.Length > 0 ? switches : s_unsafe)}");
    }

    private static Finding Vfio(Host host)
    {
        if (!host.Exists("/sys/bus/pci/drivers/vfio-pci"))
            return new("vfio", Status.Warn, "vfio-pci is not loaded: no NIC can be bound", "sudo modprobe vfio-pci");
        string[] nodes = [.. host.List("/dev/vfio").Where(name => name is not "vfio" and not "devices")
            .Select(n => "/dev/vfio/" + n), .. host.List("/dev/vfio/devices")
            .Select(name => "/dev/vfio/devices/" + name)];
        string[] closed = [.. nodes.Where(path => !host.MayReadWrite(path))];
        if (closed.Length > 0)
            return new("vfio", Status.Warn, $"this user may not open {string.Join(", ", closed)}",
                "sudo dpctl bind --user $USER ADDRESS (dpctl status lists addresses)");
        return new("vfio", Status.Ok, nodes.Length == 0 ? "vfio-pci is loaded; nothing is bound to it"
            : $"all {nodes.Length} files of bound devices are open to this user");
    }

    private static Finding Iommufd(Host host)
    {
        if (!host.Exists("/dev/iommu"))
            return new("iommufd", Status.Ok, "not in this kernel (6.2 and later, CONFIG_IOMMUFD): type1 serves too");
        bool bound = host.List("/sys/bus/pci/drivers/vfio-pci", "*:*").Count > 0;
        if (bound && !host.Exists("/dev/vfio/devices"))
            return new("iommufd", Status.Ok, "there, but devices have no nodes for it (6.6 and later, "
                + "CONFIG_VFIO_DEVICE_CDEV): type1 serves as well");
        return host.MayReadWrite("/dev/iommu") ? new("iommufd", Status.Ok, "/dev/iommu is open to this user")
            : new("iommufd", Status.Warn, "this user may not open /dev/iommu",
                "sudo dpctl bind --user $USER ADDRESS (dpctl status lists addresses)");
    }

    private static Finding UnsafeMode(Host host) => host.Read(NoIommu) is "Y" or "1"
        ? new("noiommu", Status.Warn, "VFIO's mode without an IOMMU is on: a bound device can overwrite all memory",
            $"echo 0 | sudo tee {NoIommu}")
        : new("noiommu", Status.Ok, "VFIO's mode without an IOMMU is off");

    // A driver of that kind gives a device to any process that maps it, with no IOMMU in between.
    private static Finding Uio(Host host)
    {
        string[] bound = [.. new[] { "uio_pci_generic", "igb_uio" }.SelectMany(driver =>
            host.List($"/sys/bus/pci/drivers/{driver}", "*:*"))];
        return bound.Length == 0 ? new("uio", Status.Ok, "no device is bound to a UIO driver")
            : new("uio", Status.Warn, $"{string.Join(", ", bound)}: on a UIO driver, which no IOMMU holds in check",
                $"sudo dpctl bind {string.Join(' ', bound)}");
    }

    private static bool IsAmd(Host host) => host.Read("/proc/cpuinfo")?.Contains("AuthenticAMD") == true;
}
