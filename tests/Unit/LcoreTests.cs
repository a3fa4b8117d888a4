using System.Diagnostics;

namespace Dataplane.Tests;

public sealed class LcoreTests : IDisposable
{
    // Four lcores wherever this may run, so that one CPU is enough.
    private static readonly CpuSet s_cpus = Affinity.Get();
    private readonly Eal _eal = Eal.Initialize(new EalOptions { Lcores = Four() });

    private static LcoreAssignment[] Four() =>
        [.. Enumerable.Range(0, 4)
            .Select(id => new LcoreAssignment(id, CpuSet.Of(s_cpus.ElementAt(id % s_cpus.Count))))];

    public void Dispose() => _eal.Dispose();

    private struct SpinWorker : ILcoreWorker
    {
        public readonly int Run(Lcore lcore)
        {
            while (!lcore.StopRequested)
            {
            }
            return lcore.Id + 1;
        }
    }

    [Fact]
    public void Lcore_EachOne_RunsOnItsCpuWithItsName()
    {
        var seen = new string[4];
        _eal.LaunchAll(lcore =>
        {
            Assert.Same(lcore, Lcore.Current);
            Assert.Equal(lcore.Id, Lcore.CurrentId);
            seen[lcore.Id] = $"{File.ReadAllText("/proc/thread-self/comm").Trim()} {Affinity.Get()}";
            return 0;
        });
        _eal.WaitAll();
        Assert.Equal([$"dp-main-0 {Four()[0].Cpus}", $"dp-lcore-1 {Four()[1].Cpus}", $"dp-lcore-2 {Four()[2].Cpus}",
            $"dp-lcore-3 {Four()[3].Cpus}"], seen);
    }

    [Fact]
    public void Eal_CallingThread_IsNeitherPinnedNorAnLcore()
    {
        Assert.Equal(s_cpus, Affinity.Get());
        Assert.Null(Lcore.Current);
        Assert.Equal(Lcore.NoId, Lcore.CurrentId);
    }

