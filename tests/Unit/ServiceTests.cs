using System.Diagnostics;

namespace Dataplane.Tests;

public sealed class ServiceTests : IDisposable
{
    private static readonly CpuSet s_cpus = Affinity.Get();
    private readonly Eal _eal = Eal.Initialize(new EalOptions
    {
        NoHuge = true,
        Lcores = [new(0, s_cpus), new(1, s_cpus), new(2, s_cpus), new(3, s_cpus)],
        ServiceLcores = [2, 3],
    });

    public void Dispose() => _eal.Dispose();

    private sealed class Body(Func<Lcore, ServiceResult> run) : IService
    {
        public ServiceResult Run(Lcore lcore) => run(lcore);
    }

    private Service Register(string name, Func<Lcore, ServiceResult> run, bool isMtSafe = false, bool ready = true)
    {
        Service service = _eal.Services.Register(name, new Body(run), isMtSafe);
        service.IsReady = ready;
        return service;
    }

    private static void WaitUntil(Func<bool> done)
    {
        long start = Stopwatch.GetTimestamp();
        while (!done())
        {
            Thread.Yield();
            Assert.True(Stopwatch.GetElapsedTime(start).TotalSeconds < 60, "the service lcores do nothing");
        }
    }

    [Fact]
    public void Service_Registered_IsSpreadOverServiceLcoresAndRunsThere()
    {
        int ranOn = 0;
        Service[] services = [.. Enumerable.Range(0, 4).Select(i => Register($"s{i}", lcore =>
        {
            Interlocked.Or(ref ranOn, 1 << lcore.Id);
            return ServiceResult.Worked;
        }))];
        Assert.Equal([true, false, true, false], services.Select(service => _eal.Services.IsMapped(service, 2)));
        Assert.Equal([false, true, false, true], services.Select(service => _eal.Services.IsMapped(service, 3)));
        WaitUntil(() => services.All(service => service.Stats.Calls > 10));
        Assert.Equal(0b1100, ranOn);
        Assert.True(_eal.GetLcore(2).Usage.BusyLoops > 0);
    }

    [Fact]
    public void Service_NotReadyOrNotEnabled_DoesNotRun()
    {
        Service service = Register("s", _ => ServiceResult.Idle, ready: false);
        Assert.False(service.IsRunning);
        service.IsReady = true;
        WaitUntil(() => service.Stats.Calls > 0);
        service.IsEnabled = false;
        Assert.False(service.IsRunning);
        _eal.Launch(1, _ => (int)Services.RunOnce(service));
        Assert.Equal((int)ServiceResult.NotRunning, _eal.Wait(1));
    }

    [Fact]
    public void Service_Stats_CountWhatItSaid()
    {
        int call = 0;
        Service service = Register("s", _ => (ServiceResult)(call++ % 3), ready: false);
        _eal.Services.Map(service, 2, mapped: false);   // before it is ready: lcore 2 must never have called it
        service.IsReady = true;
        _eal.Launch(1, _ =>
        {
            for (int i = 0; i < 300; i++)
                Services.RunOnce(service);
            return 0;
        });
        _eal.Wait(1);
        ServiceStats stats = service.Stats;
        Assert.Equal((300UL, 100UL, 100UL), (stats.Calls, stats.IdleCalls, stats.ErrorCalls));
        Assert.True(stats.Cycles > 0);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Service_OnTwoLcores_IsSerializedUnlessMtSafe(bool isMtSafe)
    {
        int inside = 0, mostInside = 0;
        Service service = Register("s", _ =>
        {
            int now = Interlocked.Increment(ref inside);
            InterlockedMax(ref mostInside, now);
            Thread.Yield();
            Interlocked.Decrement(ref inside);
            return ServiceResult.Worked;
        }, isMtSafe);
        _eal.Services.Map(service, 2);
        _eal.Services.Map(service, 3);
        // The MT-safe one is the planted bug: without the guard the overlap must be seen.
        WaitUntil(() => isMtSafe ? mostInside == 2 : service.Stats.Calls > 2_000);
        Assert.Equal(isMtSafe ? 2 : 1, mostInside);
    }

    private static void InterlockedMax(ref int target, int value)
    {
        for (int seen = target; value > seen; seen = Volatile.Read(ref target))
            Interlocked.CompareExchange(ref target, value, seen);
    }

    [Fact]
    public void RunOnce_RunningElsewhere_IsLocked()
    {
        using var entered = new ManualResetEventSlim();
        using var leave = new ManualResetEventSlim();
        Service service = Register("s", _ => { entered.Set(); leave.Wait(); return ServiceResult.Worked; });
        entered.Wait();
        _eal.Launch(1, _ => (int)Services.RunOnce(service));
        Assert.Equal((int)ServiceResult.Locked, _eal.Wait(1));
        leave.Set();
    }

    [Fact]
    public void Service_Throws_IsDisabledAndTheOthersGoOn()
    {
        Service bad = Register("bad", _ => throw new InvalidOperationException("planted"));
        Service good = Register("good", _ => ServiceResult.Idle);
        _eal.Services.Map(good, 2);
        WaitUntil(() => bad.Stats.ErrorCalls == 1 && good.Stats.Calls > 100);
        Assert.False(bad.IsEnabled);
        Assert.Equal(1UL, bad.Stats.Calls);
    }

    [Fact]
    public void Unregister_WhileRunning_NeverRunsAfterwards()
    {
        for (int i = 0; i < 200; i++)
        {
            bool gone = false, ranWhenGone = false;
            int calls = 0;
            Service service = Register("s", _ =>
            {
                calls++;
                ranWhenGone |= Volatile.Read(ref gone);
                return ServiceResult.Worked;
            });
            WaitUntil(() => Volatile.Read(ref calls) > 0);
            _eal.Services.Unregister(service);
            Volatile.Write(ref gone, true);
            Thread.Yield();
            Assert.False(ranWhenGone);
        }
        Assert.Empty(_eal.Services.All);
    }

    [Fact]
    public void Services_Misuse_IsNamed()
    {
        Service service = Register("s", _ => ServiceResult.Idle);
        Assert.Equal(Errno.EEXIST, Assert.Throws<DataplaneException>(() => Register("s", _ => 0)).Errno);
        Assert.Contains("2-3", Assert.Throws<ConfigException>(() => _eal.Services.Map(service, 1)).Message);
        Assert.Throws<ConfigException>(() => Services.RunOnce(service));
        Assert.Contains("Service", Assert.Throws<ConfigException>(() => _eal.Launch(2, _ => 0)).Message);
        Assert.Throws<ConfigException>(() => _eal.RequestStop(2));
        _eal.Services.Unregister(service);
        Assert.Equal(Errno.ENOENT, Assert.Throws<DataplaneException>(() => _eal.Services.Unregister(service)).Errno);
        Assert.Null(_eal.Services.Find("s"));
    }

    [Fact]
    public void RequestStop_ServicesGoOnUntilDispose()
    {
        Service service = Register("s", _ => ServiceResult.Idle);
        _eal.RequestStop();
        ulong calls = service.Stats.Calls;
        WaitUntil(() => service.Stats.Calls > calls + 10);
        _eal.Dispose();
        calls = service.Stats.Calls;
        Assert.Equal(calls, service.Stats.Calls);
    }
}
