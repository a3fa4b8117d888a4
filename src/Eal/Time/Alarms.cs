using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>Callbacks after a time, to the microsecond the kernel allows, on one control thread. Any thread.</summary>
public sealed unsafe partial class Alarms : IDisposable
{
    private const double Farthest = 100 * 365.25 * 86_400e9;   // nanoseconds; the sum with any clock fits a long

    private readonly Eal _eal;
    private readonly ILogger _logger;
    private readonly object _gate = new();   // guards all below; pulsed when a callback ends
    private readonly PriorityQueue<Alarm, long> _pending = new();
    private SafeFileHandle? _timer;
    private Thread? _thread;
    private Alarm? _running;
    private bool _disposed;

    internal Alarms(Eal eal, ILogger logger)
    {
        _eal = eal;
        _logger = logger;
    }

    /// <summary>
    /// Calls <paramref name="callback"/> once, after <paramref name="delay"/>. What it throws is logged.
    /// </summary>
    /// <param name="delay">At least 0; more than a century counts as one.</param>
    /// <param name="callback">Short; it delays the alarms behind it.</param>
    /// <exception cref="NativeException">The kernel gives no timer.</exception>
    public Alarm Set(TimeSpan delay, Action callback)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(delay, TimeSpan.Zero);
        long due = Clock.Nanoseconds(Clock.CLOCK_MONOTONIC) + (long)Math.Min(delay.TotalNanoseconds, Farthest);
        var alarm = new Alarm(this, callback);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            EnsureStarted();
            _pending.Enqueue(alarm, due);
            ArmForFirst();
            return alarm;
        }
    }

    /// <summary>Drops what is pending and ends the thread, after the callback that runs now.</summary>
    public void Dispose()
    {
        ThrowIfCurrent();
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            if (_timer != null)
                Arm(1);
        }
        _thread?.Join();
        _timer?.Dispose();
    }

    internal void ThrowIfCurrent()
    {
        if (_thread != null && Thread.CurrentThread == _thread)
            throw new DataplaneException("the EAL cannot be disposed in an alarm's callback",
                "it waits for that to end",
                "let the callback tell another thread to", errno: Errno.EDEADLK);
    }

    /// <summary>Drops an alarm; where its callback runs already on the control thread, waits for its end.</summary>
    internal bool Cancel(Alarm alarm)
    {
        lock (_gate)
        {
            if (_pending.Remove(alarm, out _, out _))
                return true;
            while (_running == alarm && Thread.CurrentThread != _thread)
                Monitor.Wait(_gate);
            return false;
        }
    }

    private void EnsureStarted()
    {
        if (_thread != null)
            return;
        SafeFileHandle timer = Timerfd.timerfd_create(Clock.CLOCK_MONOTONIC, Timerfd.TFD_CLOEXEC);
        if (timer.IsInvalid)
            throw NativeException.FromErrno("timerfd_create");
        _timer = timer;
        _thread = _eal.StartControlThread("dp-alarm", Run);
    }

    private void Run()
    {
        while (true)
        {
            ulong expirations;
            // Interrupted or not: what is due is looked up below.
            _ = Unistd.read(_timer!, &expirations, sizeof(ulong));
            while (TakeDue(out Alarm? due))
            {
                if (due == null)
                    return;
                RunOne(due);
            }
        }
    }

    // True with an alarm: run it. True without: the end. False: none is due, and the timer is armed for the next.
    private bool TakeDue(out Alarm? due)
    {
        due = null;
        lock (_gate)
        {
            if (_disposed)
                return true;
            if (!_pending.TryPeek(out _, out long first) || first > Clock.Nanoseconds(Clock.CLOCK_MONOTONIC))
            {
                ArmForFirst();
                return false;
            }
            due = _running = _pending.Dequeue();
            return true;
        }
    }

    private void RunOne(Alarm alarm)
    {
        try
        {
            alarm.Callback();
        }
        catch (Exception e)
        {
            LogFailure(_logger, e);
        }
        lock (_gate)
        {
            _running = null;
            Monitor.PulseAll(_gate);
        }
    }

    private void ArmForFirst()
    {
        if (_pending.TryPeek(out _, out long first))
            Arm(first);
    }

    private void Arm(long nanoseconds)
    {
        var when = new Timerfd.itimerspec
        {
            it_value = { tv_sec = nanoseconds / 1_000_000_000, tv_nsec = nanoseconds % 1_000_000_000 },
        };
        _ = Timerfd.timerfd_settime(_timer!, Timerfd.TFD_TIMER_ABSTIME, &when, null);   // valid by construction
    }

    [LoggerMessage(LogLevel.Error, "an alarm's callback failed")]
    private static partial void LogFailure(ILogger logger, Exception exception);
}

/// <summary>One alarm that was set.</summary>
public sealed class Alarm
{
    private readonly Alarms _alarms;

    internal Alarm(Alarms alarms, Action callback)
    {
        _alarms = alarms;
        Callback = callback;
    }

    internal Action Callback { get; }

    /// <summary>
    /// Keeps it from calling back. Where the callback runs just now, waits for its end, unless called in it.
    /// </summary>
    /// <returns>True when it will not have called back.</returns>
    public bool Cancel() => _alarms.Cancel(this);
}
