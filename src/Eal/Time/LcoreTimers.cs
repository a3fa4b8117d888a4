using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// Timers that expire on lcores: each lcore calls <see cref="Manage"/> in its loop and runs there what is due. Making
/// one
/// reserves its place on every lcore, so that starting, stopping and expiring allocate nothing.
/// </summary>
public sealed class LcoreTimers
{
    private readonly TimerHeap?[] _heaps = new TimerHeap?[Lcore.Max];
    private readonly Lock _lock = new();
    private int _timerCount;

    internal LcoreTimers() { }

    /// <summary>Makes a stopped timer. Any thread; control path.</summary>
    /// <param name="callback">Runs on the lcore; must be short, and may start or stop this and other timers.</param>
    public LcoreTimer Create(Action<LcoreTimer> callback)
    {
        lock (_lock)
        {
            _timerCount++;
            foreach (TimerHeap? heap in _heaps)
                heap?.Reserve(_timerCount);
        }
        return new(this, callback);
    }

    /// <summary>
    /// Runs the callbacks of the timers that are due on the calling lcore. One load and one <see cref="Tsc.Read"/> when
    /// none
    /// is. Data path; what a callback throws comes out, its timer stopped.
    /// </summary>
    /// <returns>Callbacks run.</returns>
    /// <exception cref="ConfigException">The calling thread is no lcore. One of another environment must not
    /// call.</exception>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Manage()
    {
        TimerHeap heap = HeapOf(Lcore.CurrentId);
        ulong now = Tsc.Read();
        return heap.Earliest > now ? 0 : RunDue(heap, now);
    }

    internal TimerHeap HeapOf(int lcoreId)
    {
        if ((uint)lcoreId < Lcore.Max && _heaps[lcoreId] is { } heap)
            return heap;
        throw new ConfigException(lcoreId == Lcore.NoId ? "this thread is no lcore" : $"there is no lcore {lcoreId}",
            fix: "name an lcore, or make this thread one: eal.RegisterThread()");
    }

    internal void Add(int lcoreId)
    {
        lock (_lock)
        {
            _heaps[lcoreId] ??= new TimerHeap(lcoreId);   // kept when a registered thread leaves: timers may be pending
            _heaps[lcoreId]!.Reserve(_timerCount);
        }
    }

    internal void Release()
    {
        lock (_lock)
            _timerCount--;
    }

    /// <summary>
    /// Whether the calling thread is inside the timer's callback; that then no longer counts as running it.
    /// </summary>
    internal bool TryLeaveCallback(LcoreTimer timer)
    {
        if ((uint)Lcore.CurrentId >= Lcore.Max || _heaps[Lcore.CurrentId] is not { } heap || heap.Running != timer)
            return false;
        heap.Running = null;
        return true;
    }

    private static int RunDue(TimerHeap heap, ulong now)
    {
        int run = 0;
        for (; heap.TryTakeDue(now) is { } timer; run++)
        {
            heap.Running = timer;
            bool returned = false;
            try
            {
                timer.Callback(timer);
                returned = true;
            }
            finally
            {
                // Otherwise the callback started or stopped it: it may run on another lcore by now.
                if (heap.Running == timer)
                    EndRun(heap, timer, again: returned && timer.Period > 0);
            }
        }
        return run;
    }

    private static void EndRun(TimerHeap heap, LcoreTimer timer, bool again)
    {
        heap.Running = null;
        if (!again)
        {
            timer.SetState(TimerState.Stopped);
            return;
        }
        timer.ExpiryTsc += timer.Period;
        heap.AddAndPublish(timer);
    }
}
