using BenchmarkDotNet.Attributes;
using Dataplane.Pmd;
using Dataplane.Tests;

namespace Dataplane.Perf;

/// <summary>
/// What a port of Intel's gigabit NICs costs by itself, its device being memory that is ready before it is asked. One
/// operation is a burst of 32; what the device does is counted in.
/// </summary>
public unsafe class IntelBenchmarks
{
    private const int Burst = 32, Ring = 512;
    private readonly Mbuf[] _burst = new Mbuf[Burst];
    private Eal _eal = null!;
    private Mempool _pool = null!;
    private NicPort<IgbRxFormat, IgbTxFormat> _port = null!;
    private RxQueue _rx = null!;
    private TxQueue _tx = null!;
    private ulong* _rxRing, _txRing;
    private uint _rxHead, _txHead;

    [Params(false, true)]
    public bool Vectors { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        IntelRing.UseVectors = Vectors;
        _eal = Eal.Initialize(new EalOptions { NoPci = true });
        _pool = Mempool.CreateMbufPool(_eal.Memory, "nic", 8191, cacheSize: 250);
        _port = new NicPort<IgbRxFormat, IgbTxFormat>(new PortContext(_eal, DevArgs.Parse("net_nic0"), 0));
        _port.Start(new PortConfig { TxOffloads = TxOffloads.FastFree }, _pool, Ring);
        (_rx, _tx) = (_port.RxQueues[0], _port.TxQueues[0]);
        _rxRing = (ulong*)_port.Rx.RingIova;
        _txRing = (ulong*)_port.Tx.RingIova;
        _ = _eal.RegisterThread();
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _eal.UnregisterThread();
        _port.Dispose();
        _pool.Dispose();
        _eal.Dispose();
    }

    [Benchmark]
    public int ForwardBurst()
    {
        Deliver();
        int received = _rx.RxBurst(_burst);
        int sent = _tx.TxBurst(_burst.AsSpan(0, received));
        Report();
        return sent;
    }

    [Benchmark]
    public int ReceiveBurst()
    {
        Deliver();
        int received = _rx.RxBurst(_burst);
        _pool.PutRawBulk(_burst.AsSpan(0, received));
        return received;
    }

    [Benchmark]
    public int TransmitBurst()
    {
        _ = _pool.TryAllocRawBulk(_burst);
        foreach (Mbuf packet in _burst)
            (packet.Header->OlFlags, packet.Header->PktLen, packet.Header->DataLen) = (0, 60, 60);
        int sent = _tx.TxBurst(_burst);
        Report();
        return sent;
    }

    /// <summary>32 frames of 60 bytes, TCP over IPv4, checked and hashed.</summary>
    private void Deliver()
    {
        for (int i = 0; i < Burst; i++, _rxHead = (_rxHead + 1) % Ring)
        {
            _rxRing[2 * _rxHead] = 0x1234_5678ul << 32 | 0x111;
            _rxRing[2 * _rxHead + 1] = 60ul << 32 | 0x63;
        }
    }

    /// <summary>All that was to be sent is: only the last descriptor of a burst says so.</summary>
    private void Report()
    {
        _txHead = (_txHead + Burst) % Ring;
        ((uint*)_txRing)[4 * ((_txHead + Ring - 1) % Ring) + 3] = 1;
    }
}