    [Fact]
    public void Eal_NoLcoresNamed_TakesTheMaskOfTheThread()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        Assert.Equal(s_cpus.Where(cpu => cpu < Lcore.Max), eal.Lcores.Select(lcore => lcore.Id));
        Assert.Equal(s_cpus.First, eal.MainLcore.Id);
    }

    [Fact]
    public void Launch_BusyLcore_IsRefused()
    {
        _eal.Launch(1, default(SpinWorker));
        Assert.Equal(LcoreState.Running, _eal.GetLcore(1).State);
        DataplaneException busy = Assert.Throws<DataplaneException>(() => _eal.Launch(1, _ => 0));
        Assert.Equal(Errno.EBUSY, busy.Errno);
        Assert.Equal(Errno.EBUSY, Assert.Throws<DataplaneException>(() => _eal.LaunchAll(_ => 0)).Errno);
        Assert.Equal(LcoreState.Wait, _eal.GetLcore(2).State);
        _eal.RequestStop(1);
        Assert.Equal(2, _eal.Wait(1));
        _eal.Launch(1, _ => 7);
        Assert.Equal(7, _eal.Wait(1));
    }

    [Fact]
    public void Launch_UnknownLcore_ListsThoseThereAre() =>
        Assert.Contains("0-3", Assert.Throws<ConfigException>(() => _eal.Launch(9, _ => 0)).Message);

    [Fact]
    public void Wait_WorkerThatThrew_SaysWhichAndOthersGoOn()
    {
        _eal.Launch(2, default(SpinWorker));
        _eal.Launch(3, _ => throw new InvalidOperationException("planted"));
        LcoreException failure = Assert.Throws<LcoreException>(() => _eal.Wait(3));
        Assert.Equal(3, failure.LcoreId);
        Assert.Equal("planted", failure.InnerException!.Message);
        Assert.Equal(LcoreState.Running, _eal.GetLcore(2).State);
        _eal.RequestStop(2);
        Assert.Throws<LcoreException>(_eal.WaitAll);
        _eal.Launch(3, _ => 5);
        Assert.Equal(5, _eal.Wait(3));
    }

    [Fact]
    public void WaitAll_TwoWorkersThrew_CarriesBoth()
    {
        _eal.LaunchAll(lcore => lcore.Id < 2 ? 0 : throw new InvalidOperationException());
        AggregateException all = Assert.Throws<AggregateException>(_eal.WaitAll);
        Assert.Equal([2, 3], all.InnerExceptions.Cast<LcoreException>().Select(e => e.LcoreId));
    }

    [Fact]
    public void LaunchAll_SkipMain_LeavesMainAlone()
    {
        _eal.LaunchAll(default(SpinWorker), CallMain.Skip);
        Assert.Equal(LcoreState.Wait, _eal.MainLcore.State);
        Assert.False(_eal.WaitAll(TimeSpan.FromMilliseconds(20)));
        _eal.StopAll();
        Assert.Equal([2, 3, 4], _eal.Workers.Select(lcore => _eal.Wait(lcore.Id)));
    }

    [Fact]
    public void RequestStop_Running_EndsAllAndStaysInForce()
    {
        _eal.LaunchAll(default(SpinWorker));
        long start = Stopwatch.GetTimestamp();
        _eal.RequestStop();
        _eal.WaitAll();
        Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(20));
        Assert.True(_eal.StopToken.IsCancellationRequested);
        _eal.Launch(1, default(SpinWorker));
        _eal.Wait(1);
    }

    [Fact]
    public void Wait_OnTheLcoreItself_IsRefused()
    {
        _eal.Launch(1, _ => _eal.Wait(1));
        LcoreException refused = Assert.Throws<LcoreException>(() => _eal.Wait(1));
        Assert.Equal(Errno.EDEADLK, Assert.IsType<DataplaneException>(refused.InnerException).Errno);
    }

    [Fact]
    public void Dispose_OnAnLcore_IsRefused()
    {
        _eal.Launch(1, _ => { _eal.Dispose(); return 0; });
        LcoreException refused = Assert.Throws<LcoreException>(() => _eal.Wait(1));
        Assert.Equal(Errno.EDEADLK, Assert.IsType<DataplaneException>(refused.InnerException).Errno);
    }

    [Fact]
    public void Dispose_WorkersRunning_StopsThemAndIsIdempotent()
    {
        _eal.LaunchAll(default(SpinWorker));
        _eal.Dispose();
        _eal.Dispose();
        _eal.RequestStop();
        Assert.Throws<ObjectDisposedException>(() => _eal.Launch(1, _ => 0));
    }

    [Fact]
    public void Collect_AllLcoresSpinning_ReturnsFast()
    {
        _eal.LaunchAll(default(SpinWorker));
        GC.Collect(0);
        var took = new TimeSpan[21];
        for (int i = 0; i < took.Length; i++)
        {
            long start = Stopwatch.GetTimestamp();
            GC.Collect(0);
            took[i] = Stopwatch.GetElapsedTime(start);
        }
        _eal.StopAll();
        Array.Sort(took);
        // Spinners that cannot be stopped make all of them slow; a machine that is busy makes some.
        Assert.True(took[5] < TimeSpan.FromMilliseconds(100),
            $"three quarters of the collections took {took[5].TotalMilliseconds} ms and more");
    }

    [Fact]
    public void StopRequested_Loop_AllocatesNothing()
    {
        _eal.Launch(1, lcore =>
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 1_000_000 && !lcore.StopRequested; i++)
                lcore.CountBusy(3);
            return (int)(GC.GetAllocatedBytesForCurrentThread() - before);
        });
        Assert.Equal(0, _eal.Wait(1));
        Assert.Equal(new LcoreUsage(3_000_000, 0, 1_000_000, 0), _eal.GetLcore(1).Usage);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Usage_BusyLoopsAmongIdleOnes_AreBookedAsBusy(int together)
    {
        Lcore lcore = _eal.GetLcore(1);
        var meter = new CycleMeter(lcore);
        for (int loop = 0; loop < 4000; loop++)
        {
            bool busy = loop % 10 < together;
            if (busy)
                for (ulong start = Tsc.Read(); Tsc.Read() - start < 20_000;)
                    Thread.SpinWait(1);
            meter.Count(busy);
        }
        LcoreUsage usage = lcore.Usage;
        Assert.Equal(4000ul, usage.Loops);
        Assert.InRange(usage.BusyCycles, 4000ul / 10 * (uint)together * 20_000, ulong.MaxValue);
        Assert.InRange(usage.BusyPercent, 50, 100);
    }

    [Fact]
    public void Initialize_CpuThatIsNotThere_TakesNothing()
    {
        Assert.Throws<ConfigException>(() => Eal.Initialize(new EalOptions
        {
            Lcores = [new(75, CpuSet.Of(s_cpus.First)), new(76, CpuSet.Of(CpuSet.MaxCpus - 1))],
        }));
        AssertNoThread("dp-main-75", "dp-lcore-76");
    }

    [Fact]
    public void Initialize_AHundredTimes_LeavesNoThread()
    {
        for (int i = 0; i < 100; i++)
            using (Eal eal = Eal.Initialize(new EalOptions { Lcores = [new(77, s_cpus), new(78, s_cpus)] }))
                eal.LaunchAll(_ => 0);
        AssertNoThread("dp-main-77", "dp-lcore-78");
    }

    // A thread that was joined is in /proc until the kernel is done with it, and others end while we look.
    private static void AssertNoThread(params string[] names)
    {
        bool there()
        {
            foreach (string task in Directory.GetDirectories("/proc/self/task"))
            {
                try
                {
                    if (names.Contains(File.ReadAllText(Path.Combine(task, "comm")).Trim()))
                        return true;
                }
                catch (IOException)
                {
                }
            }
            return false;
        }
        Assert.True(SpinWait.SpinUntil(() => !there(), TimeSpan.FromSeconds(30)), "threads were left behind");
    }

    [Fact]
    public void RequestStop_ApplicationsCallbackThrows_StopsAllTheSame()
    {
        _eal.StopToken.Register(() => throw new InvalidOperationException("planted"));
        _eal.LaunchAll(new SpinWorker());
        _eal.RequestStop();
        Assert.True(_eal.WaitAll(TimeSpan.FromSeconds(60)));
    }

    [Fact]
    public void Dispose_CallingThreadRegistered_IsNoLcoreAfterwards()
    {
        Eal eal = Eal.Initialize(new EalOptions { NoHuge = true, MemoryMb = 4, Lcores = Four() });
        eal.RegisterThread();
        eal.Dispose();
        Assert.Equal(Lcore.NoId, Lcore.CurrentId);
        Assert.Null(Lcore.Current);
    }
}
