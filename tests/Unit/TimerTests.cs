using System.Diagnostics;

namespace Dataplane.Tests;

public sealed class TimerTests : IDisposable
{
    private static readonly CpuSet s_cpus = Affinity.Get();
    private readonly Eal _eal =
        Eal.Initialize(new EalOptions { NoHuge = true, Lcores = [new(0, s_cpus), new(1, s_cpus)] });

    public void Dispose() => _eal.Dispose();

    private void OnLcore(Action body, int lcoreId = 0)
    {
        _eal.Launch(lcoreId, _ => { body(); return 0; });
        _eal.Wait(lcoreId);
    }

    private void ManageUntil(Func<bool> done)
    {
        long start = Stopwatch.GetTimestamp();
        while (!done())
        {
            _eal.Timers.Manage();
            Assert.True(Stopwatch.GetElapsedTime(start).TotalSeconds < 60, "timers do not expire");
        }
    }

    [Fact]
    public void Timer_ManyWithRandomDelays_ExpireInOrder() => OnLcore(() =>
    {
        var random = new Random(1);
        var expired = new List<ulong>();
        ulong now = Tsc.Read();
        for (int i = 0; i < 500; i++)
            Assert.True(_eal.Timers.Create(timer => expired.Add(timer.ExpiryTsc)).Start((ulong)random.Next(1,
                100_000)));
        ManageUntil(() => expired.Count == 500);
        Assert.Equal(expired.Order(), expired);
        Assert.True(expired[0] > now);
        Assert.Equal(0, _eal.Timers.Manage());
    });

    [Fact]
    public void Timer_StartedAndStoppedAtRandom_AgreesWithAModel() => OnLcore(() =>
    {
        var random = new Random(2);
        var expired = new HashSet<int>();
        LcoreTimer[] timers = [.. Enumerable.Range(0, 200).Select(i => _eal.Timers.Create(_ => expired.Add(i)))];
        var pending = new HashSet<int>();
        for (int step = 0; step < 20_000; step++)
        {
            int i = random.Next(timers.Length);
            if (random.Next(2) == 0)
            {
                Assert.True(timers[i].Start(Tsc.FromSeconds(0.5) + (ulong)random.Next(1_000_000)));
                pending.Add(i);
            }
            else
            {
                Assert.True(timers[i].Stop());
                pending.Remove(i);
            }
        }
        Assert.Empty(expired);
        Assert.All(pending, i => Assert.Equal(TimerState.Pending, timers[i].State));
        ManageUntil(() => expired.Count == pending.Count);
        Assert.Equal(pending.Order(), expired.Order());
        Assert.All(timers, timer => Assert.Equal(TimerState.Stopped, timer.State));
    });

    [Fact]
    public void Timer_Periodic_ExpiresOncePerPeriodAndStopsItself() => OnLcore(() =>
    {
        var expiries = new List<ulong>();
        LcoreTimer timer = _eal.Timers.Create(timer =>
        {
            expiries.Add(timer.ExpiryTsc);
            if (expiries.Count == 5)
                Assert.True(timer.Stop());
        });
        Assert.True(timer.StartPeriodic(10_000));
        ManageUntil(() => timer.State == TimerState.Stopped);
        Assert.Equal(5, expiries.Count);
        Assert.All(expiries.Zip(expiries.Skip(1)), pair => Assert.Equal(10_000UL, pair.Second - pair.First));
    });

    [Fact]
    public void Timer_StartedForAnotherLcore_RunsThere()
    {
        int ranOn = -1;
        LcoreTimer timer = _eal.Timers.Create(_ => Volatile.Write(ref ranOn, Lcore.CurrentId));
        Assert.True(timer.Start(1, lcoreId: 1));
        OnLcore(() => Assert.Equal(0, _eal.Timers.Manage()), lcoreId: 0);
        OnLcore(() => ManageUntil(() => ranOn >= 0), lcoreId: 1);
        Assert.Equal(1, ranOn);
    }

    [Fact]
    public void Timer_RestartedInItsCallback_IsPendingAgain() => OnLcore(() =>
    {
        int runs = 0;
        LcoreTimer timer = _eal.Timers.Create(timer => Assert.True(++runs == 3 || timer.Start(10)));
        timer.Start(10);
        ManageUntil(() => runs == 3);
        Assert.Equal(TimerState.Stopped, timer.State);
    });

    [Fact]
    public void Timer_RunningElsewhere_CannotBeStoppedOrStarted()
    {
        using var entered = new ManualResetEventSlim();
        using var leave = new ManualResetEventSlim();
        LcoreTimer timer = _eal.Timers.Create(_ => { entered.Set(); leave.Wait(); });
        timer.Start(1, lcoreId: 0);
        _eal.Launch(0, _ => { ManageUntil(() => entered.IsSet); return 0; });
        entered.Wait();
        Assert.Equal(TimerState.Running, timer.State);
        Assert.False(timer.Stop());
        Assert.False(timer.Start(1, lcoreId: 1));
        Assert.Equal(Errno.EBUSY, Assert.Throws<DataplaneException>(timer.Dispose).Errno);
        leave.Set();
        _eal.Wait(0);
        timer.Dispose();
        timer.Dispose();
        Assert.Throws<ObjectDisposedException>(() => timer.Start(1, lcoreId: 0));
    }

