namespace Dataplane;

/// <summary>What a timer does now.</summary>
public enum TimerState
{
    /// <summary>Neither pending nor running.</summary>
    Stopped,

    /// <summary>Will expire.</summary>
    Pending,

    /// <summary>Its callback runs.</summary>
    Running,

    /// <summary>Another thread starts or stops it at this moment.</summary>
    Changing,

    /// <summary>Gone for good.</summary>
    Disposed,
}

/// <summary>
/// One timer, made by <see cref="LcoreTimers.Create"/>. Start and stop from any thread; neither allocates. Its callback
/// runs
/// on the lcore it was started for, in that lcore's <see cref="LcoreTimers.Manage"/>.
/// </summary>
public sealed class LcoreTimer : IDisposable
{
    private readonly LcoreTimers _timers;
    private int _state;   // a TimerState; whoever moves it to Changing or Running owns the fields below

    internal LcoreTimer(LcoreTimers timers, Action<LcoreTimer> callback)
    {
        _timers = timers;
        Callback = callback;
    }

    /// <summary>What it does now. A snapshot.</summary>
    public TimerState State => (TimerState)Volatile.Read(ref _state);

    /// <summary>When it expires next, as <see cref="Tsc.Read"/> counts; meaningless unless pending.</summary>
    public ulong ExpiryTsc { get; internal set; }

    /// <summary>The lcore it was last started on, <see cref="Lcore.NoId"/> before that.</summary>
    public int LcoreId { get; internal set; } = Lcore.NoId;

    /// <summary>Cycles between expiries, 0 for one-shot.</summary>
    internal ulong Period { get; private set; }

    internal Action<LcoreTimer> Callback { get; }

    /// <summary>Its slot in the heap of its lcore, -1 outside.</summary>
    internal int HeapIndex { get; set; } = -1;

    /// <summary>Lets it expire once. One that is pending is started anew.</summary>
    /// <param name="delayCycles">From now, <see cref="Tsc"/> cycles.</param>
    /// <param name="lcoreId">The lcore to run on, <see cref="Lcore.NoId"/> for the calling one.</param>
    /// <returns>False when its callback runs on another lcore, or another thread changes it at this moment.</returns>
    /// <exception cref="ConfigException">There is no such lcore, or the calling thread is none.</exception>
    public bool Start(ulong delayCycles, int lcoreId = Lcore.NoId) => Start(delayCycles, 0, lcoreId);

    /// <summary>Lets it expire again and again, counted from its expiry and not from when that was noticed.</summary>
    /// <param name="periodCycles">At least 1, <see cref="Tsc"/> cycles.</param>
    /// <param name="lcoreId">The lcore to run on, <see cref="Lcore.NoId"/> for the calling one.</param>
    /// <returns>False when its callback runs on another lcore, or another thread changes it at this moment.</returns>
    /// <exception cref="ConfigException">A period of 0; no such lcore; or the calling thread is none.</exception>
    public bool StartPeriodic(ulong periodCycles, int lcoreId = Lcore.NoId) => periodCycles > 0
        ? Start(periodCycles, periodCycles, lcoreId)
        : throw new ConfigException("a periodic timer needs a period of at least 1 cycle");

    /// <summary>Keeps it from expiring. A callback may stop its own timer.</summary>
    /// <returns>False when its callback runs on another lcore, or another thread changes it at this moment.</returns>
    public bool Stop()
    {
        if (!TryOwn())
            return false;
        Leave();
        SetState(TimerState.Stopped);
        return true;
    }

    /// <summary>Stops it and gives its place back. Does nothing the second time.</summary>
    /// <exception cref="DataplaneException">
    /// EBUSY: its callback runs on another lcore, or another thread changes it.
    /// </exception>
    public void Dispose()
    {
        if (State == TimerState.Disposed)
            return;
        if (!TryOwn())
            throw new DataplaneException("a timer cannot be disposed while its callback runs on another lcore",
                fix: "stop that lcore first, or call again", errno: Errno.EBUSY);
        Leave();
        SetState(TimerState.Disposed);
        _timers.Release();
    }

    /// <summary>
    /// Manage found it due: the callback's lcore takes it. False: another thread is just changing it.
    /// </summary>
    internal bool TryBeginRun() => Interlocked.CompareExchange(
        ref _state, (int)TimerState.Running, (int)TimerState.Pending) == (int)TimerState.Pending;

    internal void SetState(TimerState state) => Volatile.Write(ref _state, (int)state);

    private bool Start(ulong delayCycles, ulong periodCycles, int lcoreId)
    {
        TimerHeap heap = _timers.HeapOf(lcoreId == Lcore.NoId ? Lcore.CurrentId : lcoreId);
        if (!TryOwn())
            return false;
        Leave();
        ulong now = Tsc.Read();
        ExpiryTsc = now + Math.Min(delayCycles, ulong.MaxValue - now);
        Period = periodCycles;
        LcoreId = heap.LcoreId;
        heap.AddAndPublish(this);
        return true;
    }

    // From Stopped or Pending, or from Running inside its own callback, which then no longer owns it.
    private bool TryOwn()
    {
        int seen = Volatile.Read(ref _state);
        ObjectDisposedException.ThrowIf(seen == (int)TimerState.Disposed, this);
        bool free = seen is (int)TimerState.Stopped or (int)TimerState.Pending
            || (seen == (int)TimerState.Running && _timers.TryLeaveCallback(this));
        return free && Interlocked.CompareExchange(ref _state, (int)TimerState.Changing, seen) == seen;
    }

    private void Leave()
    {
        if (LcoreId != Lcore.NoId)
            _timers.HeapOf(LcoreId).Remove(this);
    }
}
