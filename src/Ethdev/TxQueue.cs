using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>A transmit queue. One thread at a time sends on it.</summary>
public abstract unsafe class TxQueue
{
    /// <summary>For drivers.</summary>
    protected TxQueue(Port port, int index)
    {
        Port = port;
        Index = index;
        Stats = port.AllocateTxStats(index);
    }

    /// <summary>The port it belongs to.</summary>
    public Port Port { get; }

    /// <summary>0 to the port's number of transmit queues - 1.</summary>
    public int Index { get; }

    /// <summary>Its counters, in native memory.</summary>
    protected internal QueueStats* Stats { get; }

    /// <summary>
    /// Hands packets to the queue in order. The queue now owns the first <c>n</c> and frees them when they are sent
    /// (or counts and frees them when they cannot be); the caller keeps the rest.
    /// </summary>
    /// <returns><c>n</c>, 0 to the span's length; less when the queue is full.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int TxBurst(ReadOnlySpan<Mbuf> packets)
    {
        int sent = Transmit(packets);
        Stats->Packets += (uint)sent;
        return sent;
    }

    /// <summary>The driver's transmit. Adds bytes, errors and misses to <see cref="Stats"/>, but not packets.</summary>
    protected abstract int Transmit(ReadOnlySpan<Mbuf> packets);

    /// <summary>Frees mbufs of packets already sent, up to <paramref name="most"/> (0: all).</summary>
    /// <returns>How many were freed.</returns>
    public virtual int ReclaimTx(int most = 0) => 0;

    /// <summary>Called while the port stops: frees whatever the queue still holds. No thread sends.</summary>
    protected internal virtual void Drain() { }

    /// <summary>Called when the queue is set up anew or the port closes: gives everything back.</summary>
    protected internal virtual void Release() { }
}
