using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>Resets the bus or slot of a function that has no reset of its own, and with it all others there.</summary>
internal static class VfioHotReset
{
    /// <summary>Does so where nobody else is hurt: no other function there is open here, and the kernel knows all of
    /// them as ours.</summary>
    /// <param name="function">Which.</param>
    /// <param name="open">Functions open in its container; may hold it too.</param>
    /// <param name="group">The descriptor of a group, null where it is not ours. Not asked about functions opened by
    /// iommufd: there the kernel knows.</param>
    /// <param name="log">Gets the reason why not; may be null.</param>
    /// <returns>False where it did not.</returns>
    internal static bool TryReset(VfioPciFunction function, IEnumerable<PciFunction> open,
        Func<int, SafeFileHandle?> group, ILogger? log)
    {
        try
        {
            vfio_pci_dependent_device[] all = Vfio.GetHotResetInfo(function.Fd, out uint flags);
            string? why = WhyNot(function, [.. open], all, flags);
            var groups = new Dictionary<int, SafeFileHandle>();
            if ((flags & Vfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID) == 0)
                foreach (int number in all.Select(device => (int)device.group_id))
                    if (group(number) is { } fd)
                        groups[number] = fd;
                    else
                        why ??= $"IOMMU group {number} is not ours";
            if (why == null)
            {
                Vfio.HotReset(function.Fd, [.. groups.Values]);
                return true;
            }
            log?.LogDebug("{Device} is not reset along with {Others} functions of its bus: {Why}", function.Device,
                all.Length - 1, why);
        }
        catch (NativeException e)
        {
            log?.LogDebug("{Device} cannot be reset along with its bus: {Message}", function.Device, e.Message);
        }
        return false;
    }

    /// <summary>Which other function of the set is open, or null. Of an iommufd the kernel knows that itself, whatever
    /// container it is in.</summary>
    internal static string? WhyNot(PciFunction function, IReadOnlyList<PciFunction> open,
        IEnumerable<vfio_pci_dependent_device> all, uint flags)
    {
        bool byDevice = (flags & Vfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID) != 0;
        if (byDevice && (flags & Vfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED) == 0)
            return "some of them are not ours";
        foreach (vfio_pci_dependent_device device in all)
        {
            var address = new PciAddress(device.segment, device.bus, (byte)(device.devfn >> 3),
                (byte)(device.devfn & 7));
            if (address != function.Device.Address && (byDevice ? device.group_id != Vfio.VFIO_PCI_DEVID_OWNED
                : open.Any(other => other.Device.Address == address)))
                return $"{address} is in use";
        }
        return null;
    }
}
