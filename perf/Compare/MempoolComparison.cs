using System.Runtime.CompilerServices;

namespace Dataplane.Perf.Compare;

/// <summary>
/// One cell of mempool_perf_autotest, cache 512, 32 at a time, 128 kept: objects got plus objects put, per second.
/// DPDK's side is a C twin, in two forms: the bulk size in a variable, and as a constant that its compiler may
/// unroll by. Ours is one form: the pool takes a span, whose length is a variable.
/// </summary>
internal sealed class MempoolComparison : IComparison
{
    private const int Bulk = 32;
    private const int Keep = 128;
    private readonly Lazy<string?> _twin = new(() => Dpdk.Twin("mempool_perf"));

    public IReadOnlyList<Row> Rows { get; } =
    [
        new("mempool get+put bulk 32, keep 128, cache 512", "objects/s", false, 2, 4),
        new("  the same against a constant bulk size in C", "objects/s", false, 0, 0),
    ];

    public string? Missing => _twin.Value == null ? "gcc, pkg-config and libdpdk-dev" : null;

    public double[] Theirs()
    {
        string text = Dpdk.Program(_twin.Value!, "0", [], ["1"]);
        return [Dpdk.Number(text, "variable ([0-9]+)"), Dpdk.Number(text, "constant ([0-9]+)")];
    }

    public double[] Ours()
    {
        using Eal eal = Comparisons.StartEal();
        using Mempool pool = Mempool.Create(eal.Memory, "compare", 2 * (32768 + 1024) - 1, 2048, cacheSize: 512);
        double rate = 0;
        eal.Launch(0, _ =>
        {
            nint[] objects = new nint[Keep];
            Measure(pool, objects, 0.2);
            rate = Measure(pool, objects, 1);
            return 0;
        });
        eal.Wait(0);
        return [rate, rate];
    }

    private static double Measure(Mempool pool, nint[] objects, double seconds)
    {
        ulong end = (ulong)(seconds * Tsc.Hz), rounds = 0, start = Tsc.Read(), now;
        do
        {
            Rounds(pool, objects, 2000);
            rounds += 2000;
            now = Tsc.Read();
        }
        while (now - start < end);
        return 2.0 * Keep * rounds * Tsc.Hz / (now - start);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Rounds(Mempool pool, Span<nint> objects, int count)
    {
        for (int round = 0; round < count; round++)
        {
            for (int i = 0; i < Keep; i += Bulk)
                if (!pool.TryGetBulk(objects.Slice(i, Bulk)))
                    throw new DataplaneException("the pool ran empty");
            for (int i = 0; i < Keep; i += Bulk)
                pool.PutBulk(objects.Slice(i, Bulk));
        }
    }
}
