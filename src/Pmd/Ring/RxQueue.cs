namespace Dataplane.Pmd;

/// <summary>Takes packets out of a ring.</summary>
internal sealed unsafe class RingRxQueue(Port port, int index, Mempool pool, Ring<Mbuf> ring)
    : RxQueue(port, index, pool)
{
    private readonly Ring<Mbuf> _ring = ring;
    private readonly ushort _portId = port.Id;

    /// <inheritdoc/>
    public override int WaitingCount => _ring.Count;

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        int received = _ring.DequeueBurst(burst);
        ulong bytes = 0;
        foreach (Mbuf packet in burst[..received])
        {
            MbufHeader* header = packet.Header;
            header->Port = _portId;
            // where its data is; all else was for the sender
            header->OlFlags &= MbufFlags.Indirect | MbufFlags.External;
            bytes += header->PktLen;
        }
        Stats->Bytes += bytes;
        return received;
    }
}
