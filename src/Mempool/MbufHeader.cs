using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>
/// The 128 bytes in front of a packet's data, in DPDK's field order so the hot half is the first cache line.
/// Offsets in bytes; lib/mbuf/rte_mbuf_core.h.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 128)]
public unsafe struct MbufHeader
{
    /// <summary>The <see cref="Port"/> of a packet that came in by none.</summary>
    public const ushort NoPort = ushort.MaxValue;

    /// <summary>Offset of the 36 bytes that dynamic fields are registered in.</summary>
    internal const int DynFieldOffset = 92;
    internal const int DynFieldBytes = 36;

    /// <summary>First byte of the segment's buffer; headroom starts here.</summary>
    [FieldOffset(0)] public byte* BufAddr;

    /// <summary>IOVA of <see cref="BufAddr"/>.</summary>
    [FieldOffset(8)] public ulong BufIova;

    /// <summary>DataOff, RefCnt, NbSegs and Port as the one word a driver writes to rearm an mbuf.</summary>
    [FieldOffset(16)] public ulong RearmData;

    /// <summary>Bytes from <see cref="BufAddr"/> to the first data byte.</summary>
    [FieldOffset(16)] public ushort DataOff;

    /// <summary>Owners of this segment; 1 for a direct unshared one, 1 while free in the pool.</summary>
    [FieldOffset(18)] public ushort RefCnt;

    /// <summary>Segments in the chain, counted in its first; 1 otherwise.</summary>
    [FieldOffset(20)] public ushort NbSegs;

    /// <summary>Id of the port it came in by, <see cref="ushort.MaxValue"/> for none.</summary>
    [FieldOffset(22)] public ushort Port;

    /// <summary>Offload flags, both ways.</summary>
    [FieldOffset(24)] public MbufFlags OlFlags;

    /// <summary>What the packet is, layer by layer: L2, L3, L4, tunnel and inner types.</summary>
    [FieldOffset(32)] public uint PacketType;

    /// <summary>Bytes in the whole chain; valid in its first segment.</summary>
    [FieldOffset(36)] public uint PktLen;

    /// <summary>Bytes in this segment.</summary>
    [FieldOffset(40)] public ushort DataLen;

    /// <summary>Tag control information of a stripped or to be inserted VLAN tag, host order.</summary>
    [FieldOffset(42)] public ushort VlanTci;

    /// <summary>RSS hash of a received packet.</summary>
    [FieldOffset(44)] public uint RssHash;

    /// <summary>High part of the 8-byte hash union: flow id or user value.</summary>
    [FieldOffset(48)] public uint HashHigh;

    /// <summary>Outer tag of a QinQ pair, host order.</summary>
    [FieldOffset(52)] public ushort VlanTciOuter;

    /// <summary>Bytes in the buffer, headroom included.</summary>
    [FieldOffset(54)] public ushort BufLen;

    /// <summary>The pool it goes back to (native header of a <see cref="Mempool"/>).</summary>
    [FieldOffset(56)] public void* Pool;

    /// <summary>Next segment, null in the last.</summary>
    [FieldOffset(64)] public MbufHeader* Next;

    /// <summary>l2_len:7 l3_len:9 l4_len:8 tso_segsz:16 outer_l3_len:9 outer_l2_len:7, from bit 0 up.</summary>
    [FieldOffset(72)] public ulong TxOffload;

    /// <summary>Shared info of an external buffer, null otherwise.</summary>
    [FieldOffset(80)] public void* SharedInfo;

    /// <summary>Bytes of application data between this header and the buffer, a multiple of 8.</summary>
    [FieldOffset(88)] public ushort PrivSize;

    /// <summary>IEEE 1588 timesync flags.</summary>
    [FieldOffset(90)] public ushort Timesync;

    /// <summary>36 bytes that dynamic fields are registered in.</summary>
    [FieldOffset(92)] public fixed uint DynField[9];
}
