namespace Dataplane.Pmd;

/// <summary>Takes every packet, counts it and frees it.</summary>
internal sealed unsafe class NullTxQueue : TxQueue
{
    private readonly byte* _dummy;

    internal NullTxQueue(NullPort port, int index) : base(port, index)
    {
        if (port.Copy)
            _dummy = (byte*)port.Eal.Memory.Zmalloc(ushort.MaxValue);
    }

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        if (_dummy != null)
            CopyOut(packets);
        ulong bytes = 0;
        foreach (Mbuf packet in packets)
            bytes += packet.Header->PktLen;
        Stats->Bytes += bytes;
        Mbuf.FreeBulk(packets);
        return packets.Length;
    }

    private void CopyOut(ReadOnlySpan<Mbuf> packets)
    {
        foreach (Mbuf packet in packets)
            for (MbufHeader* segment = packet.Header; segment != null; segment = segment->Next)
                Buffer.MemoryCopy(segment->BufAddr + segment->DataOff, _dummy, segment->DataLen, segment->DataLen);
    }

    /// <inheritdoc/>
    protected internal override void Release() => Port.Eal.Memory.Free(_dummy);
}
