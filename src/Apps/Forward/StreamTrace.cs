namespace Dataplane.Apps.Forward;

/// <summary>What Forward tells <c>dpctl trace</c> beyond receipt and sending: why packets end here, and where they
/// wait.</summary>
internal sealed class StreamTrace(PacketTrace trace)
{
    private readonly int _txFull = trace.AddName("transmit queue full"),
        _ended = trace.AddName("the mode sends nothing"), _noAnswer = trace.AddName("nothing to answer"),
        _held = trace.AddName("held in the FIFO");

    /// <summary>The queue did not take them.</summary>
    public void TxFull(ReadOnlySpan<Mbuf> packets) => trace.Drop(packets, _txFull);

    /// <summary>rxonly; a generator's receiving side.</summary>
    public void Ended(ReadOnlySpan<Mbuf> packets) => trace.Drop(packets, _ended);

    /// <summary>icmpecho: no request.</summary>
    public void NoAnswer(Mbuf packet)
    {
        if (trace.IsOn)
            trace.Drop([packet], _noAnswer);
    }

    /// <summary>noisy.</summary>
    public void Held(ReadOnlySpan<Mbuf> packets) => trace.Stage(packets, _held);
}
