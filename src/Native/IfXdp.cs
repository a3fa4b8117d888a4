using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>AF_XDP sockets. linux/if_xdp.h.</summary>
internal static class IfXdp
{
    internal const ushort XDP_SHARED_UMEM = 1 << 0, XDP_COPY = 1 << 1, XDP_ZEROCOPY = 1 << 2,
        XDP_USE_NEED_WAKEUP = 1 << 3, XDP_USE_SG = 1 << 4;
    internal const uint XDP_UMEM_UNALIGNED_CHUNK_FLAG = 1 << 0, XDP_RING_NEED_WAKEUP = 1 << 0,
        XDP_OPTIONS_ZEROCOPY = 1 << 0, XDP_PKT_CONTD = 1 << 0;
    internal const int XDP_MMAP_OFFSETS = 1, XDP_RX_RING = 2, XDP_TX_RING = 3, XDP_UMEM_REG = 4,
        XDP_UMEM_FILL_RING = 5, XDP_UMEM_COMPLETION_RING = 6, XDP_STATISTICS = 7, XDP_OPTIONS = 8,
        XDP_MAX_TX_SKB_BUDGET = 9;
    internal const long XDP_PGOFF_RX_RING = 0, XDP_PGOFF_TX_RING = 0x80000000,
        XDP_UMEM_PGOFF_FILL_RING = 0x100000000, XDP_UMEM_PGOFF_COMPLETION_RING = 0x180000000;

    /// <summary>In an address of unaligned chunks: the chunk's start below, the offset in it from this bit
    /// up.</summary>
    internal const int XSK_UNALIGNED_BUF_OFFSET_SHIFT = 48;
    internal const ulong XSK_UNALIGNED_BUF_ADDR_MASK = (1ul << XSK_UNALIGNED_BUF_OFFSET_SHIFT) - 1;

    /// <summary>Bytes the kernel leaves free before a received frame. linux/bpf.h, XDP_PACKET_HEADROOM.</summary>
    internal const int PacketHeadroom = 256;

    /// <summary>Smallest chunk. net/xdp_sock.h, XDP_UMEM_MIN_CHUNK_SIZE; the largest is a page.</summary>
    internal const int MinChunkBytes = 2048;
}

/// <summary>linux/if_xdp.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct sockaddr_xdp
{
    [FieldOffset(0)] internal ushort sxdp_family;
    [FieldOffset(2)] internal ushort sxdp_flags;
    [FieldOffset(4)] internal uint sxdp_ifindex;
    [FieldOffset(8)] internal uint sxdp_queue_id;
    [FieldOffset(12)] internal uint sxdp_shared_umem_fd;
}

/// <summary>linux/if_xdp.h: bytes from the start of a ring's mapping.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct xdp_ring_offset
{
    [FieldOffset(0)] internal ulong producer;
    [FieldOffset(8)] internal ulong consumer;
    [FieldOffset(16)] internal ulong desc;
    [FieldOffset(24)] internal ulong flags;
}

/// <summary>linux/if_xdp.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 128)]
internal struct xdp_mmap_offsets
{
    [FieldOffset(0)] internal xdp_ring_offset rx;
    [FieldOffset(32)] internal xdp_ring_offset tx;
    [FieldOffset(64)] internal xdp_ring_offset fr;
    [FieldOffset(96)] internal xdp_ring_offset cr;
}

/// <summary>linux/if_xdp.h. What newer kernels have in the last 4 bytes stays 0.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct xdp_umem_reg
{
    [FieldOffset(0)] internal ulong addr;
    [FieldOffset(8)] internal ulong len;
    [FieldOffset(16)] internal uint chunk_size;
    [FieldOffset(20)] internal uint headroom;
    [FieldOffset(24)] internal uint flags;
}

/// <summary>linux/if_xdp.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 48)]
internal struct xdp_statistics
{
    [FieldOffset(0)] internal ulong rx_dropped;
    [FieldOffset(8)] internal ulong rx_invalid_descs;
    [FieldOffset(16)] internal ulong tx_invalid_descs;
    [FieldOffset(24)] internal ulong rx_ring_full;
    [FieldOffset(32)] internal ulong rx_fill_ring_empty_descs;
    [FieldOffset(40)] internal ulong tx_ring_empty_descs;
}

/// <summary>linux/if_xdp.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct xdp_desc
{
    [FieldOffset(0)] internal ulong addr;
    [FieldOffset(8)] internal uint len;
    [FieldOffset(12)] internal uint options;
}
