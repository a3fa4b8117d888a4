using Dataplane.Pmd;

namespace Dataplane.Tests;

public sealed class PmdRingTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
    private readonly PortList _ports;
    private readonly Mempool _pool;
    private readonly Mbuf[] _burst = new Mbuf[8];

    public PmdRingTests()
    {
        _ports = new PortList(_eal, Drivers.All);
        _pool = Mempool.CreateMbufPool(_eal.Memory, "p", 64, cacheSize: 0);
    }

    public void Dispose()
    {
        _ports.Dispose();
        Assert.Equal(64, _pool.AvailableCount);
        _pool.Dispose();
        _eal.Dispose();
    }

    [Fact]
    public void NodeAction_CreateAndAttach_ShareTheRings()
    {
        Port made = _ports.Attach("net_ring0,nodeaction=r0:0:CREATE,queues=2");
        Port attached = _ports.Attach("net_ring1,nodeaction=r0:0:ATTACH");
        Assert.Equal(2, attached.Info.MaxRxQueues);
        made.Start(new PortConfig(), _pool);
        attached.Start(new PortConfig(), _pool);
        Send(made, 8);
        Assert.Equal(8, attached.RxQueues[0].WaitingCount);
        Assert.Equal(8, attached.RxQueues[0].RxBurst(_burst));
        Assert.Equal(attached.Id, _burst[0].Port);
        Mbuf.FreeBulk(_burst);
        Assert.Contains("CREATE", Assert.Throws<ConfigException>(() => _ports.Attach("net_ring2,nodeaction=x:0:ATTACH"))
            .Fix);
    }

    [Fact]
    public void FromRings_StopAndClose_LeaveTheRingsToTheirOwner()
    {
        using Ring<Mbuf> ring = Ring<Mbuf>.Create(_eal.Memory, "mine", 16);
        Port port = RingPmd.FromRings(_eal, _ports, "net_ring5", [ring], [ring]);
        port.Start(new PortConfig(), _pool);
        Send(port, 8);
        _ports.Detach(port);
        Assert.Equal(8, ring.DequeueBurst(_burst));
        Mbuf.FreeBulk(_burst);
        Assert.Throws<ConfigException>(() => RingPmd.FromRings(_eal, _ports, "net_ring6", [], [ring]));
    }

    [Fact]
    public void Peer_Closed_LinkGoesDownAndNothingIsTaken()
    {
        Port first = _ports.Attach("net_ring0"), second = _ports.Attach("net_ring1,peer=net_ring0");
        Assert.Throws<ConfigException>(() => _ports.Attach("net_ring2,peer=net_ring0"));
        _ports.Attach("net_ring3,queues=2");
        ConfigException e = Assert.Throws<ConfigException>(() => _ports.Attach("net_ring4,peer=net_ring3"));
        Assert.Equal("add queues=2 to it", e.Fix);
        first.Start(new PortConfig(), _pool);
        second.Start(new PortConfig(), _pool);
        Send(first, 4);
        bool told = false;
        first.Events += (_, what) => told |= what == PortEvent.LinkChanged;
        _ports.Detach(second);
        Assert.True(told);
        Assert.False(first.GetLink().Up);
        Assert.True(_pool.TryAlloc(out Mbuf packet));
        Assert.Equal(0, first.TxQueues[0].TxBurst([packet]));
        packet.Free();
    }

    private void Send(Port port, int count)
    {
        Assert.True(_pool.TryAllocBulk(_burst.AsSpan(0, count)));
        Assert.Equal(count, port.TxQueues[0].TxBurst(_burst.AsSpan(0, count)));
    }
}
