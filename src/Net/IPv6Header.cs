using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>
/// IPv6 header, 40 bytes. RFC 8200 §3.
/// <code>
/// 0: version:4 traffic class:8 flow label:20
/// 4: payload length:16 | next header:8 | hop limit:8
/// 8: source            24: destination            40: extension headers, payload
/// </code>
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct IPv6Header
{
    /// <summary>Bytes of this header.</summary>
    public const int Size = 40;

    /// <summary>Version 4 bits, traffic class 8 bits, flow label 20 bits.</summary>
    [FieldOffset(0)] public Be32 VersionClassFlow;

    /// <summary>Bytes after this header, extension headers included.</summary>
    [FieldOffset(4)] public Be16 PayloadLength;

    /// <summary>What follows (<see cref="IPProtocols"/>).</summary>
    [FieldOffset(6)] public byte NextHeader;

    /// <summary>Hops left.</summary>
    [FieldOffset(7)] public byte HopLimit;

    /// <summary>Sender.</summary>
    [FieldOffset(8)] public IPv6Address Source;

    /// <summary>Receiver.</summary>
    [FieldOffset(24)] public IPv6Address Destination;

    /// <summary>6 when it is IPv6 at all.</summary>
    public readonly int Version => (int)(VersionClassFlow.Value >> 28);

    /// <summary>DSCP 6 bits, ECN 2 bits.</summary>
    public readonly byte TrafficClass => (byte)(VersionClassFlow.Value >> 20);

    /// <summary>RFC 6437, 20 bits.</summary>
    public readonly uint FlowLabel => VersionClassFlow.Value & 0xfffff;
}

/// <summary>
/// First 8 bytes of an IPv6 extension header (hop-by-hop, routing, fragment, destination options, mobility,
/// authentication). RFC 8200 §4, RFC 6564.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct IPv6ExtensionHeader
{
    /// <summary>Bytes every extension header has at least.</summary>
    public const int Size = 8;

    /// <summary>What follows (<see cref="IPProtocols"/>).</summary>
    [FieldOffset(0)] public byte NextHeader;

    /// <summary>Length beyond the first 8 bytes, in 8 bytes; other units in fragment and authentication
    /// headers.</summary>
    [FieldOffset(1)] public byte Length;

    /// <summary>In a fragment header: offset 13 bits (in 8 bytes), reserved 2 bits, more fragments 1 bit.
    /// §4.5.</summary>
    [FieldOffset(2)] public Be16 FragmentField;

    /// <summary>In a fragment header: same in all fragments of a packet.</summary>
    [FieldOffset(4)] public Be32 Identification;

    /// <summary>Bytes of the whole header, its kind being <paramref name="kind"/>.</summary>
    public readonly int LengthBytes(byte kind) => kind switch
    {
        IPProtocols.Fragment => 8,                                  // fixed, §4.5
        IPProtocols.Authentication => (Length + 2) * 4,             // RFC 4302 §2.2
        _ => (Length + 1) * 8,
    };
}

/// <summary>The chain of extension headers behind an <see cref="IPv6Header"/>.</summary>
public static class IPv6Extensions
{
    /// <summary>Passed at most, so that a hostile chain costs a known time.</summary>
    public const int MaxHeaders = 8;

    /// <summary>True for the numbers that are extension headers this walks over (not ESP: what follows is
    /// hidden).</summary>
    public static bool IsExtension(byte nextHeader) => nextHeader is IPProtocols.HopByHop or IPProtocols.Routing
        or IPProtocols.Fragment or IPProtocols.Authentication or IPProtocols.DestinationOptions or IPProtocols.Mobility;

    /// <summary>Walks over all extension headers.</summary>
    /// <param name="afterHeader">The bytes after the IPv6 header.</param>
    /// <param name="nextHeader">In: the IPv6 header's next header. Out: the first one that is no extension, or is one
    /// that does not fit.</param>
    /// <param name="bytes">Bytes walked over.</param>
    /// <param name="isFragment">True when a fragment header with an offset or more fragments was among them.</param>
    /// <returns>False when a header is cut off or there are more than <see cref="MaxHeaders"/>.</returns>
    public static bool TryWalk(ReadOnlySpan<byte> afterHeader, ref byte nextHeader, out int bytes, out bool isFragment)
    {
        bytes = 0;
        isFragment = false;
        for (int i = 0; i < MaxHeaders && IsExtension(nextHeader); i++)
        {
            if (afterHeader.Length - bytes < IPv6ExtensionHeader.Size)
                return false;
            ref readonly IPv6ExtensionHeader header = ref afterHeader.HeaderAt<IPv6ExtensionHeader>(bytes);
            int length = header.LengthBytes(nextHeader);
            if (length > afterHeader.Length - bytes)
                return false;
            bool fragment = nextHeader == IPProtocols.Fragment;
            isFragment |= fragment && (header.FragmentField.Value & 0xfff9) != 0;
            bool laterFragment = fragment && header.FragmentField.Value >= 8;
            nextHeader = header.NextHeader;
            bytes += length;
            if (laterFragment)
                return true;     // what follows is the middle of some header, not one (§4.5)
        }
        return !IsExtension(nextHeader);
    }
}
