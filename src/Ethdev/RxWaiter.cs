using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// Puts a polling thread to sleep until one of its receive queues has a packet. Ports are configured with
/// <see cref="PortConfig.RxInterrupts"/> and started. Owned by the polling thread; allocates only when it is made.
/// </summary>
/// <remarks>
/// A packet that came before the interrupts were on is not told of, so: <see cref="Arm"/>, poll every queue once more,
/// and only when nothing was there <see cref="Sleep"/>; else <see cref="Disarm"/>.
/// </remarks>
public sealed class RxWaiter : IDisposable
{
    private readonly RxQueue[] _queues;
    private readonly SafeFileHandle _set;

    /// <summary>Makes one for the queues a thread polls.</summary>
    /// <param name="queues">At least one, all with interrupts.</param>
    /// <exception cref="ConfigException">A queue has no interrupt.</exception>
    public RxWaiter(IReadOnlyList<RxQueue> queues)
    {
        _queues = [.. queues];
        _set = Epoll.Create();
        try
        {
            foreach (RxQueue queue in _queues)
                Epoll.Add(_set, queue.InterruptFd ?? throw new ConfigException(
                    $"port {queue.Port.Name}: receive queue {queue.Index} has no interrupt",
                    why: queue.Port.Config.RxInterrupts ? $"port is {queue.Port.State}" : "it was not configured so",
                    fix: "configure the port with RxInterrupts and start it first"), (uint)queue.Index);
            Disarm();       // what came until now is nobody's news any more
            Wait(0);        // the first call of a function allocates: now, not on the data path
        }
        catch
        {
            _set.Dispose();
            throw;
        }
    }

    /// <summary>Asks every queue for an interrupt at its next packet.</summary>
    public void Arm()
    {
        foreach (RxQueue queue in _queues)
            queue.EnableInterrupt();
    }

    /// <summary>Asks for interrupts no more.</summary>
    public void Disarm()
    {
        foreach (RxQueue queue in _queues)
            queue.DisableInterrupt();
    }

    /// <summary>Sleeps until a queue has a packet, and disarms. Call after <see cref="Arm"/>.</summary>
    /// <param name="timeoutMs">Milliseconds at most: how soon the thread looks whether it is to stop.</param>
    /// <returns>True when a queue woke it.</returns>
    public bool Sleep(int timeoutMs)
    {
        bool woken = Wait(timeoutMs);
        Disarm();
        return woken;
    }

    /// <inheritdoc/>
    public void Dispose() => _set.Dispose();

    private bool Wait(int timeoutMs)
    {
        Span<epoll_event> one = stackalloc epoll_event[1];      // one is enough to know
        return Epoll.Wait(_set, one, timeoutMs) > 0;
    }
}
