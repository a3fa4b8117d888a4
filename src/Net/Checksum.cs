using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>
/// Internet checksums: RFC 1071, updates RFC 1624. Raw sums are <see cref="ushort"/>s in memory byte order, not
/// complemented; finished checksums are <see cref="Be16"/>s to be stored in a header as they are. Any thread; nothing
/// allocates or throws on packet content.
/// </summary>
public static class Checksum
{
    /// <summary>One's complement sum of the bytes, an odd last one padded with zero.</summary>
    public static ushort Raw(ReadOnlySpan<byte> data) => RawSum.Fold(RawSum.Of(data));

    /// <summary>The sum of two sums. When the bytes under the first are odd in number, <see cref="SwapRaw"/> the
    /// second before.</summary>
    public static ushort AddRaw(ushort left, ushort right) => RawSum.Fold((ulong)left + right);

    /// <summary>The sum the same bytes have when they start at an odd offset (RFC 1071 §2(B)).</summary>
    public static ushort SwapRaw(ushort sum) => (ushort)(sum << 8 | sum >> 8);

    /// <summary>Sum over part of a packet that may lie in many segments, of any and also odd lengths.</summary>
    /// <param name="packet">First segment.</param>
    /// <param name="offset">Bytes from the packet's start, 0 and up.</param>
    /// <param name="length">Bytes, 0 and up.</param>
    /// <param name="sum">The raw sum.</param>
    /// <returns>False when the packet does not have those bytes.</returns>
    public static bool TryRaw(Mbuf packet, int offset, int length, out ushort sum)
    {
        ulong total = 0;
        bool odd = false;
        sum = 0;
        if ((offset | length) < 0)
            return false;
        for (Mbuf segment = packet; !segment.IsNull && length > 0; segment = segment.Next)
        {
            ReadOnlySpan<byte> data = segment.Data;
            if (offset >= data.Length)
            {
                offset -= data.Length;
                continue;
            }
            data = data.Slice(offset, Math.Min(length, data.Length - offset));
            offset = 0;
            ushort part = Raw(data);
            total += odd ? SwapRaw(part) : part;
            odd ^= (data.Length & 1) != 0;
            length -= data.Length;
        }
        sum = RawSum.Fold(total);
        return length == 0;
    }

    /// <summary>Finishes a sum: folded already, it is complemented.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Be16 Finish(ushort raw) => Be16.FromRaw((ushort)~raw);

    /// <summary>Raw sum of the IPv4 pseudo-header. RFC 768, RFC 9293 §3.1.</summary>
    /// <param name="ip">Gives addresses and protocol.</param>
    /// <param name="l4Bytes">Bytes of transport header and payload; 0 to leave the length out, as TSO wants it.</param>
    public static ushort PseudoHeader(in IPv4Header ip, int l4Bytes) => RawSum.Fold(
        (ulong)ip.Source.Raw + ip.Destination.Raw + ((Be16)(ushort)l4Bytes).Raw + ((Be16)ip.Protocol).Raw);

    /// <summary>Raw sum of the IPv6 pseudo-header. RFC 8200 §8.1.</summary>
    /// <param name="ip">Gives the addresses; with a routing header the final destination must stand there.</param>
    /// <param name="protocol">Transport protocol behind all extension headers.</param>
    /// <param name="l4Bytes">Bytes of transport header and payload; 0 to leave the length out, as TSO wants it.</param>
    public static ushort PseudoHeader(in IPv6Header ip, byte protocol, int l4Bytes)
    {
        ulong sum = RawSum.OfScalar(MemoryMarshal.AsBytes(new ReadOnlySpan<IPv6Header>(in ip))[8..]);
        return RawSum.Fold(sum + ((Be32)(uint)l4Bytes).Raw + ((Be32)(uint)protocol).Raw);
    }

    /// <summary>Checksum of an IPv4 header without options; what stands in its checksum field does not count.</summary>
    public static Be16 IPv4(in IPv4Header header)
    {
        ulong sum = RawSum.OfScalar(MemoryMarshal.AsBytes(new ReadOnlySpan<IPv4Header>(in header)));
        return Finish(RawSum.Fold(sum + (ushort)~header.Checksum.Raw));
    }

    /// <summary>Checksum of an IPv4 header with its options; what stands in its checksum field does not
    /// count.</summary>
    /// <param name="header">Exactly the header: <see cref="IPv4Header.HeaderLength"/> bytes, at least 20.</param>
    public static Be16 IPv4(ReadOnlySpan<byte> header)
    {
        ushort old = header.HeaderAt<IPv4Header>().Checksum.Raw;
        return Finish(RawSum.Fold(RawSum.OfScalar(header) + (ushort)~old));
    }

