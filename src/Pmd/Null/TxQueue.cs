using System.Runtime.InteropServices;

namespace Dataplane.Pmd;

/// <summary>Takes every packet, counts it and frees it.</summary>
internal sealed unsafe class NullTxQueue : TxQueue
{
    private readonly byte* _dummy;
    private readonly bool _fastFree;

    internal NullTxQueue(NullPort port, int index, TxQueueConfig config) : base(port, index)
    {
        _fastFree = (config.Offloads & TxOffloads.FastFree) != 0;
        if (port.Copy)
            _dummy = (byte*)port.Eal.Memory.Zmalloc(ushort.MaxValue);
    }

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        if (_dummy != null)
            CopyOut(packets);
        Stats->Bytes += _fastFree && !packets.IsEmpty ? FreeFast(packets) : Mbuf.FreeBulkCounted(packets);
        return packets.Length;
    }

    // What the application promised with FastFree: one pool, one segment, one owner.
    private static ulong FreeFast(ReadOnlySpan<Mbuf> packets)
    {
        ulong bytes = 0;
        foreach (Mbuf packet in packets)
            bytes += packet.Header->PktLen;
        var pool = (MempoolHeader*)packets[0].Header->Pool;
        MempoolCore.Put(pool, MempoolHeader.CurrentCache(pool),
            ref MemoryMarshal.GetReference(MemoryMarshal.Cast<Mbuf, nint>(packets)), (uint)packets.Length);
        return bytes;
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
