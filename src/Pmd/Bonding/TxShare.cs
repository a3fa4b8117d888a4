using System.Runtime.CompilerServices;

namespace Dataplane.Pmd;

/// <summary>A member's part in a bond's transmit queue. Sending thread, or the control thread while that is kept
/// out.</summary>
internal sealed unsafe class TxShare(TxQueue queue)
{
    internal const int BatchSize = 64;

    private readonly Mbuf[] _batch = new Mbuf[BatchSize];
    private ulong _bytes = queue.Stats->Bytes, _errors = queue.Stats->Errors, _missed = queue.Stats->Missed;
    private int _first, _count;

    internal TxQueue Queue => queue;

    /// <summary>The bond sends by it.</summary>
    internal bool IsLive { get; set; }

    /// <summary>Packets that the member had no room for wait here: the bond has taken them.</summary>
    internal bool IsHolding { get; private set; }

    /// <summary>Of a broadcast burst.</summary>
    internal int Taken { get; set; }

    /// <summary>Sends what it takes of the caller's packets.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal int Send(ReadOnlySpan<Mbuf> packets, QueueStats* to)
    {
        int sent = queue.TxBurst(packets);
        Count(to);
        return sent;
    }

    /// <summary>Sends a frame of the bond's own, which does not count as its sender's.</summary>
    /// <returns>False when it was not taken.</returns>
    internal bool SendOwn(ReadOnlySpan<Mbuf> frame, QueueStats* to)
    {
        Count(to);
        queue.ReclaimTx();      // nobody else does where the bond sends by another member
        bool taken = queue.TxBurst(frame) != 0;
        Skip();
        return taken;
    }

    /// <summary>Puts a packet into the batch, which has room.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Add(Mbuf packet) => _batch[_count++] = packet;

    /// <summary>Forgets the batch: the caller keeps its packets.</summary>
    internal void Clear() => _count = 0;

    /// <summary>Sends the batch that was made; what is not taken is held.</summary>
    /// <returns>Packets held newly.</returns>
    internal int SendBatch(QueueStats* to)
    {
        if (_count == 0 || IsHolding)
            return 0;
        int sent = Send(_batch.AsSpan(0, _count), to);
        if (sent == _count)
        {
            _count = 0;
            return 0;
        }
        (_first, IsHolding) = (sent, true);
        to->Bytes += HeldBytes();   // they count as taken, so their bytes do
        return _count - _first;
    }

    /// <summary>Tries again with what is held.</summary>
    /// <returns>Packets held still.</returns>
    internal int SendHeld(QueueStats* to)
    {
        if (!IsHolding)
            return 0;
        to->Bytes -= HeldBytes();
        _first += Send(_batch.AsSpan(_first, _count - _first), to);
        if (_first == _count)
            (_first, _count, IsHolding) = (0, 0, false);
        to->Bytes += HeldBytes();
        return _count - _first;
    }

    /// <summary>Frees what is held, as packets taken and dropped.</summary>
    internal void DropHeld(QueueStats* to)
    {
        if (!IsHolding)
            return;
        to->Bytes -= HeldBytes();
        to->Missed += (uint)(_count - _first);
        Mbuf.FreeBulk(_batch.AsSpan(_first, _count - _first));
        (_first, _count, IsHolding) = (0, 0, false);
    }

    /// <summary>Leaves out what the member's queue counted since the last call.</summary>
    internal void Skip() => (_bytes, _errors, _missed) = (queue.Stats->Bytes, queue.Stats->Errors, queue.Stats->Missed);

    /// <summary>Adds what the member's queue counted since the last call, also between bursts, as it
    /// reclaims.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Count(QueueStats* to)
    {
        QueueStats* from = queue.Stats;
        to->Bytes += from->Bytes - _bytes;
        to->Errors += from->Errors - _errors;
        to->Missed += from->Missed - _missed;
        Skip();
    }

    private ulong HeldBytes()
    {
        ulong bytes = 0;
        foreach (Mbuf packet in _batch.AsSpan(_first, _count - _first))
            bytes += packet.Header->PktLen;
        return bytes;
    }
}
