using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>UDP header, 8 bytes. RFC 768.</summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct UdpHeader
{
    /// <summary>Bytes of this header.</summary>
    public const int Size = 8;

    /// <summary>Sender's port.</summary>
    [FieldOffset(0)] public Be16 SourcePort;

    /// <summary>Receiver's port.</summary>
    [FieldOffset(2)] public Be16 DestinationPort;

    /// <summary>Bytes of header and payload, 8 and up; 0 for a jumbogram (RFC 2675).</summary>
    [FieldOffset(4)] public Be16 Length;

    /// <summary>Over pseudo-header, header and payload; 0 says none was made (IPv4 only).</summary>
    [FieldOffset(6)] public Be16 Checksum;
}

/// <summary>SCTP common header, 12 bytes; chunks follow. RFC 9260 §3.1. Its checksum is a CRC32c, stored
/// little-endian.</summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct SctpHeader
{
    /// <summary>Bytes of this header.</summary>
    public const int Size = 12;

    /// <summary>Sender's port.</summary>
    [FieldOffset(0)] public Be16 SourcePort;

    /// <summary>Receiver's port.</summary>
    [FieldOffset(2)] public Be16 DestinationPort;

    /// <summary>Verification tag.</summary>
    [FieldOffset(4)] public Be32 Tag;

    /// <summary>CRC32c over the whole packet with this field zero, as it lies in memory. RFC 9260 appendix A.</summary>
    [FieldOffset(8)] public uint Checksum;
}
