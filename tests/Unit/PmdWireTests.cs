using Dataplane.Pmd;

namespace Dataplane.Tests;

public sealed unsafe class PmdWireTests : IDisposable
{
    private const int PoolSize = 2048;

    private readonly Eal _eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
    private readonly PortList _ports;
    private readonly Mempool _pool;

    public PmdWireTests()
    {
        _ports = new PortList(_eal, Drivers.All);
        _pool = Mempool.CreateMbufPool(_eal.Memory, "p", PoolSize, cacheSize: 0);
    }

    public void Dispose()
    {
        foreach (Port port in _ports.Ports)
            port.Stop();
        Assert.Equal(PoolSize, _pool.AvailableCount);
        _ports.Dispose();
        _pool.Dispose();
        _eal.Dispose();
    }

    [Theory]
    [InlineData("loss=10", 0.90)]
    [InlineData("loss=100", 0)]
    [InlineData("dup=20", 1.20)]
    [InlineData("reorder=30", 1)]
    [InlineData("loss=5,dup=5,reorder=5,delay=1,jitter=2,seed=9", 1)]
    [InlineData("delay=1,pps=1G,rate=1000G", 1)]
    public void Faults_ManyPackets_EachIsAccountedForAndShareIsRight(string faults, double share)
    {
        (Port tx, Port rx) = Wire(faults);
        List<uint> got = Carry(tx, rx, 20_000, burst: 32);
        Dictionary<string, ulong> sender = Named(tx), receiver = Named(rx);
        Assert.Equal((long)(sender["tx_good_packets"] - sender["tx_wire_lost"] + receiver["rx_wire_duplicated"]),
            got.Count);
        Assert.InRange(got.Count, 20_000 * (share - 0.02), 20_000 * (share + 0.02));
        Assert.Equal(got.Count, (long)receiver["rx_good_packets"]);
        bool inOrder = got.SequenceEqual(got.Order());
        Assert.Equal(!faults.Contains("reorder"), inOrder);
        Assert.Equal(!inOrder, receiver["rx_wire_reordered"] > 0);
    }

    [Fact]
    public void Faults_SameSeed_SameFate()
    {
        const string Faults = "loss=7,dup=7,reorder=7,seed=";
        List<uint> Run(string seed)
        {
            (Port tx, Port rx) = Wire(Faults + seed);
            List<uint> got = Carry(tx, rx, 2000, burst: 32);
            _ports.Detach(tx);
            _ports.Detach(rx);
            return got;
        }
        List<uint> first = Run("42");
        Assert.Equal(first, Run("42"));
        Assert.NotEqual(first, Run("43"));
    }

    [Fact]
    public void Delay_PacketSent_ArrivesThenAndNotBefore()
    {
        (Port tx, Port rx) = Wire("delay=3000");
        ulong start = Tsc.Read();
        Send(tx, 0, 1);
        ulong due = start + Tsc.FromMicroseconds(3000);
        var burst = new Mbuf[4];
        int received;
        while ((received = rx.RxQueues[0].RxBurst(burst)) == 0)
            Assert.True(Tsc.Read() < due + Tsc.FromSeconds(60), "it never came");
        Assert.True(Tsc.Read() >= due, "too early");
        Mbuf.FreeBulk(burst.AsSpan(0, received));
    }

    [Fact]
    public void Rate_Limited_PacketsTakeTheirTime()
    {
        (Port tx, Port rx) = Wire("pps=10k");
        ulong start = Tsc.Read();
        Carry(tx, rx, 50, burst: 10);
        Assert.InRange(Tsc.ToSeconds(Tsc.Read() - start), 0.0049, 60);
    }

    [Fact]
    public void Full_Queue_MakesTheSenderWaitOrLosesAsAsked()
    {
        (Port tx, Port rx) = Wire("drop=1", descriptors: 32);
        Assert.Equal(40, Send(tx, 0, 40));
        Assert.Equal(8ul, Named(tx)["tx_wire_full"]);
        Assert.Equal(40, Send(rx, 0, 40) + 8);
        Assert.Equal(0ul, Named(rx)["tx_wire_full"]);
    }

    [Fact]
    public void Queues_Flows_SpreadAndStayTogether()
    {
        (Port tx, Port rx) = Wire("", queues: 4);
        Send(tx, 0, 256);
        var burst = new Mbuf[256];
        var flows = new Dictionary<int, int>();
        for (int queue = 0; queue < 4; queue++)
        {
            int received = rx.RxQueues[queue].RxBurst(burst);
            Assert.InRange(received, 16, 200);
            foreach (Mbuf packet in burst.AsSpan(0, received))
                Assert.Equal(queue, flows.TryAdd(packet.Data[35], queue) ? queue : flows[packet.Data[35]]);
            Mbuf.FreeBulk(burst.AsSpan(0, received));
        }
        Assert.Equal(64, flows.Count);
    }

