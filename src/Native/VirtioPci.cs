using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>A virtio device on PCI. linux/virtio_pci.h, VIRTIO 1.2 §4.1.4.</summary>
internal static class VirtioPci
{
    internal const byte VIRTIO_PCI_CAP_COMMON_CFG = 1, VIRTIO_PCI_CAP_NOTIFY_CFG = 2, VIRTIO_PCI_CAP_ISR_CFG = 3,
        VIRTIO_PCI_CAP_DEVICE_CFG = 4, VIRTIO_PCI_CAP_PCI_CFG = 5, VIRTIO_PCI_CAP_SHARED_MEMORY_CFG = 8;

    internal const ushort VIRTIO_MSI_NO_VECTOR = 0xffff;

    internal const byte VIRTIO_PCI_ISR_CONFIG = 2;

    internal const uint VIRTIO_PCI_COMMON_DFSELECT = 0, VIRTIO_PCI_COMMON_DF = 4, VIRTIO_PCI_COMMON_GFSELECT = 8,
        VIRTIO_PCI_COMMON_GF = 12, VIRTIO_PCI_COMMON_MSIX = 16, VIRTIO_PCI_COMMON_NUMQ = 18,
        VIRTIO_PCI_COMMON_STATUS = 20, VIRTIO_PCI_COMMON_CFGGENERATION = 21, VIRTIO_PCI_COMMON_Q_SELECT = 22,
        VIRTIO_PCI_COMMON_Q_SIZE = 24, VIRTIO_PCI_COMMON_Q_MSIX = 26, VIRTIO_PCI_COMMON_Q_ENABLE = 28,
        VIRTIO_PCI_COMMON_Q_NOFF = 30, VIRTIO_PCI_COMMON_Q_DESCLO = 32, VIRTIO_PCI_COMMON_Q_DESCHI = 36,
        VIRTIO_PCI_COMMON_Q_AVAILLO = 40, VIRTIO_PCI_COMMON_Q_AVAILHI = 44, VIRTIO_PCI_COMMON_Q_USEDLO = 48,
        VIRTIO_PCI_COMMON_Q_USEDHI = 52;
}

/// <summary>Says where a structure of the device lies. linux/virtio_pci.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct virtio_pci_cap
{
    [FieldOffset(0)] internal byte cap_vndr;
    [FieldOffset(1)] internal byte cap_next;
    [FieldOffset(2)] internal byte cap_len;
    [FieldOffset(3)] internal byte cfg_type;
    [FieldOffset(4)] internal byte bar;
    [FieldOffset(5)] internal byte id;
    [FieldOffset(8)] internal uint offset;
    [FieldOffset(12)] internal uint length;
}
