namespace Dataplane;

/// <summary>What VFIO's refusals mean and what to do about them, in words of devices and commands.</summary>
internal static class VfioErrors
{
    // Drivers that VFIO tolerates beside its own: they do no DMA (drivers/vfio/vfio.h, group viability).
    private static readonly string[] s_harmless = ["vfio-pci", "pcieport", "pci-stub", "none"];

    /// <summary>The container's node cannot be opened.</summary>
    internal static DeviceException ContainerNode(Errno errno) => errno switch
    {
        Errno.ENOENT or Errno.ENODEV => new($"cannot open {VfioGroupContainer.ContainerNode}",
            "the kernel's VFIO is not loaded", "sudo modprobe vfio-pci", DmaBackends.See, errno),
        Errno.EACCES or Errno.EPERM => new($"cannot open {VfioGroupContainer.ContainerNode}",
            "its mode does not let this user", $"sudo chmod 666 {VfioGroupContainer.ContainerNode} (by itself it gives "
            + "no access to any device)", DmaBackends.See, errno),
        _ => new($"cannot open {VfioGroupContainer.ContainerNode}", errno: errno),
    };

    /// <summary>VFIO without the IOMMU driver.</summary>
    internal static DeviceException NoType1() => new("this kernel's VFIO has no type1 IOMMU",
        "the module vfio_iommu_type1 is not loaded, or there is no IOMMU", "sudo modprobe vfio_iommu_type1",
        DmaBackends.See, Errno.ENODEV);

    /// <summary>A group's node cannot be opened.</summary>
    internal static DeviceException GroupNode(PciDevice device, string node, Errno errno)
    {
        string what = $"cannot open {node} for {device}", bind = $"sudo dpctl bind {device.Address}";
        return errno switch
        {
            Errno.ENOENT => new(what, device.KernelDriver == "vfio-pci"
                ? "the kernel made no such node: it has no VFIO groups (CONFIG_VFIO_GROUP)"
                : $"the device is bound to {device.KernelDriver ?? "no kernel driver"}", bind, DmaBackends.See, errno),
            Errno.EACCES => new(what, "its owner and mode do not let this user",
                $"{bind} --user {Environment.UserName}", DmaBackends.See, errno),
            Errno.EPERM => new(what, "a device without an IOMMU takes the right CAP_SYS_RAWIO", "run as root",
                DmaBackends.See, errno),
            Errno.EBUSY => new(what, FileHolder.Describe(node), "end it; a group has one user at a time",
                DmaBackends.See, errno),
            _ => new(what, errno: errno),
        };
    }

    /// <summary>A group with a member that a kernel driver uses.</summary>
    /// <param name="device">Which was asked for.</param>
    /// <param name="group">Its group.</param>
    /// <param name="sys">Where sysfs is.</param>
    internal static DeviceException NotViable(PciDevice device, int group, string sys = "/sys")
    {
        string[] others = [.. InTheWay(group, sys).Select(member => $"{member.Address} is bound to {member.Driver}")];
        return new($"cannot use {device}: its IOMMU group {group} is not viable",
            others.Length == 0 ? "a member was just bound to a kernel driver"
                : $"a group is used as a whole, and of this one {string.Join(", ", others)}",
            $"sudo dpctl bind --group {group}", DmaBackends.See, Errno.EPERM);
    }

    /// <summary>A group does not go into the container, or the kind of IOMMU is refused; null where the kernel's own
    /// words will do.</summary>
    internal static DeviceException? Attach(PciDevice device, NativeException e) => e.Errno switch
    {
        Errno.EPERM => new($"cannot attach {device} to the IOMMU",
            "the IOMMU does not remap interrupts: a device could raise any interrupt of this machine",
            "switch interrupt remapping on in the firmware; or accept that (for a test): "
            + $"echo 1 | sudo tee {UnsafeInterrupts()}", DmaBackends.See, e.Errno),
        Errno.EBUSY => new($"cannot attach {device} to the IOMMU",
            "its group is in use through character devices (/dev/vfio/devices)",
            "end who uses them, or open this device with --iommu-backend=iommufd too", DmaBackends.See, e.Errno),
        Errno.EINVAL => new($"cannot attach {device} to this container",
            "addresses that are reserved for it are in use here, or its IOMMU is of another kind",
            "open it in a container of its own", DmaBackends.See, e.Errno),
        _ => null,
    };

    /// <summary>A device of a group in a container is not given out.</summary>
    internal static DeviceException OpenDevice(PciDevice device, NativeException e, NativeException? withToken)
    {
        string what = $"cannot open {device}";
        return e.Errno switch
        {
            Errno.EACCES => new(what, withToken == null
                ? "its physical function is driven by VFIO and has a token"
                : "its physical function is driven by VFIO, and the token is another",
                "give that token with --vfio-vf-token=UUID", DmaBackends.See, e.Errno),
            Errno.ENODEV => new(what, $"it is bound to {device.KernelDriver ?? "no kernel driver"}",
                $"sudo dpctl bind {device.Address}", DmaBackends.See, e.Errno),
            Errno.EBUSY => new(what, "somebody has it open through its character device", "end it",
                DmaBackends.See, e.Errno),
            _ => new(what, e.What, errno: e.Errno),
        };
    }

    /// <summary>A piece of memory is not mapped; null where the kernel's own words will do.</summary>
    internal static DataplaneException? Map(NativeException e, DmaPiece piece, ulong mappedBytes) => e.Errno switch
    {
        Errno.ENOMEM => MemlockLimit.TooSmall(mappedBytes + piece.SizeBytes),
        Errno.ENOSPC => new DeviceException($"cannot map {piece.SizeBytes >> 10} KB for devices",
            "the kernel maps no more pieces than vfio_iommu_type1.dma_entry_limit",
            "take memory in one piece at start (-m), or raise it: "
            + "echo 262144 | sudo tee /sys/module/vfio_iommu_type1/parameters/dma_entry_limit", DmaBackends.See,
            e.Errno),
        _ => null,
    };

    /// <summary>Members of an IOMMU group that a kernel driver uses.</summary>
    internal static IEnumerable<(string Address, string Driver)> InTheWay(int group, string sys) =>
        Members(group, sys).Where(member => !s_harmless.Contains(member.Driver));

    /// <summary>Members of an IOMMU group and their drivers, "none" for none.</summary>
    internal static IEnumerable<(string Address, string Driver)> Members(int group, string sys)
    {
        string directory = $"{sys}/kernel/iommu_groups/{group}/devices";
        if (!Directory.Exists(directory))
            yield break;
        foreach (string device in Directory.EnumerateFileSystemEntries(directory).Order(StringComparer.Ordinal))
        {
            string? driver = new FileInfo($"{device}/driver").LinkTarget;
            yield return (Path.GetFileName(device), driver == null ? "none" : Path.GetFileName(driver));
        }
    }

    // The kernel's iommufd can stand in for type1, and then its own parameter counts.
    private static string UnsafeInterrupts() =>
        "/sys/module/" + (Directory.Exists("/sys/module/vfio_iommu_type1") ? "vfio_iommu_type1" : "iommufd")
        + "/parameters/allow_unsafe_interrupts";
}
