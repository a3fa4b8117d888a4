using BenchmarkDotNet.Attributes;

namespace Dataplane.Perf;

/// <summary>
/// Get and put on one lcore, as DPDK's mempool_perf_autotest with a cache of 512 and 128 objects kept; and what a null
/// port does with mbufs. One operation handles Keep objects; divide by it for the figure per object.
/// </summary>
public class MempoolBenchmarks
{
    private const int Keep = 128;
    private readonly nint[] _objects = new nint[Keep];
    private readonly Mbuf[] _mbufs = new Mbuf[Keep];
    private readonly MbufTemplate _template = new(Mbuf.DefaultHeadroom, 0, 64);
    private Eal _eal = null!;
    private Mempool _pool = null!, _mbufPool = null!;

    [Params(1, 8, 32)]
    public int Bulk { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _eal = Eal.Initialize(new EalOptions());
        _pool = Mempool.Create(_eal.Memory, "objects", 32768 + 1023, 2048, cacheSize: 512);
        _mbufPool = Mempool.CreateMbufPool(_eal.Memory, "mbufs", 8191, cacheSize: 512);
        if (Lcore.Current == null)
            _ = _eal.RegisterThread();
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _eal.UnregisterThread();
        _pool.Dispose();
        _mbufPool.Dispose();
        _eal.Dispose();
    }

    [Benchmark]
    public void GetPut()
    {
        for (int i = 0; i < Keep; i += Bulk)
            _ = _pool.TryGetBulk(_objects.AsSpan(i, Bulk));
        for (int i = 0; i < Keep; i += Bulk)
            _pool.PutBulk(_objects.AsSpan(i, Bulk));
    }

    [Benchmark]
    public void AllocFree()
    {
        for (int i = 0; i < Keep; i += Bulk)
        {
            _ = _mbufPool.TryAllocBulk(_mbufs.AsSpan(i, Bulk));
            Mbuf.FreeBulk(_mbufs.AsSpan(i, Bulk));
        }
    }

    [Benchmark]
    public void AllocFromTemplateFree()
    {
        for (int i = 0; i < Keep; i += Bulk)
        {
            _ = _mbufPool.TryAllocBulk(_mbufs.AsSpan(i, Bulk), _template);
            Mbuf.FreeBulk(_mbufs.AsSpan(i, Bulk));
        }
    }

    [Benchmark]
    public void RawAllocFree()
    {
        for (int i = 0; i < Keep; i += Bulk)
        {
            _ = _mbufPool.TryAllocRawBulk(_mbufs.AsSpan(i, Bulk));
            _mbufPool.PutRawBulk(_mbufs.AsSpan(i, Bulk));
        }
    }
}
