using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>What of a packet decides which member sends it.</summary>
internal enum TransmitPolicy
{
    /// <summary>Ethernet addresses.</summary>
    L2,
    /// <summary>Ethernet and IP addresses.</summary>
    L23,
    /// <summary>IP addresses and TCP, UDP or SCTP ports; of a fragment the addresses alone. Ethernet addresses of what
    /// is not IP.</summary>
    L34,
}

/// <summary>
/// The hash of a frame by a policy: all 16-bit words of its fields, in network order, combined by exclusive or, the sum
/// folded to a byte. So both directions of a flow have the same. Data path; any bytes will do.
/// </summary>
internal static class TransmitHash
{
    /// <summary>How many hashes there are: 0 to 255.</summary>
    internal const int Count = 256;

    // What most frames are: IPv4 with no tag, its header's version, length and fragment field, the first four of L4.
    private const int VersionAt = EtherHeader.Size, FragmentAt = VersionAt + 6, ProtocolAt = VersionAt + 9,
        SourceAt = VersionAt + 12, PortsAt = VersionAt + IPv4Header.Size, PlainBytes = PortsAt + 4;

    /// <summary>The hash.</summary>
    /// <param name="frame">The first segment's bytes. What is not in it is left out.</param>
    /// <param name="policy">What to look at.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint Compute(ReadOnlySpan<byte> frame, TransmitPolicy policy)
    {
        if (frame.Length < PlainBytes)
            return ComputeAny(frame, policy);
        // A folded exclusive or is the same in any byte order.
        ulong l2 = MemoryMarshal.Read<ulong>(frame) ^ MemoryMarshal.Read<uint>(frame[8..]);
        if (policy == TransmitPolicy.L2)
            return Fold((uint)(l2 ^ l2 >> 32));
        if (BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) != EtherTypes.IPv4)
            return ComputeAny(frame, policy);
        ulong hash = MemoryMarshal.Read<ulong>(frame[SourceAt..]);
        if (policy == TransmitPolicy.L23)
            hash ^= l2;
        else if (frame[VersionAt] == 0x45 && (BinaryPrimitives.ReadUInt16BigEndian(frame[FragmentAt..]) & 0x3fff) == 0
            && frame[ProtocolAt] is IPProtocols.Udp or IPProtocols.Tcp)
            hash ^= MemoryMarshal.Read<uint>(frame[PortsAt..]);
        else
            return ComputeAny(frame, policy);
        return Fold((uint)(hash ^ hash >> 32));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static uint ComputeAny(ReadOnlySpan<byte> frame, TransmitPolicy policy)
    {
        if (frame.Length < EtherHeader.Size)
            return 0;
        uint l2 = policy == TransmitPolicy.L34 ? 0 : OfAddresses(frame);
        if (policy == TransmitPolicy.L2)
            return Fold(l2);
        int at = EtherHeader.Size;
        ushort type = BinaryPrimitives.ReadUInt16BigEndian(frame[12..]);
        for (int tags = 0; tags < 2 && IsTag(type) && frame.Length >= at + VlanHeader.Size; tags++)
        {
            type = BinaryPrimitives.ReadUInt16BigEndian(frame[(at + 2)..]);
            at += VlanHeader.Size;
        }
        ReadOnlySpan<byte> l3 = frame[at..];
        bool ports = policy == TransmitPolicy.L34;
        if (type == EtherTypes.IPv4 && l3.Length >= IPv4Header.Size)
            return Fold(l2 ^ OfIPv4(l3, ports));
        if (type == EtherTypes.IPv6 && l3.Length >= IPv6Header.Size)
            return Fold(l2 ^ OfIPv6(l3, ports));
        return Fold(ports ? OfAddresses(frame) : l2);
    }

    private static bool IsTag(ushort type) =>
        type is EtherTypes.Vlan or EtherTypes.QinQ or EtherTypes.QinQLegacy;

    private static uint OfAddresses(ReadOnlySpan<byte> frame) => BinaryPrimitives.ReadUInt32BigEndian(frame)
        ^ BinaryPrimitives.ReadUInt32BigEndian(frame[4..]) ^ BinaryPrimitives.ReadUInt32BigEndian(frame[8..]);

    private static uint OfIPv4(ReadOnlySpan<byte> l3, bool ports)
    {
        ref readonly IPv4Header ip = ref l3.HeaderAt<IPv4Header>();
        uint hash = BinaryPrimitives.ReadUInt32BigEndian(l3[12..]) ^ BinaryPrimitives.ReadUInt32BigEndian(l3[16..]);
        return ports && !ip.IsFragment ? hash ^ OfPorts(l3, ip.HeaderLength, ip.Protocol) : hash;
    }

    private static uint OfIPv6(ReadOnlySpan<byte> l3, bool ports)
    {
        uint hash = 0;
        for (int at = 8; at < IPv6Header.Size; at += 4)
            hash ^= BinaryPrimitives.ReadUInt32BigEndian(l3[at..]);
        byte next = l3[6];
        return ports && IPv6Extensions.TryWalk(l3[IPv6Header.Size..], ref next, out int bytes, out bool isFragment)
            && !isFragment ? hash ^ OfPorts(l3, IPv6Header.Size + bytes, next) : hash;
    }

    private static uint OfPorts(ReadOnlySpan<byte> l3, int at, byte protocol) =>
        protocol is IPProtocols.Tcp or IPProtocols.Udp or IPProtocols.Sctp && l3.Length >= at + 4
            ? BinaryPrimitives.ReadUInt32BigEndian(l3[at..]) : 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Fold(uint hash)
    {
        hash ^= hash >> 16;
        hash ^= hash >> 8;
        return hash & 0xff;
    }
}
