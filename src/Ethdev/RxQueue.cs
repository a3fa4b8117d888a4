using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>A receive queue. One thread at a time polls it.</summary>
public abstract unsafe class RxQueue
{
    /// <summary>For drivers.</summary>
    protected RxQueue(Port port, int index, Mempool pool)
    {
        Port = port;
        Index = index;
        Pool = pool;
        Stats = port.AllocateRxStats(index);
    }

    /// <summary>The port it belongs to.</summary>
    public Port Port { get; }

    /// <summary>0 to the port's number of receive queues - 1.</summary>
    public int Index { get; }

    /// <summary>Where its mbufs come from.</summary>
    public Mempool Pool { get; }

    /// <summary>Its counters, in native memory.</summary>
    protected internal QueueStats* Stats { get; }

    /// <summary>Fills the start of <paramref name="burst"/> with received packets. The caller owns them.</summary>
    /// <returns>How many, 0 to the span's length; 0 is normal.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int RxBurst(Span<Mbuf> burst)
    {
        int received = Receive(burst);
        Stats->Packets += (uint)received;
        return received;
    }

    /// <summary>The driver's receive. Adds bytes, errors and misses to <see cref="Stats"/>, but not packets.</summary>
    protected abstract int Receive(Span<Mbuf> burst);

    /// <summary>Called while the port stops: frees whatever the queue still holds. No thread polls.</summary>
    protected internal virtual void Drain() { }

    /// <summary>Called when the queue is set up anew or the port closes: gives everything back.</summary>
    protected internal virtual void Release() { }
}
