using BenchmarkDotNet.Attributes;

namespace Dataplane.Perf;

/// <summary>
/// Enqueue and dequeue on one core, 8-byte elements, ring of 4096: what DPDK's ring_perf_autotest calls "bulk". One
/// operation is the pair for all elements; divide by Bulk for the figure per element.
/// </summary>
public class RingBenchmarks
{
    private Eal _eal = null!;
    private Ring<ulong> _ring = null!;
    private ulong[] _items = null!;

    [Params(1, 8, 32, 128)]
    public int Bulk { get; set; }

    [Params(RingSync.SingleThread, RingSync.MultiThread, RingSync.RelaxedTail, RingSync.HeadTail)]
    public RingSync Sync { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _eal = Eal.Initialize(new EalOptions());
        _ring = Ring<ulong>.Create(_eal.Memory, "bench", 4096, Memory.AnyNode, Sync, Sync);
        _items = new ulong[Bulk];
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _ring.Dispose();
        _eal.Dispose();
    }

    [Benchmark]
    public bool BulkPair() => _ring.TryEnqueueBulk(_items) && _ring.TryDequeueBulk(_items);

    [Benchmark]
    public int BurstPair() => _ring.EnqueueBurst(_items) + _ring.DequeueBurst(_items);

    [Benchmark]
    public bool EmptyDequeue() => _ring.TryDequeueBulk(_items);
}
