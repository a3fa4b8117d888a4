using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>What every port does the same, because the base class does it.</summary>
public sealed unsafe class PortTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
    private readonly PortList _ports;
    private readonly Mempool _pool;
    private readonly Port _port;

    public PortTests()
    {
        _ports = new PortList(_eal, [.. Drivers.All, new FakeDriver()]);
        _pool = Mempool.CreateMbufPool(_eal.Memory, "p", 256, cacheSize: 0);
        _port = _ports.Attach("net_fake0");
    }

    public void Dispose()
    {
        _ports.Dispose();
        Assert.Equal(256, _pool.AvailableCount);
        _pool.Dispose();
        _eal.Dispose();
    }

    [Fact]
    public void Lifecycle_InOrder_PassesEveryState()
    {
        Assert.Equal(PortState.Attached, _port.State);
        _port.Configure(new PortConfig());
        Assert.Equal(PortState.Configured, _port.State);
        _port.SetupRxQueue(0, _pool);
        _port.SetupTxQueue(0);
        _port.Start();
        Assert.Equal(PortState.Started, _port.State);
        _port.Stop();
        Assert.Equal(PortState.Stopped, _port.State);
        _port.Start();
        _port.Dispose();
        _port.Dispose();
        Assert.Equal(PortState.Closed, _port.State);
    }

    [Fact]
    public void Control_Closed_IsRefused()
    {
        _port.Dispose();
        foreach (Action call in (Action[])[() => _port.SetLink(true), () => _port.SetMtu(1500),
            () => _port.SetMacAddress(MacAddress.Local(2)), () => _port.AddMacAddress(MacAddress.Local(3)),
            () => _port.SetPromiscuous(true), () => _port.SetAllMulticast(true), () => _port.SetLed(true),
            () => _port.GetFlowControl(), () => _port.SetFlowControl(new(true, true)), () => _port.ReadRegisters(),
            () => _port.ReadClock()])
            Assert.Equal("it is Closed", Assert.Throws<DataplaneException>(call).Why);
    }

    [Theory]
    [InlineData("Attached", "setup", "Configure")]
    [InlineData("Attached", "start", "Configure")]
    [InlineData("Configured", "start", "SetupRxQueue(0, pool)")]
    [InlineData("Started", "start", "Stop")]
    [InlineData("Started", "setup", "Stop")]
    [InlineData("Started", "configure", "Stop")]
    [InlineData("Closed", "configure", "attach")]
    [InlineData("Closed", "setup", "attach")]
    [InlineData("Closed", "start", "attach")]
    [InlineData("Stopped", "queue", "Start")]
    public void Lifecycle_OutOfOrder_NamesTheStateAndTheCallToMake(string state, string call, string advice)
    {
        if (state is "Configured")
            _port.Configure(new PortConfig());
        if (state is "Started" or "Stopped")
            _port.Start(new PortConfig(), _pool);
        if (state is "Stopped")
            _port.Stop();
        if (state is "Closed")
            _port.Dispose();
        DataplaneException e = Assert.ThrowsAny<DataplaneException>(() =>
        {
            switch (call)
            {
                case "setup": _port.SetupRxQueue(0, _pool); break;
                case "configure": _port.Configure(new PortConfig()); break;
                case "queue": _port.RxQueues[0].Start(); break;
                default: _port.Start(); break;
            }
        });
        Assert.Contains("net_fake0", e.What);
        Assert.Equal($"it is {state}", e.Why);
        Assert.Contains(advice, e.Fix);
    }

    public static TheoryData<PortConfig, string> BadConfigs => new()
    {
        { new PortConfig { RxQueues = 5 }, "5 receive queues" },
        { new PortConfig { TxQueues = -1 }, "-1 transmit queues" },
        { new PortConfig { RxQueues = 0, TxQueues = 0 }, "without any queue" },
        { new PortConfig { RxOffloads = RxOffloads.VlanStrip | RxOffloads.TcpLro | RxOffloads.Scatter },
        "VlanStrip, TcpLro" }, { new PortConfig { TxOffloads = TxOffloads.TcpTso }, "transmit offload TcpTso" },
        { new PortConfig { Mtu = 67 }, "MTU 67" },
        { new PortConfig { Mtu = 4001 }, "MTU 4001" },
    };

    [Theory, MemberData(nameof(BadConfigs))]
    public void Configure_MoreThanThePortCan_SaysWhatAndLeavesThePortAsItWas(PortConfig bad, string part)
    {
        _port.Configure(new PortConfig { Mtu = 1000 });
        ConfigException e = Assert.Throws<ConfigException>(() => _port.Configure(bad));
        Assert.Contains(part, e.What);
        Assert.NotNull(e.Fix);
        Assert.Equal(PortState.Configured, _port.State);
        Assert.Equal(1000, _port.Mtu);
    }

    [Theory]
    [InlineData(16)]
    [InlineData(2048)]
    [InlineData(100)]
    public void SetupQueue_DescriptorsTheDriverCannot_AreRefused(int descriptors)
    {
        _port.Configure(new PortConfig());
        ConfigException e = Assert.Throws<ConfigException>(
            () => _port.SetupRxQueue(0, _pool, new RxQueueConfig(descriptors)));
        Assert.Contains("32 to 1024, a power of two", e.Fix);
        Assert.Throws<ConfigException>(() => _port.SetupTxQueue(0, new TxQueueConfig(descriptors)));
        Assert.Equal(64, _port.SetupRxQueue(0, _pool).Config.Descriptors);
        Assert.Equal(256, _port.SetupTxQueue(0, new TxQueueConfig(256)).Config.Descriptors);
    }

    [Fact]
    public void SetupQueue_IndexBeyondTheConfigured_IsRefused()
    {
        _port.Configure(new PortConfig { RxQueues = 2 });
        Assert.Contains("configured with 2", Assert.Throws<ConfigException>(() => _port.SetupRxQueue(2, _pool)).Why);
        Assert.Throws<ConfigException>(() => _port.SetupTxQueue(-1));
    }

    [Fact]
    public void SetupQueue_OffloadOfItsOwn_MustBeOneQueuesMayHave()
    {
        _port.Configure(new PortConfig { RxOffloads = RxOffloads.Scatter });
        RxQueue queue = _port.SetupRxQueue(0, _pool, new RxQueueConfig(Offloads: RxOffloads.KeepCrc));
        Assert.Equal(RxOffloads.KeepCrc | RxOffloads.Scatter, queue.Config.Offloads);
        ConfigException e = Assert.Throws<ConfigException>(
            () => _port.SetupRxQueue(0, _pool, new RxQueueConfig(Offloads: RxOffloads.Timestamp)));
        Assert.Contains("Timestamp", e.What);
    }

    [Fact]
    public void Mtu_FramesLargerThanTheMbufs_NeedScatter()
    {
        _port.Configure(new PortConfig { Mtu = 3000 });
        ConfigException e = Assert.Throws<ConfigException>(() => _port.SetupRxQueue(0, _pool));
        Assert.Contains("RxOffloads.Scatter", e.Fix);
        _port.SetupRxQueue(0, _pool, new RxQueueConfig(Offloads: RxOffloads.Scatter));
        _port.Configure(new PortConfig { Mtu = 1500 });
        _port.SetupRxQueue(0, _pool);
        Assert.Throws<ConfigException>(() => _port.SetMtu(3000));
        Assert.Equal(1500, _port.Mtu);
        _port.SetMtu(2000);
        Assert.Equal(2000, _port.Mtu);
    }

    [Fact]
    public void Queue_NotStarted_MovesNothing()
    {
        _port.Configure(new PortConfig());
        RxQueue rx = _port.SetupRxQueue(0, _pool, new RxQueueConfig(DeferredStart: true));
        TxQueue tx = _port.SetupTxQueue(0);
        var burst = new Mbuf[4];
        Assert.True(_pool.TryAllocBulk(burst));
        Assert.Equal(0, tx.TxBurst(burst));
        _port.Start();
        Assert.Equal(4, tx.TxBurst(burst));
        Assert.Equal(0, rx.RxBurst(burst));
        rx.Start();
        Assert.Equal(4, rx.RxBurst(burst));
        tx.Stop();
        Assert.Equal(0, tx.TxBurst(burst));
        tx.Start();
        Assert.Equal(4, tx.TxBurst(burst));
        _port.Stop();
        Assert.Equal(0, rx.RxBurst(burst));
    }

    [Fact]
    public void Stats_Reset_CountFromZeroAndOutliveTheQueues()
    {
        Loop(3, 50);
        PortStats stats = _port.GetStats();
        Assert.Equal(new PortStats(3, 3, 150, 150, 7, 0, 0, 0), stats);
        Assert.Equal(1ul, _port.RxQueues[0].GetStats().Calls);
        _port.Configure(new PortConfig());
        Assert.Equal(stats, _port.GetStats());
        _port.ResetStats();
        Assert.Equal(default, _port.GetStats());
        Assert.All(_port.GetXstats(), x => Assert.Equal(0ul, x.Value));
        Loop(2, 60);
        Assert.Equal(new PortStats(2, 2, 120, 120, 7, 0, 0, 0), _port.GetStats());
        Dictionary<string, ulong> named = _port.GetXstats().ToDictionary(x => x.Name, x => x.Value);
        Assert.Equal(2ul, named["rx_q0_packets"]);
        Assert.Equal(120ul, named["tx_good_bytes"]);
        Assert.Equal(2ul, named["fake_looped"]);
    }

    [Fact]
    public void Callbacks_InOrder_SeeAndFilterBursts()
    {
        _port.Start(new PortConfig(), _pool);
        var drop = new DropFirst();
        var see = new CountSeen();
        RxQueue rx = _port.RxQueues[0];
        TxQueue tx = _port.TxQueues[0];
        rx.AddCallback(see);
        rx.AddCallback(drop, first: true);
        tx.AddCallback(see.Sent);
        var burst = new Mbuf[8];
        Assert.True(_pool.TryAllocBulk(burst));
        Assert.Equal(8, tx.TxBurst(burst));
        Assert.Equal(7, rx.RxBurst(burst));
        Assert.Equal((7, 8), (see.Seen, see.Sent.Seen));
        Assert.Equal(8ul, _port.GetStats().RxPackets);
        Assert.True(rx.RemoveCallback(drop));
        Assert.False(rx.RemoveCallback(drop));
        Assert.True(rx.RemoveCallback(see));
        Assert.True(tx.RemoveCallback(see.Sent));
        Assert.Equal(7, tx.TxBurst(burst.AsSpan(0, 7)));
        Assert.Equal(7, rx.RxBurst(burst));
        Assert.Equal((7, 8), (see.Seen, see.Sent.Seen));
        Mbuf.FreeBulk(burst.AsSpan(0, 7));
    }

    [Fact]
    public void TxBuffer_FullQueue_DropsAndCounts()
    {
        _port.Start(new PortConfig(), _pool);
        using var buffer = new TxBuffer(_port.TxQueues[0], 48);
        for (int i = 0; i < 97; i++)
        {
            Assert.True(_pool.TryAlloc(out Mbuf packet));
            Assert.Equal(i switch { 47 => 48, 95 => FakePort.Slots - 48, _ => 0 }, buffer.Add(packet));
        }
        Assert.Equal(96ul - FakePort.Slots, buffer.Unsent);
        Assert.Equal(1, buffer.Count);
        Assert.Equal(0, buffer.Flush());
        Assert.Equal(97ul - FakePort.Slots, buffer.Unsent);
        Assert.Equal(0, buffer.Flush());
    }

    [Fact]
    public void Addresses_Change_KeepTheirRules()
    {
        MacAddress own = MacAddress.Local(7), second = MacAddress.Local(8);
        Assert.Throws<ConfigException>(() => _port.SetMacAddress(MacAddress.Broadcast));
        Assert.Throws<ConfigException>(() => _port.SetMacAddress(default));
        _port.SetMacAddress(own);
        Assert.Equal(own, _port.MacAddress);
        _port.AddMacAddress(second);
        _port.AddMacAddress(second);
        Assert.Equal([own, second], _port.MacAddresses);
        Assert.Throws<ConfigException>(() => _port.AddMacAddress(MacAddress.Local(9)));
        Assert.Throws<ConfigException>(() => _port.RemoveMacAddress(own));
        Assert.True(_port.RemoveMacAddress(second));
        Assert.False(_port.RemoveMacAddress(second));
    }

    [Fact]
    public void Feature_TheDriverHasNot_IsRefusedByName()
    {
        DataplaneException e = Assert.Throws<DataplaneException>(() => _port.SetPromiscuous(true));
        Assert.Equal(Errno.EOPNOTSUPP, e.Errno);
        Assert.Contains("net_fake", e.Message);
        Assert.False(_port.Promiscuous);
        _port.SetPromiscuous(false);
    }

    [Fact]
    public void Owner_OfAnother_IsKept()
    {
        _port.SetOwner("a");
        Assert.Contains("'a' owns it", Assert.Throws<DataplaneException>(() => _port.SetOwner("b")).Why);
        Assert.Throws<DataplaneException>(() => _port.UnsetOwner("b"));
        _port.UnsetOwner("a");
        _port.SetOwner("b");
        Assert.Equal("b", _port.Owner);
    }

    [Fact]
    public void Events_Dispose_TellsOfClosing()
    {
        var seen = new List<PortEvent>();
        _port.Events += (_, what) => seen.Add(what);
        _port.Dispose();
        Assert.Equal([PortEvent.Closed], seen);
    }

    [Fact]
    public void WaitForLink_LinkComesUp_Returns()
    {
        Assert.False(_port.WaitForLink(TimeSpan.FromMilliseconds(20)).Up);
        _port.Start(new PortConfig(), _pool);
        Assert.True(_port.WaitForLink(TimeSpan.Zero).Up);
    }

    [Fact]
    public void PortList_DetachAndAttach_ReusesTheId()
    {
        Port second = _ports.Attach("net_null0"), third = _ports.Attach("net_null1");
        Assert.Equal((1, 2), (second.Id, third.Id));
        _ports.Detach(second);
        Assert.Equal(PortState.Closed, second.State);
        Assert.Null(_ports.Find("net_null0"));
        Assert.Equal(1, _ports.Attach("net_null7").Id);
        Assert.Equal(3, _ports.Attach("net_null8").Id);
        Assert.Same(third, _ports.Find(2));
        Assert.Equal([0, 1, 2, 3], _ports.Ports.Select(p => (int)p.Id));
    }

    [Theory]
    [InlineData("net_nothing0", "net_null")]
    [InlineData("net_fake0", "number of its own")]
    public void PortList_BadDevice_IsRefusedWithTheWayOut(string device, string fix) =>
        Assert.Contains(fix, Assert.Throws<ConfigException>(() => _ports.Attach(device)).Fix);

    private void Loop(int packets, int bytes)
    {
        _port.Start(new PortConfig(), _pool);
        var burst = new Mbuf[packets];
        Assert.True(_pool.TryAllocBulk(burst));
        foreach (Mbuf packet in burst)
            Assert.True(packet.Append(bytes) != null);
        Assert.Equal(packets, _port.TxQueues[0].TxBurst(burst));
        Assert.Equal(packets, _port.RxQueues[0].RxBurst(burst));
        Mbuf.FreeBulk(burst);
        _port.Stop();
    }

    private sealed class DropFirst : RxCallback
    {
        public override int OnReceived(RxQueue queue, Span<Mbuf> burst, int received)
        {
            burst[0].Free();
            burst[1..received].CopyTo(burst);
            return received - 1;
        }
    }

    private sealed class CountSeen : RxCallback
    {
        internal int Seen { get; private set; }

        internal CountOffered Sent { get; } = new();

        public override int OnReceived(RxQueue queue, Span<Mbuf> burst, int received)
        {
            Seen += received;
            return received;
        }

        internal sealed class CountOffered : TxCallback
        {
            internal int Seen { get; private set; }

            public override void OnOffered(TxQueue queue, ReadOnlySpan<Mbuf> packets) => Seen += packets.Length;
        }
    }
}
