namespace Dataplane.Pmd;

/// <summary>The receiving end of one lane.</summary>
internal sealed unsafe class WireRxQueue : RxQueue
{
    private readonly ushort _portId;

    internal WireRxQueue(WirePort port, int index, Mempool pool, Lane lane) : base(port, index, pool)
    {
        Lane = lane;
        _portId = port.Id;
    }

    /// <summary>What is under way to this queue.</summary>
    internal Lane Lane { get; }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        int received = Lane.Receive(burst);
        ulong bytes = 0;
        foreach (Mbuf packet in burst[..received])
        {
            MbufHeader* header = packet.Header;
            header->Port = _portId;
            header->OlFlags &= MbufFlags.Indirect | MbufFlags.External;
            header->TxOffload = 0;
            bytes += header->PktLen;
        }
        Stats->Bytes += bytes;
        return received;
    }
}
