using System.Runtime.CompilerServices;
using Dataplane.Net;

namespace Dataplane.Apps.Forward;

/// <summary>
/// <c>icmpecho</c>: answers ARP requests and ICMP echo requests on the port they came in by, for any address asked for.
/// Everything else is freed and counted as consumed.
/// </summary>
internal readonly struct IcmpEchoMode(MacAddress own, StreamTrace trace) : ITransform
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Process(Span<Mbuf> packets, ref StreamCounters counters)
    {
        int answers = 0;
        foreach (Mbuf packet in packets)
        {
            if (Answer(packet.Data))
                packets[answers++] = packet;
            else
                Consume(packet, ref counters);
        }
        return answers;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private bool Answer(Span<byte> data)
    {
        var cursor = new HeaderCursor(data);
        if (!cursor.TryRead(out HeaderRef<EtherHeader> ether))
            return false;
        bool answered = (ushort)ether.Value.EtherType switch
        {
            EtherTypes.Arp => AnswerArp(ref cursor),
            EtherTypes.IPv4 => AnswerEcho(ref cursor),
            _ => false,
        };
        if (answered)
        {
            ether.Value.Destination = ether.Value.Source;
            ether.Value.Source = own;
        }
        return answered;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private bool AnswerArp(ref HeaderCursor cursor)
    {
        if (!cursor.TryRead(out HeaderRef<ArpHeader> arp) || !arp.Value.IsEthernetIPv4
            || arp.Value.Operation != ArpHeader.Request)
            return false;
        IPv4Address asked = arp.Value.TargetProtocol;
        arp.Value.Operation = ArpHeader.Reply;
        arp.Value.TargetHardware = arp.Value.SenderHardware;
        arp.Value.TargetProtocol = arp.Value.SenderProtocol;
        arp.Value.SenderHardware = own;
        arp.Value.SenderProtocol = asked;
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool AnswerEcho(ref HeaderCursor cursor)
    {
        if (!cursor.TryRead(out HeaderRef<IPv4Header> ip) || ip.Value.Protocol != IPProtocols.Icmp
            || ip.Value.IsFragment || !cursor.TrySkip(ip.Value.HeaderLength - IPv4Header.Size)
            || !cursor.TryRead(out HeaderRef<IcmpHeader> icmp) || icmp.Value.Type != IcmpHeader.EchoRequest)
            return false;
        // Type and code are one 16-bit word of the sum: 0x0800 becomes 0x0000 (RFC 1624).
        icmp.Value.Checksum = Checksum.Update(icmp.Value.Checksum, (Be16)0x0800, (Be16)0);
        icmp.Value.Type = IcmpHeader.EchoReply;
        (ip.Value.Source, ip.Value.Destination) = (ip.Value.Destination, ip.Value.Source);
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Consume(Mbuf packet, ref StreamCounters counters)
    {
        trace.NoAnswer(packet);
        packet.Free();
        counters.Consumed++;
    }
}
