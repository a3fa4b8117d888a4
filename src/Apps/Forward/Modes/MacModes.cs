using System.Runtime.CompilerServices;
using Dataplane.Net;

namespace Dataplane.Apps.Forward;

/// <summary><c>mac</c>: from the sending port's address to the configured peer's. Frames too short for that pass as
/// they are.</summary>
internal readonly struct MacMode(EtherAddr source, EtherAddr destination) : ITransform
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Process(Span<Mbuf> packets, ref StreamCounters counters)
    {
        foreach (Mbuf packet in packets)
        {
            Span<byte> data = packet.Data;
            if (data.Length < EtherHeader.Size)
                continue;
            ref EtherHeader ether = ref data.HeaderAt<EtherHeader>();
            ether.Source = source;
            ether.Destination = destination;
        }
        return packets.Length;
    }
}

/// <summary><c>macswap</c>: back to where it came from.</summary>
internal readonly struct MacSwapMode : ITransform
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Process(Span<Mbuf> packets, ref StreamCounters counters)
    {
        foreach (Mbuf packet in packets)
        {
            Span<byte> data = packet.Data;
            if (data.Length >= EtherHeader.Size)
                data.HeaderAt<EtherHeader>().SwapAddresses();
        }
        return packets.Length;
    }
}

/// <summary>
/// <c>5tswap</c>: swaps Ethernet and IP addresses and TCP or UDP ports. Checksums stay right by themselves: a swap does
/// not change a sum (RFC 1071 §2).
/// </summary>
internal readonly struct FiveTupleSwapMode : ITransform
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Process(Span<Mbuf> packets, ref StreamCounters counters)
    {
        foreach (Mbuf packet in packets)
            Swap(packet.Data);
        return packets.Length;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Swap(Span<byte> data)
    {
        var cursor = new HeaderCursor(data);
        if (!cursor.TryRead(out HeaderRef<EtherHeader> ether))
            return;
        ether.Value.SwapAddresses();
        ushort type = ether.Value.EtherType;
        for (int tags = 0; tags < 2 && type is EtherTypes.Vlan or EtherTypes.QinQ; tags++)
        {
            if (!cursor.TryRead(out HeaderRef<VlanHeader> vlan))
                return;
            type = vlan.Value.EtherType;
        }
        byte protocol;
        if (type == EtherTypes.IPv4 && cursor.TryRead(out HeaderRef<IPv4Header> ip4))
        {
            (ip4.Value.Source, ip4.Value.Destination) = (ip4.Value.Destination, ip4.Value.Source);
            if (ip4.Value.FragmentOffset != 0 || !cursor.TrySkip(ip4.Value.HeaderLength - IPv4Header.Size))
                return;
            protocol = ip4.Value.Protocol;
        }
        else if (type == EtherTypes.IPv6 && cursor.TryRead(out HeaderRef<IPv6Header> ip6))
        {
            (ip6.Value.Source, ip6.Value.Destination) = (ip6.Value.Destination, ip6.Value.Source);
            protocol = ip6.Value.NextHeader;
        }
        else
        {
            return;
        }
        // TCP and UDP both begin with the two ports.
        if (protocol is IPProtocols.Tcp or IPProtocols.Udp && cursor.TryRead(out HeaderRef<UdpHeader> ports))
            (ports.Value.SourcePort, ports.Value.DestinationPort) =
                (ports.Value.DestinationPort, ports.Value.SourcePort);
    }
}
