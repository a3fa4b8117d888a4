using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>
/// IPv4 header without options, 20 bytes. RFC 791 §3.1.
/// <code>
/// 0: version:4 ihl:4 | tos:8     | total length:16
/// 4: identification:16           | 0:1 DF:1 MF:1 offset:13
/// 8: ttl:8           | proto:8   | checksum:16
/// 12: source         16: destination         20: options, ihl*4 - 20 bytes
/// </code>
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct IPv4Header
{
    /// <summary>Bytes without options.</summary>
    public const int Size = 20;

    /// <summary><see cref="VersionIhl"/> of a header without options.</summary>
    public const byte VersionIhlPlain = 0x45;

    /// <summary>In <see cref="FragmentField"/>: routers must not fragment it.</summary>
    public const ushort DontFragmentFlag = 0x4000;

    /// <summary>In <see cref="FragmentField"/>: not the last fragment.</summary>
    public const ushort MoreFragmentsFlag = 0x2000;

    /// <summary>4 in the high half, 32-bit words of header (5 to 15) in the low half.</summary>
    [FieldOffset(0)] public byte VersionIhl;

    /// <summary>DSCP 6 bits, ECN 2 bits. RFC 2474, RFC 3168.</summary>
    [FieldOffset(1)] public byte TypeOfService;

    /// <summary>Bytes of header and payload.</summary>
    [FieldOffset(2)] public Be16 TotalLength;

    /// <summary>Same in all fragments of a packet. RFC 6864.</summary>
    [FieldOffset(4)] public Be16 Identification;

    /// <summary>Flags (3 bits) and fragment offset (13 bits, in 8 bytes).</summary>
    [FieldOffset(6)] public Be16 FragmentField;

    /// <summary>Hops left.</summary>
    [FieldOffset(8)] public byte TimeToLive;

    /// <summary>What follows (<see cref="IPProtocols"/>).</summary>
    [FieldOffset(9)] public byte Protocol;

    /// <summary>Over the header with options; see <see cref="Net.Checksum.IPv4(ReadOnlySpan{byte})"/>.</summary>
    [FieldOffset(10)] public Be16 Checksum;

    /// <summary>Sender.</summary>
    [FieldOffset(12)] public IPv4Address Source;

    /// <summary>Receiver.</summary>
    [FieldOffset(16)] public IPv4Address Destination;

    /// <summary>4 when it is IPv4 at all.</summary>
    public readonly int Version => VersionIhl >> 4;

    /// <summary>Bytes with options, 0 to 60; below 20 the packet is broken.</summary>
    public readonly int HeaderLength => (VersionIhl & 15) * 4;

    /// <summary>Where this fragment's payload belongs in the packet, bytes.</summary>
    public readonly int FragmentOffset => (FragmentField.Value & 0x1fff) * 8;

    /// <summary>True for every fragment of a split packet, the first and the last too.</summary>
    public readonly bool IsFragment => (FragmentField.Value & 0x3fff) != 0;

    /// <summary>Takes one hop off and mends the checksum by RFC 1624, as a router does.</summary>
    /// <returns>False when no hop was left; nothing is changed then, and the packet must be dropped.</returns>
    public bool TryDecrementTimeToLive()
    {
        if (TimeToLive <= 1)
            return false;
        // Ttl is the high byte of a 16-bit word: one less there is 0x0100 more in the sum.
        uint sum = Checksum.Value + 0x0100u;
        Checksum = (ushort)(sum + (sum >= 0xffff ? 1u : 0u));
        TimeToLive--;
        return true;
    }
}

/// <summary>IP protocol and IPv6 next-header numbers. IANA "Protocol Numbers".</summary>
public static class IPProtocols
{
    /// <summary>IPv6 hop-by-hop options, RFC 8200 §4.3.</summary>
    public const byte HopByHop = 0;
    /// <summary>ICMP, RFC 792.</summary>
    public const byte Icmp = 1;
    /// <summary>IGMP, RFC 3376.</summary>
    public const byte Igmp = 2;
    /// <summary>IPv4 in IP, RFC 2003.</summary>
    public const byte IPv4 = 4;
    /// <summary>TCP, RFC 9293.</summary>
    public const byte Tcp = 6;
    /// <summary>UDP, RFC 768.</summary>
    public const byte Udp = 17;
    /// <summary>IPv6 in IP, RFC 2473.</summary>
    public const byte IPv6 = 41;
    /// <summary>IPv6 routing header, RFC 8200 §4.4.</summary>
    public const byte Routing = 43;
    /// <summary>IPv6 fragment header, RFC 8200 §4.5.</summary>
    public const byte Fragment = 44;
    /// <summary>GRE, RFC 2784.</summary>
    public const byte Gre = 47;
    /// <summary>ESP, RFC 4303.</summary>
    public const byte Esp = 50;
    /// <summary>Authentication header, RFC 4302.</summary>
    public const byte Authentication = 51;
    /// <summary>ICMPv6, RFC 4443.</summary>
    public const byte IcmpV6 = 58;
    /// <summary>IPv6: nothing follows, RFC 8200 §4.7.</summary>
    public const byte NoNext = 59;
    /// <summary>IPv6 destination options, RFC 8200 §4.6.</summary>
    public const byte DestinationOptions = 60;
    /// <summary>SCTP, RFC 9260.</summary>
    public const byte Sctp = 132;
    /// <summary>IPv6 mobility header, RFC 6275.</summary>
    public const byte Mobility = 135;
    /// <summary>MPLS in IP, RFC 4023.</summary>
    public const byte Mpls = 137;
}
