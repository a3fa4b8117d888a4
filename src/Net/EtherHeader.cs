using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>The six bytes of an Ethernet address as they lie in a header; converts to and from
/// <see cref="MacAddress"/> by itself.</summary>
[StructLayout(LayoutKind.Explicit, Size = 6, Pack = 1)]
public readonly struct EtherAddr
{
    [FieldOffset(0)] private readonly Be16 _high;
    [FieldOffset(2)] private readonly Be32 _low;

    private EtherAddr(MacAddress mac)
    {
        _high = (ushort)(mac.Value >> 32);
        _low = (uint)mac.Value;
    }

    /// <summary>The address as a number.</summary>
    public static implicit operator MacAddress(EtherAddr bytes) =>
        new((ulong)bytes._high.Value << 32 | bytes._low.Value);

    /// <summary>The address as bytes.</summary>
    public static implicit operator EtherAddr(MacAddress mac) => new(mac);

    /// <inheritdoc/>
    public override string ToString() => ((MacAddress)this).ToString();
}

/// <summary>
/// Ethernet II header, 14 bytes. IEEE 802.3 §3.2.
/// <code>
/// 0            6            12      14
/// | destination | source     | type  | payload ...
/// </code>
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct EtherHeader
{
    /// <summary>Bytes of this header.</summary>
    public const int Size = 14;

    /// <summary>Shortest frame without its check sequence, bytes; shorter ones are padded on the wire.</summary>
    public const int MinFrameBytes = 60;

    /// <summary>Longest untagged standard frame without its check sequence, bytes.</summary>
    public const int MaxFrameBytes = 1514;

    /// <summary>Who it is for.</summary>
    [FieldOffset(0)] public EtherAddr Destination;

    /// <summary>Who sent it.</summary>
    [FieldOffset(6)] public EtherAddr Source;

    /// <summary>What follows (<see cref="EtherTypes"/>), or the payload's length when up to 1,500.</summary>
    [FieldOffset(12)] public Be16 EtherType;

    [FieldOffset(0)] private ulong _first8;
    [FieldOffset(8)] private uint _next4;

    /// <summary>Exchanges source and destination with two loads and two stores.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void SwapAddresses()
    {
        // dddddd ss | ssss  ->  ssssss dd | dddd. The shifts assume little-endian, as every .NET Linux target but
        // s390x is.
        ulong first = _first8;
        uint next = _next4;
        _first8 = first >> 48 | (ulong)next << 16 | first << 48;
        _next4 = (uint)(first >> 16);
    }
}

/// <summary>One 802.1Q tag, 4 bytes, between the source address and the type it displaces. IEEE 802.1Q §9.6.</summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct VlanHeader
{
    /// <summary>Bytes of this header.</summary>
    public const int Size = 4;

    /// <summary>Priority 3 bits, drop eligible 1 bit, VLAN id 12 bits.</summary>
    [FieldOffset(0)] public Be16 Tci;

    /// <summary>What follows (<see cref="EtherTypes"/>).</summary>
    [FieldOffset(2)] public Be16 EtherType;

    /// <summary>VLAN id, 0 to 4,095; 0 is a priority tag only.</summary>
    public readonly int Id => Tci.Value & 0xfff;

    /// <summary>Priority code point, 0 to 7.</summary>
    public readonly int Priority => Tci.Value >> 13;

    /// <summary>May be dropped first.</summary>
    public readonly bool DropEligible => (Tci.Value & 0x1000) != 0;
}

/// <summary>EtherType values. IANA "IEEE 802 Numbers".</summary>
public static class EtherTypes
{
    /// <summary>IPv4, RFC 894.</summary>
    public const ushort IPv4 = 0x0800;
    /// <summary>ARP, RFC 826.</summary>
    public const ushort Arp = 0x0806;
    /// <summary>Transparent Ethernet bridging: an Ethernet frame inside GRE or Geneve, RFC 1701.</summary>
    public const ushort Ethernet = 0x6558;
    /// <summary>One VLAN tag, IEEE 802.1Q.</summary>
    public const ushort Vlan = 0x8100;
    /// <summary>IPv6, RFC 2464.</summary>
    public const ushort IPv6 = 0x86dd;
    /// <summary>MPLS unicast, RFC 5332.</summary>
    public const ushort Mpls = 0x8847;
    /// <summary>MPLS with upstream-assigned label, RFC 5332.</summary>
    public const ushort MplsMulticast = 0x8848;
    /// <summary>Service tag, the outer of two, IEEE 802.1ad.</summary>
    public const ushort QinQ = 0x88a8;
    /// <summary>LLDP, IEEE 802.1AB.</summary>
    public const ushort Lldp = 0x88cc;
    /// <summary>Precision time protocol, IEEE 1588.</summary>
    public const ushort Timesync = 0x88f7;
    /// <summary>The outer tag before 802.1ad, still met.</summary>
    public const ushort QinQLegacy = 0x9100;
}
