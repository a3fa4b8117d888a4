using Dataplane.Pmd;

namespace Dataplane.Tests;

public sealed unsafe class PmdNullTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
    private readonly PortList _ports;
    private readonly Mempool _pool, _other;
    private readonly Mbuf[] _burst = new Mbuf[32];

    public PmdNullTests()
    {
        _ports = new PortList(_eal, Drivers.All);
        _pool = Mempool.CreateMbufPool(_eal.Memory, "p", 64, cacheSize: 0);
        _other = Mempool.CreateMbufPool(_eal.Memory, "q", 64, cacheSize: 0, dataRoomBytes: 256);
    }

    public void Dispose()
    {
        _ports.Dispose();
        Assert.Equal((64, 64), (_pool.AvailableCount, _other.AvailableCount));
        _other.Dispose();
        _pool.Dispose();
        _eal.Dispose();
    }

    [Fact]
    public void Receive_Arguments_SetLengthPortAndSilence()
    {
        _ports.Attach("net_null0");
        Port sized = Start("net_null1,size=200"), silent = Start("net_null2,no-rx=1"),
            copying = Start("net_null3,copy=1");
        Assert.Equal(32, sized.RxQueues[0].RxBurst(_burst));
        foreach (Mbuf packet in _burst)
        {
            Assert.Equal((200, 200, 1), (packet.DataLength, packet.PacketLength, packet.Port));
            packet.Data.Fill(0xff);
        }
        Assert.Equal(32, sized.TxQueues[0].TxBurst(_burst));
        Assert.Equal(0, silent.RxQueues[0].RxBurst(_burst));
        Assert.Equal(32, copying.RxQueues[0].RxBurst(_burst));
        Assert.All(_burst, packet => Assert.Equal(new byte[64], packet.Data.ToArray()));
        Assert.Equal(32, copying.TxQueues[0].TxBurst(_burst));
    }

    [Fact]
    public void Transmit_MixedBurst_CountsBytesAndFreesEverything()
    {
        Port port = Start("net_null0");
        Assert.True(_pool.TryAllocBulk(_burst.AsSpan(0, 8)));
        Assert.True(_other.TryAllocBulk(_burst.AsSpan(8, 4)));
        foreach (Mbuf packet in _burst.AsSpan(0, 12))
            packet.Append(100);
        Assert.True(_burst[0].TryChain(_burst[11]));
        Assert.True(_burst[1].TryClone(_pool, out _burst[11]));
        Assert.Equal(12, port.TxQueues[0].TxBurst(_burst.AsSpan(0, 12)));
        Assert.Equal(1300ul, port.GetStats().TxBytes);
        Assert.Equal(0, port.TxQueues[0].TxBurst([]));
    }

    [Fact]
    public void Transmit_FastFree_CountsBytesAndFreesEverything()
    {
        Port port = _ports.Attach("net_null0,size=300");
        port.Start(new PortConfig { TxOffloads = TxOffloads.FastFree }, _pool);
        Assert.Equal(32, port.RxQueues[0].RxBurst(_burst));
        Assert.Equal(32, port.TxQueues[0].TxBurst(_burst));
        Assert.Equal(0, port.TxQueues[0].TxBurst([]));
        Assert.Equal(9600ul, port.GetStats().TxBytes);
    }

    [Fact]
    public void SetupRxQueue_FramesLargerThanTheMbufs_AreRefused()
    {
        Port port = _ports.Attach("net_null0,size=129");
        port.Configure(new PortConfig());
        Assert.Contains("257", Assert.Throws<ConfigException>(() => port.SetupRxQueue(0, _other)).Fix);
    }

    private Port Start(string device)
    {
        Port port = _ports.Attach(device);
        port.Start(new PortConfig(), _pool);
        return port;
    }
}
