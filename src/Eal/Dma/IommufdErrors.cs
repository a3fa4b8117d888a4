namespace Dataplane;

/// <summary>What iommufd's refusals mean and what to do about them.</summary>
internal static class IommufdErrors
{
    private const string Parameter = "/sys/module/iommufd/parameters/allow_unsafe_interrupts";

    /// <summary>/dev/iommu cannot be opened.</summary>
    internal static DeviceException Node(Errno errno) => errno switch
    {
        Errno.ENOENT or Errno.ENODEV or Errno.ENXIO => new($"cannot open {DmaBackends.IommuNode}",
            "the kernel has no iommufd (CONFIG_IOMMUFD), or its module is not loaded",
            "sudo modprobe iommufd; or use --iommu-backend=type1", DmaBackends.See, errno),
        Errno.EACCES or Errno.EPERM => new($"cannot open {DmaBackends.IommuNode}",
            "its owner and mode do not let this user", $"sudo dpctl bind ADDRESS --user {Environment.UserName}; "
            + "or have a parent process open it (--iommu-fd)", DmaBackends.See, errno),
        _ => new($"cannot open {DmaBackends.IommuNode}", errno: errno),
    };

    /// <summary>A device without a character device.</summary>
    internal static DeviceException NoCdev(PciDevice device) => new($"cannot open {device} through iommufd",
        device.KernelDriver == "vfio-pci"
            ? "it has no character device (a kernel before 6.6, or without CONFIG_VFIO_DEVICE_CDEV)"
            : $"it is bound to {device.KernelDriver ?? "no kernel driver"}",
        device.KernelDriver == "vfio-pci" ? "use --iommu-backend=type1" : $"sudo dpctl bind {device.Address}",
        DmaBackends.See, Errno.ENODEV);

    /// <summary>A character device cannot be opened.</summary>
    internal static DeviceException Cdev(PciDevice device, string node, Errno errno)
    {
        string what = $"cannot open {node} for {device}";
        return errno switch
        {
            Errno.ENOENT or Errno.ENODEV or Errno.ENXIO => new(what, "the device has gone, or was bound anew",
                $"sudo dpctl bind {device.Address}", DmaBackends.See, errno),
            Errno.EACCES or Errno.EPERM => new(what, "its owner and mode do not let this user",
                $"sudo dpctl bind {device.Address} --user {Environment.UserName}; or have a parent process open it "
                + $"(-a {device.Address},vfio-fd=FD)", DmaBackends.See, errno),
            _ => new(what, errno: errno),
        };
    }

    /// <summary>A device does not come under iommufd.</summary>
    /// <param name="device">Which.</param>
    /// <param name="e">The kernel's refusal.</param>
    /// <param name="token">A token was tried.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <param name="proc">Where procfs is.</param>
    internal static DataplaneException Bind(PciDevice device, NativeException e, bool token, string sys = "/sys",
        string proc = "/proc")
    {
        string what = $"cannot use {device} through iommufd";
        return e.Errno switch
        {
            Errno.EPERM or Errno.EBUSY when device.IommuGroup is { } group && VfioErrors.InTheWay(group, sys).Any() =>
                VfioErrors.NotViable(device, group, sys),
            Errno.EPERM when OtherUser(device, sys, proc) is { } user => new DeviceException(what,
                $"its IOMMU group {device.IommuGroup} has one user at a time, and another function of it is {user}",
                "end that process, or open all functions of the group in one", DmaBackends.See, e.Errno),
            Errno.EPERM => new DeviceException(what,
                "the IOMMU does not remap interrupts: a device could raise any interrupt of this machine",
                $"switch interrupt remapping on in the firmware; or accept that (for a test): echo 1 | sudo tee "
                + Parameter, DmaBackends.See, e.Errno),
            Errno.EBUSY => Busy(device, what),
            Errno.EACCES => new DeviceException(what, token
                    ? "its physical function is driven by VFIO, and the token is another"
                    : "its physical function is driven by VFIO and has a token",
                "give that token with --vfio-vf-token=UUID", DmaBackends.See, e.Errno),
            Errno.ENODEV => new DeviceException(what, "no IOMMU is in front of it",
                "switch the IOMMU on in the firmware and with intel_iommu=on on the kernel's command line",
                DmaBackends.See, e.Errno),
            Errno.EINVAL => new DeviceException(what, "it is in use already, by this process or by whoever handed its "
                + "descriptor in", "use it once", DmaBackends.See, e.Errno),
            _ => e,
        };
    }

    /// <summary>A device does not get an address space; null where the kernel's own words will do.</summary>
    internal static DeviceException? Attach(PciDevice device, NativeException e) => e.Errno switch
    {
        Errno.EADDRINUSE => new($"cannot attach {device} to this address space",
            "addresses that are reserved for it are in use here", "open it in a container of its own",
            DmaBackends.See, e.Errno),
        Errno.EINVAL => new($"cannot attach {device} to this address space",
            "its IOMMU cannot map what is mapped here, or another function of its group is in another address space",
            "open all functions of a group in one container", DmaBackends.See, e.Errno),
        _ => null,
    };

    /// <summary>A piece of memory is not mapped; null where the kernel's own words will do.</summary>
    internal static DataplaneException? Map(NativeException e, DmaPiece piece, ulong mappedBytes) =>
        e.Errno == Errno.ENOMEM ? MemlockLimit.TooSmall(mappedBytes + piece.SizeBytes) : null;

    /// <summary>The IOMMU cannot do something.</summary>
    internal static DeviceException Unsupported(PciDevice device, string what, NativeException e) =>
        new($"{what} is not possible for {device}",
            e.Errno == Errno.ENOTTY ? "this kernel's iommufd is too old for it" : "its IOMMU cannot do that",
            see: DmaBackends.See, errno: e.Errno);

    // The kernel says EPERM for two things (drivers/iommu/iommufd/device.c, iommufd_device_bind): interrupts that are
    // not remapped, and a group that another iommufd owns. Null for the first.
    private static string? OtherUser(PciDevice device, string sys, string proc)
    {
        if (device.IommuGroup is not { } group)
            return null;
        string[] nodes = [.. VfioErrors.Members(group, sys)
            .Where(member => member.Address != device.Address.ToString())
            .Select(member => $"{sys}/bus/pci/devices/{member.Address}/vfio-dev").Where(Directory.Exists)
            .SelectMany(Directory.EnumerateFileSystemEntries)
            .Select(entry => "/dev/vfio/devices/" + Path.GetFileName(entry))];
        return FileHolder.Find(nodes, proc)
            ?? (nodes.Length > 0 && RemapsInterrupts(proc) ? "held by a process of another user" : null);
    }

    // The kernel puts this before the name of every interrupt chip behind a remapping unit.
    private static bool RemapsInterrupts(string proc)
    {
        string file = $"{proc}/interrupts";
        return File.Exists(file) && File.ReadLines(file).Any(line => line.Contains(" IR-", StringComparison.Ordinal));
    }

    private static DeviceException Busy(PciDevice device, string what)
    {
        string node = $"/dev/vfio/{device.IommuGroup}";
        return new(what, $"its IOMMU group {device.IommuGroup} is in use through the old interface ({node}) or by "
            + $"another process: {FileHolder.Describe(node)}",
            "end that process, or use --iommu-backend=type1 for both", DmaBackends.See, Errno.EBUSY);
    }
}
