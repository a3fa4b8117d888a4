using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>The memory a virtio driver and its device share. linux/virtio_ring.h, VIRTIO 1.2 §2.7, §2.8.</summary>
internal static class VirtioRing
{
    internal const ushort VRING_DESC_F_NEXT = 1, VRING_DESC_F_WRITE = 2, VRING_DESC_F_INDIRECT = 4;

    /// <summary>Bit numbers in the flags of a packed descriptor.</summary>
    internal const int VRING_PACKED_DESC_F_AVAIL = 7, VRING_PACKED_DESC_F_USED = 15;

    internal const ushort VRING_USED_F_NO_NOTIFY = 1, VRING_AVAIL_F_NO_INTERRUPT = 1;

    internal const ushort VRING_PACKED_EVENT_FLAG_ENABLE = 0, VRING_PACKED_EVENT_FLAG_DISABLE = 1,
        VRING_PACKED_EVENT_FLAG_DESC = 2;

    /// <summary>Bit number of the wrap counter beside an offset.</summary>
    internal const int VRING_PACKED_EVENT_F_WRAP_CTR = 15;

    /// <summary>Feature bits.</summary>
    internal const int VIRTIO_RING_F_INDIRECT_DESC = 28, VIRTIO_RING_F_EVENT_IDX = 29;

    internal const int VRING_AVAIL_ALIGN_SIZE = 2, VRING_USED_ALIGN_SIZE = 4, VRING_DESC_ALIGN_SIZE = 16;
}

/// <summary>A descriptor of a split queue or of an indirect table of one. linux/virtio_ring.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct vring_desc
{
    [FieldOffset(0)] internal ulong addr;
    [FieldOffset(8)] internal uint len;
    [FieldOffset(12)] internal ushort flags;
    [FieldOffset(14)] internal ushort next;
}

/// <summary>What the device gives back in a split queue. linux/virtio_ring.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct vring_used_elem
{
    [FieldOffset(0)] internal uint id;
    [FieldOffset(4)] internal uint len;
}

/// <summary>A descriptor of a packed queue or of an indirect table of one. linux/virtio_ring.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct vring_packed_desc
{
    [FieldOffset(0)] internal ulong addr;
    [FieldOffset(8)] internal uint len;
    [FieldOffset(12)] internal ushort id;
    [FieldOffset(14)] internal ushort flags;
}

/// <summary>Which events a side of a packed queue wants. linux/virtio_ring.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 4)]
internal struct vring_packed_desc_event
{
    [FieldOffset(0)] internal ushort off_wrap;
    [FieldOffset(2)] internal ushort flags;
}
