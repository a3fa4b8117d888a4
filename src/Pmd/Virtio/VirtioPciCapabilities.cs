using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>Where a structure of a virtio device lies.</summary>
/// <param name="Bar">0 to 5.</param>
/// <param name="Offset">Bytes from its start.</param>
/// <param name="Length">Bytes.</param>
/// <param name="NotifyMultiplier">Of the notification structure alone.</param>
internal readonly record struct VirtioPciRegion(int Bar, uint Offset, uint Length, uint NotifyMultiplier = 0);

/// <summary>
/// Finds the structures of a modern virtio device by its vendor capabilities (VIRTIO 1.2 §4.1.4). Believes nothing:
/// the list may loop, point anywhere and say anything.
/// </summary>
internal sealed class VirtioPciCapabilities
{
    private const byte CapVendor = 0x09;
    private const int ConfigBytes = 256, NotifyMultiplierOffset = 16;

    internal VirtioPciRegion? Common { get; private set; }

    internal VirtioPciRegion? Notify { get; private set; }

    internal VirtioPciRegion? Isr { get; private set; }

    internal VirtioPciRegion? Device { get; private set; }

    /// <summary>It can be driven as this driver does; ISR and device structures a device always has too.</summary>
    internal bool IsModern => Common != null && Notify != null && Device != null;

    /// <summary>Walks the list. A structure that cannot be used (an I/O BAR, no room, a BAR there is not) is passed
    /// over: the device lists those it likes best first, and the next of the same kind serves.</summary>
    internal static VirtioPciCapabilities Read(PciFunction function)
    {
        var found = new VirtioPciCapabilities();
        Span<byte> bytes = stackalloc byte[NotifyMultiplierOffset + 4];
        for (int at = 0; (at = function.FindCapability(CapVendor, at)) != 0;)
        {
            bytes.Clear();
            int length = Math.Min(bytes.Length, ConfigBytes - at);
            function.ReadConfig(at, bytes[..length]);
            if (length >= NotifyMultiplierOffset)
                found.Take(function, bytes[..length]);
        }
        return found;
    }

    private void Take(PciFunction function, ReadOnlySpan<byte> bytes)
    {
        virtio_pci_cap capability = MemoryMarshal.Read<virtio_pci_cap>(bytes);
        var region = new VirtioPciRegion(capability.bar, capability.offset, capability.length);
        if (capability.cap_len < 16 || capability.bar > 5 || capability.offset % 4 != 0
            || (ulong)capability.offset + capability.length > function.BarSizeBytes(capability.bar))
            return;
        switch (capability.cfg_type)
        {
            case VirtioPci.VIRTIO_PCI_CAP_COMMON_CFG when Common == null && capability.length >= CommonCfgRegs.Bytes:
                Common = region;
                break;
            case VirtioPci.VIRTIO_PCI_CAP_NOTIFY_CFG when Notify == null && capability.length >= 2
                && capability.cap_len >= 20 && bytes.Length >= 20:
                Notify = region with { NotifyMultiplier = MemoryMarshal.Read<uint>(bytes[NotifyMultiplierOffset..]) };
                break;
            case VirtioPci.VIRTIO_PCI_CAP_ISR_CFG when Isr == null && capability.length >= IsrRegs.Bytes:
                Isr = region;
                break;
            case VirtioPci.VIRTIO_PCI_CAP_DEVICE_CFG when Device == null && capability.length >= 6:
                Device = region;
                break;
        }
    }
}
