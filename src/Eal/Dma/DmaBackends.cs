using Dataplane.Native;

namespace Dataplane;

/// <summary>Which backend serves a device, and why.</summary>
/// <param name="Backend">Never <see cref="IommuBackend.Auto"/>.</param>
/// <param name="Why">In a few words.</param>
internal readonly record struct DmaChoice(IommuBackend Backend, string Why);

/// <summary>Chooses the kernel interface for a device by what is there.</summary>
/// <param name="options">What the user says.</param>
/// <param name="probe">Whether a file may be read and written: <see cref="Errno.None"/>, or why not.</param>
internal sealed class DmaBackends(EalOptions options, Func<string, Errno> probe)
{
    internal const string IommuNode = "/dev/iommu", FdArgument = "vfio-fd", See = "docs/setup/iommu.md";

    internal DmaBackends(EalOptions options) : this(options, ReadableAndWritable)
    {
    }

    /// <summary>The node of a device's character device.</summary>
    internal static string CdevNode(PciDevice device) => "/dev/vfio/devices/" + device.VfioDevice;

    /// <summary>The name of a backend in messages and on the command line.</summary>
    internal static string Name(IommuBackend backend) => backend.ToString().ToLowerInvariant();

    /// <summary>Chooses.</summary>
    /// <exception cref="DeviceException">No interface serves it: why, and what to do.</exception>
    internal DmaChoice Choose(PciDevice device)
    {
        if (device.IommuGroup == null && device.VfioDevice == null)
            throw new DeviceException($"cannot use {device}", device.KernelDriver == "vfio-pci"
                    ? "there is no IOMMU here, or it is switched off"
                    : $"it is bound to {device.KernelDriver ?? "no kernel driver"}",
                device.KernelDriver == "vfio-pci"
                    ? "switch the IOMMU on in the firmware and with intel_iommu=on on the kernel's command line"
                    : $"sudo dpctl bind {device.Address}", See, Errno.ENODEV);
        if (device.IsNoIommu)
            return NoIommu(device);
        if (options.IommuBackend == IommuBackend.NoIommu)
            throw new DeviceException($"cannot use {device} without an IOMMU",
                $"the kernel has it behind one, in group {device.IommuGroup}", "leave --iommu-backend out", See,
                Errno.ENODEV);
        if (options.IommuBackend != IommuBackend.Auto)
            return new(options.IommuBackend, "--iommu-backend says so");
        string? without = WhyNotIommufd(device);
        return without == null
            ? new(IommuBackend.Iommufd, $"{IommuNode} and {CdevNode(device)} are there")
            : new(IommuBackend.Type1, without);
    }

    /// <summary>What a container made before any device gets.</summary>
    internal IommuBackend Default() =>
        options.IommuBackend != IommuBackend.Auto ? options.IommuBackend
        : options.IommuFd != null || probe(IommuNode) == Errno.None ? IommuBackend.Iommufd : IommuBackend.Type1;

    private DmaChoice NoIommu(PciDevice device)
    {
        if (!options.UnsafeNoIommu)
            throw new DeviceException($"{device} has no IOMMU: using it is not safe",
                "it could overwrite any memory of the machine", "switch the IOMMU on in the firmware and with "
                + "intel_iommu=on on the kernel's command line; or accept that with --unsafe-noiommu", See,
                Errno.EPERM);
        if (options.IommuBackend is not (IommuBackend.Auto or IommuBackend.NoIommu))
            throw new DeviceException($"cannot use {device} through {Name(options.IommuBackend)}",
                "no IOMMU is in front of it", "leave --iommu-backend out", See, Errno.ENODEV);
        return new(IommuBackend.NoIommu, "no IOMMU is in front of the device and --unsafe-noiommu allows it");
    }

    // Both descriptors may come from the parent process; then no node matters.
    private string? WhyNotIommufd(PciDevice device)
    {
        if (DeviceFd(device) != null && options.IommuFd != null)
            return null;
        if (options.IommuFd == null && probe(IommuNode) is var iommu and not Errno.None)
            return iommu == Errno.ENOENT ? $"{IommuNode} is not there (a kernel without CONFIG_IOMMUFD)"
                : UnlessGroupIsWorse(device, $"{IommuNode} cannot be opened ({iommu})");
        if (device.VfioDevice == null)
            return "the device has no character device (a kernel before 6.6, or without CONFIG_VFIO_DEVICE_CDEV)";
        if (DeviceFd(device) == null && probe(CdevNode(device)) is var cdev and not Errno.None)
            return UnlessGroupIsWorse(device, $"{CdevNode(device)} cannot be opened ({cdev})");
        return null;
    }

    // The why of going by the group: a node that may not be opened is worth going round only where the other one may.
    private string? UnlessGroupIsWorse(PciDevice device, string why) =>
        device.IommuGroup is { } group && probe($"/dev/vfio/{group}") == Errno.None ? why : null;

    /// <summary>The descriptor of a device that the parent process handed in, <c>-a ADDRESS,vfio-fd=FD</c>.</summary>
    internal int? DeviceFd(PciDevice device)
    {
        foreach (string allowed in options.Allow)
        {
            DevArgs args = DevArgs.Parse(allowed);
            if (PciAddress.TryParse(args.Name, out PciAddress address) && address == device.Address
                && args.GetNumber(FdArgument, -1) is var fd and >= 0)
                return (int)fd;
        }
        return null;
    }

    private static Errno ReadableAndWritable(string path) =>
        Unistd.access(path, Unistd.R_OK | Unistd.W_OK) == 0 ? Errno.None : NativeException.FromErrno(path).Errno;
}
