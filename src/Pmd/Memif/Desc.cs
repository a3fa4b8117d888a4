using System.Runtime.InteropServices;

namespace Dataplane.Pmd;

/// <summary>Numbers of the memif protocol, version 2.0: memif.h of VPP, libmemif and DPDK.</summary>
internal static class MemifProtocol
{
    /// <summary>At the start of every ring.</summary>
    internal const uint Cookie = 0x3E31F20;

    /// <summary>Major number in the high byte.</summary>
    internal const ushort Version = 2 << 8;

    /// <summary>Bytes of every message.</summary>
    internal const int MessageBytes = 128;

    internal const int NameBytes = 32, SecretBytes = 24, ReasonBytes = 96;

    /// <summary>Ethernet frames; the other modes are IP packets and VPP's own.</summary>
    internal const byte ModeEthernet = 0;

    /// <summary>The ring carries what the client sends.</summary>
    internal const ushort RingFlagClientToServer = 1;

    /// <summary>The packet goes on in the next descriptor.</summary>
    internal const ushort DescFlagNext = 1;

    /// <summary>The receiver polls: do not signal it.</summary>
    internal const ushort RingFlagMaskInterrupt = 1;

    /// <summary>Bytes of a ring before its descriptors, and of a descriptor.</summary>
    internal const int RingHeaderBytes = 128, DescBytes = 16;

    /// <summary>The largest ring of all implementations, as a power of two.</summary>
    internal const int MaxLog2RingSize = 14;

    /// <summary>Most regions of a connection.</summary>
    internal const int MaxRegions = 256;
}

/// <summary>What a message is about.</summary>
internal enum MemifMessageType : ushort
{
    None, Ack, Hello, Init, AddRegion, AddRing, Connect, Connected, Disconnect,
}

/// <summary>A message, little-endian and packed; the fields after the type are those of its type. memif.h,
/// memif_msg_t.</summary>
[StructLayout(LayoutKind.Explicit, Size = MemifProtocol.MessageBytes)]
internal unsafe struct MemifMessage
{
    [FieldOffset(0)] internal MemifMessageType Type;

    // Hello, server to client: what the server can do. The "most" are of indexes where not said otherwise.
    [FieldOffset(2)] internal fixed byte HelloName[MemifProtocol.NameBytes];
    [FieldOffset(34)] internal ushort MinVersion;
    [FieldOffset(36)] internal ushort MaxVersion;
    [FieldOffset(38)] internal ushort MaxRegion;
    [FieldOffset(40)] internal ushort MaxServerToClientRing;
    [FieldOffset(42)] internal ushort MaxClientToServerRing;
    [FieldOffset(44)] internal byte MaxLog2RingSize;

    // Init, client to server: which of its interfaces.
    [FieldOffset(2)] internal ushort Version;
    [FieldOffset(4)] internal uint InterfaceId;
    [FieldOffset(8)] internal byte Mode;
    [FieldOffset(9)] internal fixed byte Secret[MemifProtocol.SecretBytes];
    [FieldOffset(33)] internal fixed byte InitName[MemifProtocol.NameBytes];

    // AddRegion, client to server, with the region's file.
    [FieldOffset(2)] internal ushort RegionIndex;
    [FieldOffset(4)] internal ulong RegionSize;

    // AddRing, client to server, with its eventfd.
    [FieldOffset(2)] internal ushort RingFlags;
    [FieldOffset(4)] internal ushort RingIndex;
    [FieldOffset(6)] internal ushort RingRegion;
    [FieldOffset(8)] internal uint RingOffset;
    [FieldOffset(12)] internal byte Log2RingSize;
    [FieldOffset(13)] internal ushort PrivateHeaderSize;

    // Connect, client to server, and Connected, back.
    [FieldOffset(2)] internal fixed byte InterfaceName[MemifProtocol.NameBytes];

    // Disconnect, either way.
    [FieldOffset(2)] internal uint Code;
    [FieldOffset(6)] internal fixed byte Reason[MemifProtocol.ReasonBytes];
}

/// <summary>Start of a ring in shared memory. The client writes the head, the server the tail, the receiver the flags.
/// Indexes run freely over 2^16. memif.h, memif_ring_t.</summary>
[StructLayout(LayoutKind.Explicit, Size = MemifProtocol.RingHeaderBytes)]
internal struct MemifRingHeader
{
    [FieldOffset(0)] internal uint Cookie;
    [FieldOffset(4)] internal ushort Flags;
    [FieldOffset(6)] internal ushort Head;
    [FieldOffset(64)] internal ushort Tail;
}

/// <summary>A buffer of a ring. memif.h, memif_desc_t.</summary>
[StructLayout(LayoutKind.Explicit, Size = MemifProtocol.DescBytes)]
internal struct MemifDesc
{
    /// <summary>Flags, region and length in one word: bits 0, 16 and 32.</summary>
    [FieldOffset(0)] internal ulong Low;

    /// <summary>Offset and metadata in one word: bits 0 and 32.</summary>
    [FieldOffset(8)] internal ulong High;

    [FieldOffset(0)] internal ushort Flags;
    [FieldOffset(2)] internal ushort Region;
    [FieldOffset(4)] internal uint Length;
    [FieldOffset(8)] internal uint Offset;
    [FieldOffset(12)] internal uint Metadata;

    /// <summary>The first word of a buffer.</summary>
    internal static ulong MakeLow(uint region, uint length, uint flags = 0) =>
        (ulong)length << 32 | region << 16 | flags;
}
