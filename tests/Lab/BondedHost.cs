using Dataplane.Net;

namespace Dataplane.Tests;

/// <summary>A station behind a port: answers ARP requests and pings for one IPv4 address on a thread of its own, counts
/// UDP packets to it, and sends some.</summary>
internal sealed class BondedHost : IDisposable
{
    private readonly Port _port;
    private readonly Mempool _pool;
    private readonly IPv4Address _address;
    private readonly Thread _thread;
    private bool _stop;
    private int _wanted;
    private long _datagrams, _refused;
    private EtherAddr _peerMac;
    private IPv4Address _peer;

    internal BondedHost(Port port, Mempool pool, string address)
    {
        (_port, _pool, _address) = (port, pool, IPv4Address.Parse(address));
        _thread = new Thread(Run);
        _thread.Start();
    }

    /// <summary>UDP packets that came.</summary>
    internal long Datagrams => Volatile.Read(ref _datagrams);

    /// <summary>Packets that the port did not take.</summary>
    internal long Refused => Volatile.Read(ref _refused);

    /// <summary>Sends so many UDP packets, each of another flow, to whoever asked for our address last.</summary>
    internal void SendFlows(int count)
    {
        Volatile.Write(ref _wanted, count);
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref _wanted) == 0, TimeSpan.FromSeconds(60)), "not sent");
    }

    public void Dispose()
    {
        Volatile.Write(ref _stop, true);
        _thread.Join();
    }

    private void Run()
    {
        var burst = new Mbuf[32];
        while (!Volatile.Read(ref _stop))
        {
            int received = _port.RxQueues[0].RxBurst(burst), answers = 0;
            foreach (Mbuf packet in burst.AsSpan(0, received))
            {
                if (Answer(packet.Data))
                    burst[answers++] = packet;
                else
                    packet.Free();
            }
            Send(burst.AsSpan(0, answers));
            for (int flow = Volatile.Read(ref _wanted); flow > 0; flow--)
                SendFlow(flow);
            Volatile.Write(ref _wanted, 0);
            if (received == 0)
                Thread.Yield();
        }
    }

    private void Send(ReadOnlySpan<Mbuf> packets)
    {
        int sent = _port.TxQueues[0].TxBurst(packets);
        Mbuf.FreeBulk(packets[sent..]);
        Interlocked.Add(ref _refused, packets.Length - sent);
    }

    private void SendFlow(int flow)
    {
        byte[] frame = new TestFrame(flow) { To = _peerMac }.Build();
        Span<byte> l3 = frame.AsSpan(14);
        ref IPv4Header ip = ref l3.HeaderAt<IPv4Header>();
        (ip.Source, ip.Destination, ip.Checksum) = (_address, _peer, 0);
        ip.Checksum = Checksum.IPv4(in ip);
        _port.MacAddress.Write(frame.AsSpan(6));
        Send([PortRig.Packet(_pool, frame)]);
    }

    // True when the bytes now are an answer.
    private bool Answer(Span<byte> frame)
    {
        var cursor = new HeaderCursor(frame);
        if (!cursor.TryRead(out HeaderRef<EtherHeader> ether))
            return false;
        if (ether.Value.EtherType == EtherTypes.Arp)
            return cursor.TryRead(out HeaderRef<ArpHeader> arp) && arp.Value.Operation == 1
                && arp.Value.TargetProtocol.Equals(_address) && AnswerArp(ref ether.Value, ref arp.Value);
        if (ether.Value.EtherType != EtherTypes.IPv4 || !cursor.TryRead(out HeaderRef<IPv4Header> ip)
            || !ip.Value.Destination.Equals(_address))
            return false;
        if (ip.Value.Protocol == IPProtocols.Udp)
            Interlocked.Increment(ref _datagrams);
        if (ip.Value.Protocol != IPProtocols.Icmp || !cursor.TryRead(out HeaderRef<IcmpHeader> icmp)
            || icmp.Value.Type != IcmpHeader.EchoRequest)
            return false;
        ether.Value.SwapAddresses();
        (ip.Value.Source, ip.Value.Destination) = (ip.Value.Destination, ip.Value.Source);
        icmp.Value.Type = IcmpHeader.EchoReply;
        icmp.Value.Checksum = 0;
        Span<byte> message = frame[(14 + ip.Value.HeaderLength)..(14 + ip.Value.TotalLength)];
        icmp.Value.Checksum = Checksum.Icmp(message);
        return true;
    }

    private bool AnswerArp(ref EtherHeader ether, ref ArpHeader arp)
    {
        (_peerMac, _peer) = (arp.SenderHardware, arp.SenderProtocol);
        ether.Destination = ether.Source;
        ether.Source = _port.MacAddress;
        (arp.TargetHardware, arp.TargetProtocol) = (arp.SenderHardware, arp.SenderProtocol);
        (arp.SenderHardware, arp.SenderProtocol) = (_port.MacAddress, _address);
        arp.Operation = 2;
        return true;
    }
}
