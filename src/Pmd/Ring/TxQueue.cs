namespace Dataplane.Pmd;

/// <summary>Puts packets into a ring.</summary>
internal sealed unsafe class RingTxQueue(RingPort port, int index) : TxQueue(port, index)
{
    private readonly RingPort _port = port;

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        Ring<Mbuf>[] rings = _port.Transmit; // empty when the port at the other end is gone
        if ((uint)Index >= (uint)rings.Length)
            return 0;
        // Lengths are read before the packets are handed over: after that they are the receiver's.
        ulong bytes = 0;
        foreach (Mbuf packet in packets)
            bytes += packet.Header->PktLen;
        int sent = rings[Index].EnqueueBurst(packets);
        for (int i = sent; i < packets.Length; i++)
            bytes -= packets[i].Header->PktLen;
        Stats->Bytes += bytes;
        return sent;
    }
}
