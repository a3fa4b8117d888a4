using System.Runtime.CompilerServices;

namespace Dataplane.Perf.Compare;

/// <summary>stack_perf_autotest and stack_lf_perf_autotest: one core, push and pop of 32; cycles per object for
/// both.</summary>
internal sealed class StackComparison : IComparison
{
    private const int Bulk = 32;
    private const int Iterations = 8_000_000 / Bulk;

    public IReadOnlyList<Row> Rows { get; } =
    [
        new("stack push+pop bulk 32", "cycles/object", true, 1.2, 2),
        new("lock-free stack push+pop bulk 32", "cycles/object", true, 1.2, 2),
    ];

    public string? Missing => Dpdk.Find("dpdk-test") == null ? "dpdk-test (Debian's package dpdk-dev)" : null;

    public double[] Theirs() => [Theirs("stack_perf_autotest"), Theirs("stack_lf_perf_autotest")];

    public double[] Ours()
    {
        using Eal eal = Comparisons.StartEal();
        using LockedStack<nuint> locked = LockedStack<nuint>.Create(eal.Memory, "cmp_std", 4096);
        using LockFreeStack<nuint> free = LockFreeStack<nuint>.Create(eal.Memory, "cmp_lf", 4096);
        double standard = 0, lockFree = 0;
        eal.Launch(0, _ =>
        {
            Pairs(locked, Comparisons.Aligned<nuint>(eal, Bulk), Iterations / 10);
            standard = Pairs(locked, Comparisons.Aligned<nuint>(eal, Bulk), Iterations);
            Pairs(free, Comparisons.Aligned<nuint>(eal, Bulk), Iterations / 10);
            lockFree = Pairs(free, Comparisons.Aligned<nuint>(eal, Bulk), Iterations);
            return 0;
        });
        eal.Wait(0);
        return [standard, lockFree];
    }

    private static double Theirs(string test) =>
        Dpdk.Number(Dpdk.Test(test, "0").Split("single lcore")[1], $@"bulk size: {Bulk}\): ([0-9.]+)");

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static double Pairs(LockedStack<nuint> stack, Span<nuint> objects, int iterations)
    {
        ulong start = Tsc.Read();
        for (int i = 0; i < iterations; i++)
        {
            stack.TryPushBulk(objects);
            stack.TryPopBulk(objects);
        }
        return (double)(Tsc.Read() - start) / ((double)iterations * Bulk);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static double Pairs(LockFreeStack<nuint> stack, Span<nuint> objects, int iterations)
    {
        ulong start = Tsc.Read();
        for (int i = 0; i < iterations; i++)
        {
            stack.TryPushBulk(objects);
            stack.TryPopBulk(objects);
        }
        return (double)(Tsc.Read() - start) / ((double)iterations * Bulk);
    }
}
