using System.Reflection;
using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>A transmit queue. One thread at a time sends on it.</summary>
public abstract unsafe class TxQueue
{
    private TxCallback[] _callbacks = [];
    private bool _running;
    private bool _slow = true; // stopped, or has callbacks: the one thing a burst asks before it sends

    /// <summary>For drivers.</summary>
    protected TxQueue(Port port, int index)
    {
        Port = port;
        Index = index;
        Stats = port.TxCounters(index);
    }

    /// <summary>The port it belongs to.</summary>
    public Port Port { get; }

    /// <summary>0 to the port's number of transmit queues - 1.</summary>
    public int Index { get; }

    /// <summary>Its settings as they are in force: descriptors filled in, the port's offloads added.</summary>
    public TxQueueConfig Config { get; internal set; } = new();

    /// <summary>How the driver sends, in a few words, e.g. <c>scalar</c> or <c>vector 256</c>.</summary>
    public virtual string BurstMode => "scalar";

    /// <summary>Packets flow. False before the port's start, after its stop, and while this queue is stopped.</summary>
    public bool IsRunning => Volatile.Read(ref _running);

    /// <summary>Its counters, in native memory, for the driver to add to on the sending thread.</summary>
    protected internal QueueStats* Stats { get; }

    /// <summary>
    /// Hands packets to the queue in order. The queue now owns the first <c>n</c> and frees them when they are sent
    /// (or counts and frees them when they cannot be); the caller keeps the rest.
    /// </summary>
    /// <returns><c>n</c>, 0 to the span's length; less when the queue is full, 0 when it is stopped.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int TxBurst(ReadOnlySpan<Mbuf> packets) =>
        Volatile.Read(ref _slow) ? TxBurstSlow(packets) : TxBurstFast(packets);

    /// <summary>
    /// Makes packets that ask for offloads fit to be sent (checksum seeds, limits), for those drivers that want it.
    /// Call before <see cref="TxBurst"/> where offloads are used. The caller keeps all packets. Data path.
    /// </summary>
    /// <returns>How many are fit; the one after them is not.</returns>
    public virtual int TxPrepare(ReadOnlySpan<Mbuf> packets) => packets.Length;

    /// <summary>
    /// Frees mbufs of packets already sent, up to <paramref name="most"/> (0: all). Queues reclaim while they send; an
    /// idle sender calls this, so that its pool does not run dry. Sending thread, data path.
    /// </summary>
    /// <returns>How many were freed.</returns>
    public virtual int ReclaimTx(int most = 0) => 0;

    /// <summary>State of a descriptor, counted from the next one to be filled. Data path.</summary>
    /// <param name="offset">0 to the queue's descriptors - 1.</param>
    public virtual DescriptorStatus GetDescriptorStatus(int offset) => DescriptorStatus.Unknown;

    /// <summary>The counters since the last <see cref="Port.ResetStats"/>. Any thread.</summary>
    public QueueStats GetStats() => Port.ReadTxStats(Index);

    /// <summary>Makes a callback see every burst from now on, after those added before. Control path.</summary>
    /// <param name="callback">What to call.</param>
    /// <param name="first">Call it before those added before.</param>
    public void AddCallback(TxCallback callback, bool first = false)
    {
        using Lock.Scope held = Port.Gate.EnterScope();     // another thread may stop the port meanwhile
        SetCallbacks(first ? [callback, .. _callbacks] : [.. _callbacks, callback]);
    }

    /// <summary>
    /// Takes a callback out. Control path. The sending thread may be in it until its current burst is done.
    /// </summary>
    /// <returns>False when it was not there.</returns>
    public bool RemoveCallback(TxCallback callback)
    {
        using Lock.Scope held = Port.Gate.EnterScope();
        TxCallback[] left = Array.FindAll(_callbacks, c => c != callback);
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
        Port.Require(PortState.Started, $"start transmit queue {Index} of");
        SetRunning(true);
    }

    /// <summary>Makes TxBurst return 0 until <see cref="Start"/>. Control path.</summary>
    public void Stop()
    {
        using Lock.Scope held = Port.Gate.EnterScope();
        SetRunning(false);
    }

    /// <summary>The driver's transmit. Adds bytes, errors and misses to <see cref="Stats"/>, but not packets.</summary>
    protected abstract int Transmit(ReadOnlySpan<Mbuf> packets);

    /// <summary>Called while the port stops: frees whatever the queue still holds. No thread sends.</summary>
    protected internal virtual void Drain() { }

    /// <summary>Called when the queue is set up anew or the port closes: gives everything back.</summary>
    protected internal virtual void Release() { }

    /// <summary>With the port's gate: who else looks on at this queue learns that it is no more.</summary>
    internal void TellReleased()
    {
        foreach (TxCallback callback in _callbacks)
            callback.OnReleased();
    }

    // With the port's gate: a capture that comes or goes must not undo a stop.
    internal void SetRunning(bool running)
    {
        Volatile.Write(ref _running, running);
        Volatile.Write(ref _slow, !running || _callbacks.Length != 0);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int TxBurstFast(ReadOnlySpan<Mbuf> packets)
    {
        if (MbufDebug.Enabled)
            MbufDebug.Transfer(packets, MbufOwner.Device, Port.Id);   // before: the driver may free them at once
        int sent = Transmit(packets);
        if (MbufDebug.Enabled)
            MbufDebug.Transfer(packets[sent..], MbufOwner.Application, Lcore.CurrentId);
        QueueStats* stats = Stats;
        stats->Packets += (uint)sent;
        stats->Calls++;
        return sent;
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private int TxBurstSlow(ReadOnlySpan<Mbuf> packets)
    {
        if (!Volatile.Read(ref _running))
            return 0;
        TxCallback[] callbacks = Volatile.Read(ref _callbacks);
        foreach (TxCallback callback in callbacks)
            callback.OnOffered(this, packets);
        int sent = TxBurstFast(packets);
        foreach (TxCallback callback in callbacks)
            callback.OnTaken(this, packets, sent);
        return sent;
    }

    private void SetCallbacks(TxCallback[] callbacks)
    {
        // Compiled here, and not when the queue's thread first comes by.
        RuntimeHelpers.PrepareMethod(typeof(TxQueue).GetMethod(nameof(TxBurstSlow),
            BindingFlags.Instance | BindingFlags.NonPublic)!.MethodHandle);
        Volatile.Write(ref _callbacks, callbacks);
        SetRunning(_running);
    }
}
