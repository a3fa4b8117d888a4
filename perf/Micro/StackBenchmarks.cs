using BenchmarkDotNet.Attributes;

namespace Dataplane.Perf;

/// <summary>
/// Push and pop on one core, as DPDK's stack_perf_autotest and stack_lf_perf_autotest. One operation is the pair for
/// all elements; divide by Bulk for the figure per element.
/// </summary>
public class StackBenchmarks
{
    private Eal _eal = null!;
    private LockFreeStack<ulong> _lockFree = null!;
    private LockedStack<ulong> _locked = null!;
    private ulong[] _items = null!;

    [Params(1, 8, 32)]
    public int Bulk { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _eal = Eal.Initialize(new EalOptions());
        _lockFree = LockFreeStack<ulong>.Create(_eal.Memory, "free", 128 * 32);
        _locked = LockedStack<ulong>.Create(_eal.Memory, "locked", 128 * 32);
        _items = new ulong[Bulk];
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _lockFree.Dispose();
        _locked.Dispose();
        _eal.Dispose();
    }

    [Benchmark]
    public bool LockFreePair() => _lockFree.TryPushBulk(_items) && _lockFree.TryPopBulk(_items);

    [Benchmark]
    public bool LockedPair() => _locked.TryPushBulk(_items) && _locked.TryPopBulk(_items);
}
