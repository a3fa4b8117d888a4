using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>ICMP (RFC 792) and ICMPv6 (RFC 4443) header, 8 bytes, with the fields of the echo messages.</summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct IcmpHeader
{
    /// <summary>Bytes of this header.</summary>
    public const int Size = 8;

    /// <summary>ICMP echo reply.</summary>
    public const byte EchoReply = 0;

    /// <summary>ICMP destination unreachable.</summary>
    public const byte Unreachable = 3;

    /// <summary>ICMP echo request.</summary>
    public const byte EchoRequest = 8;

    /// <summary>ICMP time exceeded.</summary>
    public const byte TimeExceeded = 11;

    /// <summary>ICMPv6 echo request.</summary>
    public const byte EchoRequestV6 = 128;

    /// <summary>ICMPv6 echo reply.</summary>
    public const byte EchoReplyV6 = 129;

    /// <summary>ICMPv6 neighbour solicitation, RFC 4861 §4.3.</summary>
    public const byte NeighbourSolicitation = 135;

    /// <summary>ICMPv6 neighbour advertisement, RFC 4861 §4.4.</summary>
    public const byte NeighbourAdvertisement = 136;

    /// <summary>What it is.</summary>
    [FieldOffset(0)] public byte Type;

    /// <summary>Which kind of that.</summary>
    [FieldOffset(1)] public byte Code;

    /// <summary>ICMP: over header and payload. ICMPv6: with the pseudo-header too.</summary>
    [FieldOffset(2)] public Be16 Checksum;

    /// <summary>Echo: whose.</summary>
    [FieldOffset(4)] public Be16 Identifier;

    /// <summary>Echo: which.</summary>
    [FieldOffset(6)] public Be16 Sequence;
}
