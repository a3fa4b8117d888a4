using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Sends packets to files and receives them from files, through net_pcap ports.</summary>
internal sealed unsafe class PcapRig : IDisposable
{
    private readonly Mbuf[] _burst = new Mbuf[32];
    private int _ports;

    internal PcapRig(int mbufs = 2048)
    {
        Eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        Pool = Mempool.CreateMbufPool(Eal.Memory, "pcap", mbufs, cacheSize: 0);
        Ports = new PortList(Eal, Drivers.All);
        Stamp = MbufDynamic.RegisterField<ulong>(Eal.Memory, MbufDynamic.TimestampField);
        StampFlag = MbufDynamic.RegisterFlag(Eal.Memory, MbufDynamic.RxTimestampFlag);
    }

    internal Eal Eal { get; }

    internal Mempool Pool { get; }

    internal PortList Ports { get; }

    internal MbufField<ulong> Stamp { get; }

    internal MbufFlags StampFlag { get; }

    /// <summary>A started port with these arguments; dispose it.</summary>
    internal Port Start(string arguments)
    {
        Port port = Ports.Attach($"net_pcap{_ports++},{arguments}");
        port.Start(new PortConfig { RxOffloads = RxOffloads.Timestamp }, Pool);
        return port;
    }

    /// <summary>Sends packets with their stamps, in segments of at most <paramref name="segment"/> bytes.</summary>
    internal PortStats Write(string arguments, IEnumerable<TestPacket> packets, int segment = 2048)
    {
        using Port port = Start(arguments + ",stamp=mbuf");
        foreach (TestPacket packet in packets)
            Assert.Equal(1, port.TxQueues[0].TxBurst([Make(packet, segment)]));
        port.Stop();
        return port.GetStats();
    }

    /// <summary>Receives all packets of a file.</summary>
    internal List<TestPacket> Read(string arguments, out PortStats stats)
    {
        using Port port = Start(arguments);
        List<TestPacket> packets = Receive(port);
        port.Stop();
        stats = port.GetStats();
        return packets;
    }

    /// <summary>Receives until nothing comes any more.</summary>
    internal List<TestPacket> Receive(Port port)
    {
        var packets = new List<TestPacket>();
        for (int idle = 0; idle < 3;)
        {
            int received = port.RxQueues[0].RxBurst(_burst);
            idle = received == 0 ? idle + 1 : 0;
            foreach (Mbuf packet in _burst.AsSpan(0, received))
            {
                Assert.Equal(StampFlag, packet.Flags & StampFlag);
                packets.Add(new TestPacket(Stamp.Of(packet), DriverRig.BytesOf(packet)));
                packet.Free();
            }
        }
        return packets;
    }

    internal Mbuf Make(TestPacket packet, int segment = 2048)
    {
        Mbuf head = default;
        ReadOnlySpan<byte> left = packet.Bytes;
        do
        {
            Mbuf part = Pool.Alloc();
            int length = Math.Min(segment, left.Length);
            left[..length].CopyTo(new Span<byte>(part.Append(length), length));
            left = left[length..];
            if (head.IsNull)
                head = part;
            else
                Assert.True(head.TryChain(part));
        }
        while (!left.IsEmpty);
        Stamp.Of(head) = packet.Nanoseconds;
        head.Flags |= StampFlag;
        return head;
    }

    public void Dispose()
    {
        Ports.Dispose();
        int lost = Pool.InUseCount;
        Pool.Dispose();
        Eal.Dispose();
        Assert.Equal(0, lost);
    }
}
