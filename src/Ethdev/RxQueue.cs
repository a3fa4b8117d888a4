using System.Reflection;
using System.Runtime.CompilerServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>A receive queue. One thread at a time polls it.</summary>
public abstract unsafe class RxQueue
{
    private RxCallback[] _callbacks = [];
    private bool _running;
    private bool _slow = true; // stopped, or has callbacks: the one thing a burst asks before it polls

    /// <summary>For drivers.</summary>
    protected RxQueue(Port port, int index, Mempool pool)
    {
        Port = port;
        Index = index;
        Pool = pool;
        Stats = port.RxCounters(index);
    }

    /// <summary>The port it belongs to.</summary>
    public Port Port { get; }

    /// <summary>0 to the port's number of receive queues - 1.</summary>
    public int Index { get; }

    /// <summary>Where its mbufs come from.</summary>
    public Mempool Pool { get; }

    /// <summary>Its settings as they are in force: descriptors filled in, the port's offloads added.</summary>
    public RxQueueConfig Config { get; internal set; } = new();

    /// <summary>How the driver receives, in a few words, e.g. <c>scalar</c> or <c>vector 256</c>.</summary>
    public virtual string BurstMode => "scalar";

    /// <summary>Packets waiting to be received now, -1 where the driver cannot say. Data path.</summary>
    public virtual int WaitingCount => -1;

    /// <summary>Packets flow. False before the port's start, after its stop, and while this queue is stopped.</summary>
    public bool IsRunning => Volatile.Read(ref _running);

    /// <summary>Its counters, in native memory, for the driver to add to on the polling thread.</summary>
    protected internal QueueStats* Stats { get; }

    /// <summary>Fills the start of <paramref name="burst"/> with received packets. The caller owns them.</summary>
    /// <returns>How many, 0 to the span's length; 0 is normal, and all there is from a stopped queue.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int RxBurst(Span<Mbuf> burst) => Volatile.Read(ref _slow) ? RxBurstSlow(burst) : RxBurstFast(burst);

    /// <summary>The counters since the last <see cref="Port.ResetStats"/>. Any thread.</summary>
    public QueueStats GetStats() => Port.ReadRxStats(Index);

    /// <summary>Makes a callback see every burst from now on, after those added before. Control path.</summary>
    /// <param name="callback">What to call.</param>
    /// <param name="first">Call it before those added before.</param>
    public void AddCallback(RxCallback callback, bool first = false)
    {
        using Lock.Scope held = Port.Gate.EnterScope();     // another thread may stop the port meanwhile
        SetCallbacks(first ? [callback, .. _callbacks] : [.. _callbacks, callback]);
    }

    /// <summary>
    /// Takes a callback out. Control path. The polling thread may be in it until its current burst is done.
    /// </summary>
    /// <returns>False when it was not there.</returns>
    public bool RemoveCallback(RxCallback callback)
    {
        using Lock.Scope held = Port.Gate.EnterScope();
        RxCallback[] left = Array.FindAll(_callbacks, c => c != callback);
        bool found = left.Length != _callbacks.Length;
        SetCallbacks(left);
        return found;
    }

    /// <summary>Lets packets flow after <see cref="Stop"/> or a deferred start; the port must be started. Control
    /// path.</summary>
    /// <exception cref="DataplaneException">The port is not started.</exception>
    public void Start()
    {
        using Lock.Scope held = Port.Gate.EnterScope();
        Port.Require(PortState.Started, $"start receive queue {Index} of");
        SetRunning(true);
    }

    /// <summary>
    /// Makes RxBurst return 0 until <see cref="Start"/>. Control path. What arrives meanwhile waits, up to the
    /// queue's size.
    /// </summary>
    public void Stop()
    {
        using Lock.Scope held = Port.Gate.EnterScope();
        SetRunning(false);
    }

    /// <summary>State of a descriptor, counted from the next one to be received. Data path.</summary>
    /// <param name="offset">0 to the queue's descriptors - 1.</param>
    public virtual DescriptorStatus GetDescriptorStatus(int offset) => DescriptorStatus.Unknown;

    /// <summary>
    /// Becomes readable when a packet waits and the interrupt is on: for epoll. Null unless the port was configured
    /// with <see cref="PortConfig.RxInterrupts"/> and is started.
    /// </summary>
    public virtual SafeFileHandle? InterruptFd => null;

    /// <summary>
    /// Asks for one interrupt at the next packet. Poll once more before sleeping: one that came just before it is not
    /// told of. Polling thread.
    /// </summary>
    public virtual void EnableInterrupt() { }

    /// <summary>Asks for no more, and empties <see cref="InterruptFd"/>. Polling thread.</summary>
    public virtual void DisableInterrupt() { }

    /// <summary>The driver's receive. Adds bytes, errors and misses to <see cref="Stats"/>, but not packets.</summary>
    protected abstract int Receive(Span<Mbuf> burst);

    /// <summary>
    /// For drivers whose losses are counted by the device, the kernel or a far end: how many packets this queue lost
    /// since it was made, never less than the time before. Control path. Added to <see cref="QueueStats.Missed"/>.
    /// </summary>
    protected internal virtual ulong ReadMissed() => 0;

    /// <summary>Called while the port stops: frees whatever the queue still holds. No thread polls.</summary>
    protected internal virtual void Drain() { }

    /// <summary>Called when the queue is set up anew or the port closes: gives everything back.</summary>
    protected internal virtual void Release() { }

    /// <summary>With the port's gate: who else looks on at this queue learns that it is no more.</summary>
    internal void TellReleased()
    {
        foreach (RxCallback callback in _callbacks)
            callback.OnReleased();
    }

    // With the port's gate: a capture that comes or goes must not undo a stop.
    internal void SetRunning(bool running)
    {
        Volatile.Write(ref _running, running);
        Volatile.Write(ref _slow, !running || _callbacks.Length != 0);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int RxBurstFast(Span<Mbuf> burst)
    {
        int received = Receive(burst);
        if (MbufDebug.Enabled)
            MbufDebug.Transfer(burst[..received], MbufOwner.Application, Lcore.CurrentId);
        QueueStats* stats = Stats;
        stats->Packets += (uint)received;
        stats->Calls++;
        return received;
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private int RxBurstSlow(Span<Mbuf> burst)
    {
        if (!Volatile.Read(ref _running))
            return 0;
        int received = RxBurstFast(burst);
        if (received != 0)
            foreach (RxCallback callback in Volatile.Read(ref _callbacks))
                received = callback.OnReceived(this, burst, received);
        return received;
    }

    private void SetCallbacks(RxCallback[] callbacks)
    {
        // Compiled here, and not when the queue's thread first comes by.
        RuntimeHelpers.PrepareMethod(typeof(RxQueue).GetMethod(nameof(RxBurstSlow),
            BindingFlags.Instance | BindingFlags.NonPublic)!.MethodHandle);
        Volatile.Write(ref _callbacks, callbacks);
        SetRunning(_running);
    }
}
