using System.Diagnostics;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Cycles of initialise and dispose give everything back. Alone in the process: they count handles.</summary>
[Collection(HugepageCollection.Name)]
public sealed class LeakTests
{
    private static readonly LcoreAssignment[] s_lcores = [.. Enumerable.Range(0, 2)
        .Select(i => new LcoreAssignment(i, CpuSet.Of(AppProcess.Cpus[i % AppProcess.Cpus.Length])))];

    [Fact]
    public void Eal_1000CyclesOnOrdinaryPages_LeakNothing() =>
        Cycle(1000, new EalOptions { NoHuge = true, NoPci = true, Lcores = s_lcores, Vdevs = ["net_null0"], MemoryMb =
            8 });

    [Fact]
    public void Eal_100CyclesOnHugepages_LeakNothing()
    {
        using var pages = new HugepageReservation(8);
        Cycle(100, new EalOptions { NoPci = true, Lcores = s_lcores, Vdevs = ["net_null0"], MemoryMb = 16 });
        Assert.True(pages.ComesBackTo(8), $"{pages.Free} of 8 pages came back");
    }

    private static void Cycle(int count, EalOptions options)
    {
        for (int i = 0; i < 20; i++)   // what the runtime itself takes at first
            Once(options);
        (int files, int threads, int mappings) = Held();
        var clock = Stopwatch.StartNew();
        for (int i = 0; i < count; i++)
            Once(options);
        double ms = clock.Elapsed.TotalMilliseconds / count;
        int slack = count / 10;   // the runtime's own come and go; one a cycle is a leak
        int filesNow = 0, threadsNow = 0, mappingsNow = 0;
        SpinWait.SpinUntil(() =>
        {
            (filesNow, threadsNow, mappingsNow) = Held();
            return filesNow <= files + slack / 4 && threadsNow <= threads + slack / 4
                && mappingsNow <= mappings + slack;
        }, TimeSpan.FromSeconds(60));
        TestContext.Current.TestOutputHelper?.WriteLine($"{ms:F2} ms a cycle; files {files} -> {filesNow}, "
            + $"threads {threads} -> {threadsNow}, mappings {mappings} -> {mappingsNow}");
        Assert.InRange(filesNow, 0, files + slack / 4);
        Assert.InRange(threadsNow, 0, threads + slack / 4);
        Assert.InRange(mappingsNow, 0, mappings + slack);
    }

    private static void Once(EalOptions options)
    {
        using Eal eal = Eal.Initialize(options);
        using Mempool pool = Mempool.CreateMbufPool(eal.Memory, "cycle", 511, cacheSize: 32);
        using PortList ports = PortList.Probe(eal, Drivers.All);
        Port port = Assert.Single(ports.Ports);
        port.Start(new PortConfig(), pool);
        eal.Launch(0, _ => Move(port));
        eal.Launch(1, _ => 1);
        eal.WaitAll();
        port.Stop();
        Assert.Equal(0, pool.InUseCount);
    }

    private static int Move(Port port)
    {
        var burst = new Mbuf[32];
        int received = port.RxQueues[0].RxBurst(burst);
        return port.TxQueues[0].TxBurst(burst.AsSpan(0, received));
    }

    private static (int Files, int Threads, int Mappings) Held()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return (Directory.GetFiles("/proc/self/fd").Length, Directory.GetDirectories("/proc/self/task").Length,
            File.ReadLines("/proc/self/maps").Count());
    }
}