    [Fact]
    public void Timer_CallbackThrows_ComesOutOfManageAndTheTimerStops()
    {
        LcoreTimer timer = _eal.Timers.Create(_ => throw new InvalidOperationException("planted"));
        timer.StartPeriodic(1, lcoreId: 0);
        _eal.Launch(0, _ => { ManageUntil(() => false); return 0; });
        Assert.Contains("planted", Assert.Throws<LcoreException>(() => _eal.Wait(0)).Message);
        Assert.Equal(TimerState.Stopped, timer.State);
    }

    [Fact]
    public void Timer_WrongLcoreOrPeriod_IsRefused()
    {
        LcoreTimer timer = _eal.Timers.Create(_ => { });
        Assert.Throws<ConfigException>(() => timer.Start(1));
        Assert.Throws<ConfigException>(() => timer.Start(1, lcoreId: 5));
        Assert.Throws<ConfigException>(() => timer.StartPeriodic(0, lcoreId: 0));
        Assert.Throws<ConfigException>(() => _eal.Timers.Manage());
    }

    [Fact]
    public void Timer_StartExpireAMillionTimes_AllocatesNothing() => OnLcore(() =>
    {
        int runs = 0;
        LcoreTimer timer = _eal.Timers.Create(_ => runs++);
        timer.Start(0);
        _eal.Timers.Manage();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1_000_000; i++)
        {
            timer.Start(0);
            _eal.Timers.Manage();
        }
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        Assert.InRange(runs, 500_000, 1_000_001);
    });

    [Fact]
    public void Timer_ChangedByTwoThreadsWhileItsLcoreRuns_KeepsItsState()
    {
        long runs = 0;
        LcoreTimer[] timers = [.. Enumerable.Range(0, 8).Select(_ => _eal.Timers.Create(_ => runs++))];
        _eal.Launch(0, lcore =>
        {
            while (!lcore.StopRequested)
                _eal.Timers.Manage();
            return 0;
        });
        Parallel.For(0, 2, thread =>
        {
            var random = new Random(thread);
            for (int i = 0; i < 100_000 || (Volatile.Read(ref runs) < 100 && i < 100_000_000); i++)
                if (random.Next(3) == 0)
                    timers[random.Next(8)].Stop();
                else
                    timers[random.Next(8)].Start((ulong)random.Next(2000), lcoreId: 0);
        });
        _eal.StopAll();
        Assert.True(runs >= 100);
        OnLcore(() => ManageUntil(() => timers.All(timer => timer.State == TimerState.Stopped)));
    }

    [Fact]
    public void Alarm_Several_CallBackInOrderOnTheControlThreadAndNotTooSoon()
    {
        var order = new List<(int, string?)>();
        using var done = new CountdownEvent(3);
        long start = Stopwatch.GetTimestamp();
        TimeSpan last = default;
        void Note(int which)
        {
            order.Add((which, Thread.CurrentThread.Name));
            last = Stopwatch.GetElapsedTime(start);
            done.Signal();
        }
        // The farthest first, then the others in order: no delay between these lines changes who is due first.
        Alarm far = _eal.Alarms.Set(TimeSpan.FromHours(1), () => Note(4));
        _eal.Alarms.Set(TimeSpan.FromMicroseconds(500), () => Note(1));
        _eal.Alarms.Set(TimeSpan.FromMilliseconds(30), () => Note(2));
        _eal.Alarms.Set(TimeSpan.FromMilliseconds(60), () => Note(3));
        Assert.True(done.Wait(TimeSpan.FromSeconds(60)));
        Assert.True(far.Cancel());
        Assert.Equal([(1, "dp-alarm"), (2, "dp-alarm"), (3, "dp-alarm")], order);
        Assert.True(last >= TimeSpan.FromMilliseconds(60));
    }

    [Fact]
    public void Alarm_FartherThanTheClockGoes_StaysAndLetsOthersCome()
    {
        using var later = new ManualResetEventSlim();
        Alarm alarm = _eal.Alarms.Set(TimeSpan.MaxValue, () => { });
        _eal.Alarms.Set(TimeSpan.FromMilliseconds(1), later.Set);
        Assert.True(later.Wait(TimeSpan.FromSeconds(60)));
        Assert.True(alarm.Cancel());
    }

    [Fact]
    public void Alarm_Cancelled_DoesNotCallBack()
    {
        using var go = new ManualResetEventSlim();
        using var later = new ManualResetEventSlim();
        bool called = false;
        _eal.Alarms.Set(TimeSpan.Zero, go.Wait);   // holds the control thread, so that the next is due and waits
        Alarm alarm = _eal.Alarms.Set(TimeSpan.FromMilliseconds(1), () => called = true);
        _eal.Alarms.Set(TimeSpan.FromMilliseconds(2), later.Set);
        (bool first, bool second) = (alarm.Cancel(), alarm.Cancel());
        go.Set();
        Assert.Equal((true, false), (first, second));
        Assert.True(later.Wait(TimeSpan.FromSeconds(60)));
        Assert.False(called);
    }

    [Fact]
    public void Alarm_CallbackThrows_TheNextStillComes()
    {
        using var later = new ManualResetEventSlim();
        Exception? refused = null;
        _eal.Alarms.Set(TimeSpan.Zero, () => throw new InvalidOperationException("planted"));
        _eal.Alarms.Set(TimeSpan.FromMilliseconds(1), () => { refused = Record.Exception(_eal.Dispose); later.Set(); });
        Assert.True(later.Wait(TimeSpan.FromSeconds(60)));
        Assert.Equal(Errno.EDEADLK, Assert.IsType<DataplaneException>(refused).Errno);
    }
}