    [Fact]
    public void Oversize_Frame_IsCountedAndDropped()
    {
        (Port tx, Port rx) = Wire("");
        Assert.True(_pool.TryAlloc(out Mbuf packet));
        Assert.True(packet.Append(1523) != null);
        Assert.Equal(1, tx.TxQueues[0].TxBurst([packet]));
        Assert.Equal(0, rx.RxQueues[0].RxBurst(new Mbuf[4]));
        PortStats stats = rx.GetStats();
        Assert.Equal((1ul, 0ul, 0ul), (stats.RxErrors, stats.RxPackets, stats.RxBytes));
        Assert.Equal(1ul, Named(rx)["rx_wire_oversize"]);
    }

    [Fact]
    public void Link_EitherEndDown_IsDownAtBothAndTold()
    {
        (Port tx, Port rx) = Wire("");
        int told = 0;
        tx.Events += (_, what) => told += what == PortEvent.LinkChanged ? 1 : 0;
        Assert.True(tx.GetLink().Up && rx.GetLink().Up);
        rx.SetLink(false);
        Assert.False(tx.GetLink().Up || rx.GetLink().Up);
        Assert.Equal(0, Send(tx, 0, 4));
        rx.SetLink(true);
        Assert.Equal(4, Send(tx, 0, 4));
        rx.Stop();
        Assert.Equal(0, Send(tx, 0, 4));
        Assert.Equal(3, told);
        Assert.False(tx.GetLink().Up);
    }

    [Fact]
    public void Cable_ThirdEnd_IsRefused()
    {
        Wire("cable=a");
        Assert.Contains("two ends", Assert.Throws<ConfigException>(() => _ports.Attach("net_wire7,cable=a")).What);
    }

    [Fact]
    public void Cable_EndPluggedInAgainWhileTheOtherRuns_CarriesOn()
    {
        (Port tx, Port rx) = Wire("");
        for (int life = 0; life < 3; life++)
        {
            _ports.Detach(tx);
            Assert.Equal(0, Send(rx, 0, 4));
            tx = _ports.Attach("net_wire0");
            tx.Start(new PortConfig(), _pool);
            Assert.Equal(8, Carry(tx, rx, 8, burst: 4).Count);
            Assert.Equal(8, Carry(rx, tx, 8, burst: 4).Count);
        }
    }

    private (Port Sender, Port Receiver) Wire(string faults, int queues = 1, int descriptors = 0)
    {
        string far = faults.Contains("cable=") ? ",cable=a" : "";
        Port tx = _ports.Attach("net_wire0" + (faults.Length > 0 ? "," : "") + faults),
            rx = _ports.Attach("net_wire1" + far);
        foreach (Port port in new[] { tx, rx })
            port.Start(new PortConfig { RxQueues = queues, TxQueues = queues }, _pool, descriptors);
        return (tx, rx);
    }

    private int Send(Port port, uint sequence, int count)
    {
        var packets = new Mbuf[count];
        Assert.True(_pool.TryAllocBulk(packets));
        foreach (Mbuf packet in packets)
            DriverRig.Expected(sequence++, 80).CopyTo(new Span<byte>(packet.Append(80), 80));
        int sent = port.TxQueues[0].TxBurst(packets);
        Mbuf.FreeBulk(packets.AsSpan(sent));
        return sent;
    }

    private List<uint> Carry(Port tx, Port rx, int count, int burst)
    {
        var got = new List<uint>();
        var packets = new Mbuf[64];
        uint sequence = 0;
        for (int idle = 0; sequence < count || idle < 2000;)
        {
            if (sequence < count)
                sequence += (uint)Send(tx, sequence, Math.Min(burst, count - (int)sequence));
            int received = rx.RxQueues[0].RxBurst(packets);
            foreach (Mbuf packet in packets.AsSpan(0, received))
                got.Add(DriverRig.SequenceOf(packet)!.Value);
            Mbuf.FreeBulk(packets.AsSpan(0, received));
            idle = received == 0 && rx.RxQueues[0].WaitingCount == 0 ? idle + 1 : 0;
        }
        return got;
    }

    private static Dictionary<string, ulong> Named(Port port) => port.GetXstats()
        .ToDictionary(x => x.Name, x => x.Value);
}
