namespace Dataplane;

/// <summary>
/// Sees every burst a receive queue delivers, before the application does: a capture, a trace, a filter, a stamp.
/// Added by <see cref="RxQueue.AddCallback"/>. Runs on the polling thread; rules of the data path hold.
/// </summary>
public abstract class RxCallback
{
    /// <summary>Called with the <paramref name="received"/> packets at the start of <paramref name="burst"/>.</summary>
    /// <returns>
    /// How many are left at the start of the span. A callback that takes packets out owns those, and moves the
    /// others up.
    /// </returns>
    public abstract int OnReceived(RxQueue queue, Span<Mbuf> burst, int received);

    /// <summary>The queue is released: it delivers nothing any more. Control path, with the port's gate.</summary>
    internal virtual void OnReleased() { }
}

/// <summary>
/// Sees every burst offered to a transmit queue, before the driver does. Added by <see cref="TxQueue.AddCallback"/>.
/// Runs on the sending thread; rules of the data path hold.
/// </summary>
public abstract class TxCallback
{
    /// <summary>
    /// Called with the packets offered. They may be changed but not freed. The driver may take fewer of them than are
    /// offered, so that the same ones are seen again.
    /// </summary>
    public abstract void OnOffered(TxQueue queue, ReadOnlySpan<Mbuf> packets);

    /// <summary>Called after the driver has had them: the first <paramref name="taken"/> are no longer to be touched,
    /// the others are the caller's again.</summary>
    public virtual void OnTaken(TxQueue queue, ReadOnlySpan<Mbuf> packets, int taken) { }

    /// <summary>The queue is released: it takes nothing any more. Control path, with the port's gate.</summary>
    internal virtual void OnReleased() { }
}