    /// <summary>True when the checksum of an IPv4 header with its options is right.</summary>
    /// <param name="header">Exactly the header.</param>
    public static bool VerifyIPv4(ReadOnlySpan<byte> header) => RawSum.Fold(RawSum.OfScalar(header)) == 0xffff;

    /// <summary>Checksum of a TCP or UDP packet over IPv4. UDP's 0 comes out as 0xffff, for 0 says "none" (RFC
    /// 768).</summary>
    /// <param name="ip">Its IPv4 header, for addresses and protocol.</param>
    /// <param name="l4">Transport header and payload, no padding. Its checksum field must be 0.</param>
    public static Be16 UdpTcp(in IPv4Header ip, ReadOnlySpan<byte> l4) =>
        NoUdpZero(ip.Protocol, RawSum.Of(l4) + PseudoHeader(in ip, l4.Length));

    /// <summary>Checksum of a TCP, UDP or ICMPv6 packet over IPv6. UDP's 0 comes out as 0xffff (RFC 8200
    /// §8.1).</summary>
    /// <param name="ip">Its IPv6 header, for the addresses.</param>
    /// <param name="protocol">Transport protocol behind all extension headers.</param>
    /// <param name="l4">Transport header and payload, no padding. Its checksum field must be 0.</param>
    public static Be16 UdpTcp(in IPv6Header ip, byte protocol, ReadOnlySpan<byte> l4) =>
        NoUdpZero(protocol, RawSum.Of(l4) + PseudoHeader(in ip, protocol, l4.Length));

    /// <summary>True when the checksum of a TCP or UDP packet over IPv4 is right, or is a UDP packet's 0: none was
    /// made.</summary>
    /// <param name="ip">Its IPv4 header.</param>
    /// <param name="l4">Transport header and payload, no padding.</param>
    public static bool VerifyUdpTcp(in IPv4Header ip, ReadOnlySpan<byte> l4) =>
        RawSum.Fold(RawSum.Of(l4) + PseudoHeader(in ip, l4.Length)) == 0xffff
        || (ip.Protocol == IPProtocols.Udp && IsUdpZero(l4));

    /// <summary>True when the checksum of a TCP, UDP or ICMPv6 packet over IPv6 is right; UDP's 0 is wrong
    /// here.</summary>
    /// <param name="ip">Its IPv6 header.</param>
    /// <param name="protocol">Transport protocol behind all extension headers.</param>
    /// <param name="l4">Transport header and payload, no padding.</param>
    public static bool VerifyUdpTcp(in IPv6Header ip, byte protocol, ReadOnlySpan<byte> l4) =>
        RawSum.Fold(RawSum.Of(l4) + PseudoHeader(in ip, protocol, l4.Length)) == 0xffff
        && !(protocol == IPProtocols.Udp && IsUdpZero(l4));

    /// <summary>Checksum of an ICMP message (not ICMPv6, which has a pseudo-header).</summary>
    /// <param name="message">Header and payload. Its checksum field must be 0.</param>
    public static Be16 Icmp(ReadOnlySpan<byte> message) => Finish(Raw(message));

    /// <summary>Checksum after a 16-bit field under it changed. RFC 1624 §3, equation 3.</summary>
    public static Be16 Update(Be16 checksum, Be16 before, Be16 after) =>
        Finish(RawSum.Fold((ulong)(ushort)~checksum.Raw + (ushort)~before.Raw + after.Raw));

    /// <summary>Checksum after a 32-bit field under it changed, at an even offset. RFC 1624 §3, equation 3.</summary>
    public static Be16 Update(Be16 checksum, Be32 before, Be32 after) =>
        Finish(RawSum.Fold((ulong)(ushort)~checksum.Raw + ~before.Raw + after.Raw));

    /// <summary>Checksum after an address under it changed.</summary>
    public static Be16 Update(Be16 checksum, IPv4Address before, IPv4Address after) =>
        Update(checksum, Be32.FromRaw(before.Raw), Be32.FromRaw(after.Raw));

    /// <summary>Checksum after bytes under it changed, which start at an even offset.</summary>
    /// <param name="checksum">The checksum before.</param>
    /// <param name="before">The bytes before.</param>
    /// <param name="after">The bytes now, as many.</param>
    public static Be16 Update(Be16 checksum, ReadOnlySpan<byte> before, ReadOnlySpan<byte> after) =>
        Finish(RawSum.Fold((ulong)(ushort)~checksum.Raw + (ushort)~Raw(before) + Raw(after)));

    private static bool IsUdpZero(ReadOnlySpan<byte> l4) =>
        l4.Length >= UdpHeader.Size && l4.HeaderAt<UdpHeader>().Checksum.Raw == 0;

    private static Be16 NoUdpZero(byte protocol, ulong sum)
    {
        ushort raw = RawSum.Fold(sum);
        return raw == 0xffff && protocol == IPProtocols.Udp ? Be16.FromRaw(0xffff) : Finish(raw);
    }
}
