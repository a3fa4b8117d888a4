using System.Runtime.CompilerServices;

namespace Dataplane.Perf.Compare;

/// <summary>
/// ring_perf_autotest: a ring of 4,096 pointers, bulks of 8 and 32. One core: cycles for an enqueue and a dequeue of a
/// bulk. Two cores: cycles per element, the two sides added up.
/// </summary>
internal sealed class RingComparison : IComparison
{
    private const int RingSlots = 4096;
    private static readonly int[] s_bulks = [8, 32];

    public IReadOnlyList<Row> Rows { get; } =
    [
        new("ring SP/SC bulk 8, one core", "cycles", true, 1.5, 3),
        new("ring SP/SC bulk 32, one core", "cycles", true, 1.5, 3),
        new("ring MP/MC bulk 8, one core", "cycles", true, 1.5, 3),
        new("ring MP/MC bulk 32, one core", "cycles", true, 1.5, 3),
        new("ring SP/SC bulk 32, two cores", "cycles/element", true, 1.2, 2),
        new("ring MP/MC bulk 32, two cores", "cycles/element", true, 1.2, 2),
    ];

    public string? Missing => Dpdk.Find("dpdk-test") == null ? "dpdk-test (Debian's package dpdk-dev)" : null;

    public double[] Theirs()
    {
        string text = Dpdk.Test("ring_perf_autotest", "0,1");
        // The first table is of pointers ("legacy APIs"); in it each line comes once for one core and once for two.
        text = text[..text.IndexOf("elem APIs", StringComparison.Ordinal)];
        int bulk = text.IndexOf("Testing bulk enq/deq", StringComparison.Ordinal);
        int empty = text.IndexOf("Testing empty", StringComparison.Ordinal);
        int two = text.IndexOf("two physical cores", StringComparison.Ordinal);
        return [.. Picks(text[bulk..empty], s_bulks, "SP/SC"), .. Picks(text[bulk..empty], s_bulks, "MP/MC"),
            .. Picks(text[two..], [32], "SP/SC"), .. Picks(text[two..], [32], "MP/MC")];
    }

    public double[] Ours()
    {
        using Eal eal = Comparisons.StartEal();
        using Ring<nuint> spsc = Ring<nuint>.Create(eal.Memory, "cmp_sp", RingSlots, Memory.AnyNode,
            RingSync.SingleThread, RingSync.SingleThread);
        using Ring<nuint> mpmc = Ring<nuint>.Create(eal.Memory, "cmp_mp", RingSlots);
        return
        [
            OneCore<SingleSide>(eal, spsc, 8), OneCore<SingleSide>(eal, spsc, 32), OneCore<MultiSide>(eal, mpmc, 8),
            OneCore<MultiSide>(eal, mpmc, 32), TwoCores<SingleSide>(eal, spsc, 32), TwoCores<MultiSide>(eal, mpmc, 32),
        ];
    }

    private static IEnumerable<double> Picks(string text, int[] bulks, string mode) =>
        bulks.Select(bulk => Dpdk.Number(text, $@"{mode}: bulk \(size: {bulk}\): ([0-9.]+)"));

    private static double OneCore<TSide>(Eal eal, Ring<nuint> ring, int bulk) where TSide : struct, ISide
    {
        double cycles = 0;
        eal.Launch(0, _ =>
        {
            Span<nuint> items = Comparisons.Aligned<nuint>(eal, bulk);
            const int iterations = 1 << 23;
            ulong start = Tsc.Read();
            Pairs<TSide>(ring, items, iterations);
            cycles = (double)(Tsc.Read() - start) / iterations;
            return 0;
        });
        eal.Wait(0);
        return cycles;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Pairs<TSide>(Ring<nuint> ring, Span<nuint> items, int iterations) where TSide : struct, ISide
    {
        for (int i = 0; i < iterations; i++)
        {
            TSide.Enqueue(ring, items);
            TSide.Dequeue(ring, items);
        }
    }

    private static double TwoCores<TSide>(Eal eal, Ring<nuint> ring, int bulk) where TSide : struct, ISide
    {
        const int iterations = 1 << 20;
        double enqueue = 0, dequeue = 0;
        int ready = 0;
        eal.Launch(0, _ =>
        {
            Meet(ref ready);
            enqueue = EnqueueAll<TSide>(ring, Comparisons.Aligned<nuint>(eal, bulk), iterations);
            return 0;
        });
        eal.Launch(1, _ =>
        {
            Meet(ref ready);
            dequeue = DequeueAll<TSide>(ring, Comparisons.Aligned<nuint>(eal, bulk), iterations);
            return 0;
        });
        eal.Wait(0);
        eal.Wait(1);
        return (enqueue + dequeue) / bulk;
    }

    private static void Meet(ref int ready)
    {
        Interlocked.Increment(ref ready);
        while (Volatile.Read(ref ready) < 2)
            Thread.SpinWait(1);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static double EnqueueAll<TSide>(Ring<nuint> ring, Span<nuint> items, int iterations) where TSide : struct,
        ISide
    {
        ulong start = Tsc.Read();
        for (int i = 0; i < iterations; i++)
            while (!TSide.Enqueue(ring, items))
                Pause();
        return (double)(Tsc.Read() - start) / iterations;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static double DequeueAll<TSide>(Ring<nuint> ring, Span<nuint> items, int iterations) where TSide : struct,
        ISide
    {
        ulong start = Tsc.Read();
        for (int i = 0; i < iterations; i++)
            while (!TSide.Dequeue(ring, items))
                Pause();
        return (double)(Tsc.Read() - start) / iterations;
    }

    // rte_pause, as the peer's loop has it.
    private static void Pause() => System.Runtime.Intrinsics.X86.X86Base.Pause();

    private interface ISide
    {
        static abstract bool Enqueue(Ring<nuint> ring, ReadOnlySpan<nuint> items);

        static abstract bool Dequeue(Ring<nuint> ring, Span<nuint> items);
    }

    private readonly struct SingleSide : ISide
    {
        public static bool Enqueue(Ring<nuint> ring, ReadOnlySpan<nuint> items) => ring.TryEnqueueBulkSp(items);

        public static bool Dequeue(Ring<nuint> ring, Span<nuint> items) => ring.TryDequeueBulkSc(items);
    }

    private readonly struct MultiSide : ISide
    {
        public static bool Enqueue(Ring<nuint> ring, ReadOnlySpan<nuint> items) => ring.TryEnqueueBulkMp(items);

        public static bool Dequeue(Ring<nuint> ring, Span<nuint> items) => ring.TryDequeueBulkMc(items);
    }
}
