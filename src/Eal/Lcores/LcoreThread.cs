using Dataplane.Native;

namespace Dataplane;

/// <summary>The thread behind an lcore: pins itself, then sleeps until something is launched.</summary>
internal sealed class LcoreThread
{
    private readonly object _gate = new();   // guards all below; waited on by the lcore and by those who wait for it
    private readonly Lcore _lcore;
    private readonly Thread _thread;
    private LcoreJob? _job;
    private bool _pinned;
    private bool _exit;
    private int _result;
    private Exception? _failure;

    internal LcoreThread(Lcore lcore)
    {
        _lcore = lcore;
        // The kernel keeps 15 characters of the name.
        string name = lcore.Role == LcoreRole.Main ? $"dp-main-{lcore.Id}" : $"dp-lcore-{lcore.Id}";
        _thread = new Thread(Run) { Name = name, IsBackground = true };
    }

    internal LcoreState State
    {
        get
        {
            lock (_gate)
                return _job == null ? LcoreState.Wait : LcoreState.Running;
        }
    }

    /// <summary>The kernel's id of it, valid after <see cref="WaitPinned"/>.</summary>
    internal int Tid { get; private set; }

    internal void Start() => _thread.Start();

    /// <summary>Returns when the thread is pinned.</summary>
    /// <exception cref="DataplaneException">It could not be.</exception>
    internal void WaitPinned()
    {
        lock (_gate)
            while (!_pinned && _failure == null)
                Monitor.Wait(_gate);
        if (_failure != null)
            throw new DataplaneException($"cannot start lcore {_lcore.Id}: {_failure.Message}", inner: _failure);
    }

    /// <exception cref="DataplaneException">EBUSY: it runs something already.</exception>
    internal void Launch(LcoreJob job, CancellationToken stop)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_exit, typeof(Eal));
            if (_job != null)
                throw new DataplaneException($"lcore {_lcore.Id} is busy", "it runs another worker",
                    "wait for it first: eal.Wait(lcoreId)", errno: Errno.EBUSY);
            _lcore.FollowStop(stop);
            _failure = null;
            _job = job;
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Waits for the worker to end.</summary>
    /// <returns>False when it did not in time.</returns>
    internal bool WaitIdle(TimeSpan timeout)
    {
        if (Thread.CurrentThread == _thread)
            throw new DataplaneException($"lcore {_lcore.Id} waits for itself", errno: Errno.EDEADLK);
        long deadline = timeout == Timeout.InfiniteTimeSpan
            ? long.MaxValue
            : Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        lock (_gate)
        {
            while (_job != null)
            {
                long left = deadline - Environment.TickCount64;
                if (left <= 0)
                    return false;
                Monitor.Wait(_gate, (int)Math.Min(left, int.MaxValue));
            }
            return true;
        }
    }

    /// <summary>What the last worker returned, 0 before the first.</summary>
    /// <exception cref="LcoreException">It threw.</exception>
    internal int Result
    {
        get
        {
            lock (_gate)
                return _failure == null ? _result : throw new LcoreException(_lcore.Id, _failure);
        }
    }

    /// <summary>Ends the thread once it is idle.</summary>
    internal void Exit()
    {
        lock (_gate)
        {
            _exit = true;
            Monitor.PulseAll(_gate);
        }
        if (_thread.ThreadState != ThreadState.Unstarted)
            _thread.Join();
    }

    private void Run()
    {
        try
        {
            Tid = Unistd.gettid();
            Affinity.SetCurrent(_lcore.Cpus);
        }
        catch (DataplaneException e)
        {
            Report(e, pinned: false);
            return;
        }
        Lcore.SetCurrent(_lcore);
        Report(null, pinned: true);
        while (NextJob() is { } job)
            RunJob(job);
        Lcore.SetCurrent(null);
    }

    private void Report(Exception? failure, bool pinned)
    {
        lock (_gate)
        {
            _failure = failure;
            _pinned = pinned;
            Monitor.PulseAll(_gate);
        }
    }

    private LcoreJob? NextJob()
    {
        lock (_gate)
        {
            while (_job == null && !_exit)
                Monitor.Wait(_gate);
            return _job;
        }
    }

    // Whatever a worker throws ends that worker only and comes out of Eal.Wait.
    private void RunJob(LcoreJob job)
    {
        int result = 0;
        Exception? failure = null;
        try
        {
            result = job.Run(_lcore);
        }
        catch (Exception e)
        {
            failure = e;
        }
        lock (_gate)
        {
            _result = result;
            _failure = failure;
            _job = null;
            Monitor.PulseAll(_gate);
        }
    }
}
