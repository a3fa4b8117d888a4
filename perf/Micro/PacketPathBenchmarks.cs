using BenchmarkDotNet.Attributes;
using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Perf;

/// <summary>
/// A packet's way, step by step: each benchmark does what the one before does and one thing more. One operation is a
/// burst of 32; the differences are the figures of docs/architecture.md.
/// </summary>
public class PacketPathBenchmarks
{
    private const int Burst = 32;
    private readonly Mbuf[] _burst = new Mbuf[Burst];
    private readonly MbufTemplate _template = new(Mbuf.DefaultHeadroom, 0, 64);
    private Eal _eal = null!;
    private PortList _ports = null!;
    private Mempool _pool = null!;
    private RxQueue _rx = null!;
    private TxQueue _tx = null!, _fastTx = null!;

    [GlobalSetup]
    public void Setup()
    {
        _eal = Eal.Initialize(new EalOptions { Vdevs = ["net_null0", "net_null1", "net_null2"] });
        _ports = PortList.Probe(_eal, Drivers.All);
        _pool = Mempool.CreateMbufPool(_eal.Memory, "path", 8191, cacheSize: 250);
        for (int i = 0; i < 3; i++)
        {
            Port port = _ports.Ports[i];
            port.Configure(new PortConfig { TxOffloads = i == 2 ? TxOffloads.FastFree : TxOffloads.None });
            port.SetupRxQueue(0, _pool);
            port.SetupTxQueue(0);
            port.Start();
        }
        (_rx, _tx, _fastTx) = (_ports.Ports[0].RxQueues[0], _ports.Ports[1].TxQueues[0], _ports.Ports[2].TxQueues[0]);
        _ = _eal.RegisterThread();
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _eal.UnregisterThread();
        _ports.Dispose();
        _pool.Dispose();
        _eal.Dispose();
    }

    [Benchmark]
    public void S1_CacheGetAndPut()
    {
        _ = _pool.TryAllocRawBulk(_burst);
        _pool.PutRawBulk(_burst);
    }

    [Benchmark]
    public void S2_AndHeaderReset()
    {
        _ = _pool.TryAllocBulk(_burst, in _template);
        _pool.PutRawBulk(_burst);
    }

    [Benchmark]
    public void S3_AndRxBurst()
    {
        int received = _rx.RxBurst(_burst);
        _pool.PutRawBulk(_burst.AsSpan(0, received));
    }

    [Benchmark]
    public void S4_AndTxBurstFastFree()
    {
        int received = _rx.RxBurst(_burst);
        _ = _fastTx.TxBurst(_burst.AsSpan(0, received));
    }

    [Benchmark]
    public void S5_AndFreeWithAllChecks()
    {
        int received = _rx.RxBurst(_burst);
        _ = _tx.TxBurst(_burst.AsSpan(0, received));
    }

    [Benchmark]
    public void S6_AndMacSwap()
    {
        int received = _rx.RxBurst(_burst);
        foreach (Mbuf packet in _burst.AsSpan(0, received))
            packet.Data.HeaderAt<EtherHeader>().SwapAddresses();
        _ = _tx.TxBurst(_burst.AsSpan(0, received));
    }
}
