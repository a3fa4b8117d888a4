using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>
/// Copies packets of one queue in one direction to a ring, those its filter takes. The queue's thread offers packets
/// and then says how many of them count: of those offered to a transmit queue only the ones it took.
/// </summary>
internal sealed unsafe class CaptureTap : IDisposable
{
    /// <summary>Packets of one burst that are captured; those of a receive queue are taken in parts.</summary>
    internal const int MostOfABurst = 1024;

    /// <summary>Bytes of a packet in several segments that the filter sees.</summary>
    private const uint WindowBytes = 4096;

    private readonly PacketFilter? _filter;
    private readonly uint _snapLength;
    private readonly Taken[] _taken = new Taken[MostOfABurst];
    private readonly byte* _window = (byte*)NativeMemory.AlignedAlloc(WindowBytes, 64);
    private RingHold<CaptureRing> _hold;
    private CaptureRingHeader _counts;
    private int _takenCount;
    private int _overflow;      // place in the burst from which on nothing is looked at
    private uint _lost;         // since the last record that counts
    private ulong _start;       // the ring's head when the burst began

    internal CaptureTap(PacketFilter? filter, uint snapLength, CaptureRing ring)
    {
        _filter = filter;
        _snapLength = snapLength;
        _hold.Set(ring);
    }

    private struct Taken
    {
        internal int Place;         // in the burst
        internal bool IsLost;       // there was no room
        internal ulong End;         // the ring's head behind it
    }

    /// <summary>Looks at packets; nothing is seen of it outside before <see cref="Count"/>. Data path.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal void Offer(ReadOnlySpan<Mbuf> packets)
    {
        CaptureRing? ring = _hold.Enter();
        _takenCount = 0;
        _overflow = int.MaxValue;
        if (ring != null)
        {
            _start = ring.Head;
            ulong now = Tsc.Read();
            uint lost = _lost;
            for (int i = 0; i < packets.Length; i++)
            {
                uint keep = Filter(packets[i].Header);
                if (keep == 0)
                    continue;
                if (_takenCount == MostOfABurst)
                {
                    _overflow = i;
                    break;
                }
                bool fits = Write(ring, packets[i].Header, now, keep, lost);
                lost = fits ? 0 : lost + 1;
                _taken[_takenCount++] = new() { Place = i, IsLost = !fits, End = ring.Head };
            }
        }
        _hold.Leave();
    }

    /// <summary>The first <paramref name="count"/> of the packets offered last went their way. Data path.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal void Count(int count)
    {
        CaptureRing? ring = _hold.Enter();
        if (ring != null)
        {
            ulong end = _start;
            _counts.Seen += (uint)count;
            for (int i = 0; i < _takenCount && _taken[i].Place < count; i++)
            {
                end = _taken[i].End;
                _counts.Accepted++;
                if (_taken[i].IsLost)
                {
                    _counts.Dropped++;
                    _lost++;
                }
                else
                {
                    _counts.Captured++;
                    _lost = 0;
                }
            }
            if (count > _overflow)
            {
                uint beyond = (uint)(count - _overflow);
                _counts.Accepted += beyond;
                _counts.Dropped += beyond;
                _lost += beyond;
            }
            ring.Rewind(end);
            ring.Publish(_counts);
        }
        _takenCount = 0;
        _hold.Leave();
    }

    /// <summary>Takes the ring away: when it returns no burst is in it, and none will be. Control path.</summary>
    public void Dispose()
    {
        if (_hold.Ring is not { } ring)
            return;
        _hold.Set(null);
        ring.End(CaptureEnd.Ended);
        NativeMemory.AlignedFree(_window);
    }

    /// <summary>The queue was released: tells the reader. Control path; no thread polls the queue.</summary>
    internal void End() => _hold.Ring?.End(CaptureEnd.Released);

    /// <summary>Bytes to keep of a packet; 0: the filter leaves it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private uint Filter(MbufHeader* mbuf)
    {
        uint most = Math.Min(mbuf->PktLen, _snapLength);
        if (_filter == null)
            return Math.Max(most, 1);
        byte* data = mbuf->BufAddr + mbuf->DataOff;
        uint length = mbuf->DataLen;
        if (length < mbuf->PktLen && length < WindowBytes)
        {
            length = Copy(mbuf, _window, Math.Min(mbuf->PktLen, WindowBytes));
            data = _window;
        }
        return Math.Min(_filter.Run(data, length, mbuf->PktLen), Math.Max(most, 1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Write(CaptureRing ring, MbufHeader* mbuf, ulong now, uint keep, uint lost)
    {
        uint captured = Math.Min(keep, mbuf->PktLen);
        byte* target = ring.Add(now, mbuf->PktLen, captured, lost);
        if (target == null)
            return false;
        uint copied = Copy(mbuf, target, captured);
        if (copied < captured)      // segments that have less than the packet says
            Unsafe.InitBlockUnaligned(target + copied, 0, captured - copied);
        return true;
    }

    /// <summary>Copies a packet's first bytes, over segments.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Copy(MbufHeader* mbuf, byte* target, uint bytes)
    {
        uint copied = 0;
        for (; mbuf != null && copied < bytes; mbuf = mbuf->Next)
        {
            uint part = Math.Min(mbuf->DataLen, bytes - copied);
            Unsafe.CopyBlockUnaligned(target + copied, mbuf->BufAddr + mbuf->DataOff, part);
            copied += part;
        }
        return copied;
    }
}

/// <summary>A tap on a receive queue: before all else that sees its packets.</summary>
internal sealed class RxCaptureTap(CaptureTap tap) : RxCallback
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override int OnReceived(RxQueue queue, Span<Mbuf> burst, int received)
    {
        for (int at = 0; at < received; at += CaptureTap.MostOfABurst)
        {
            int part = Math.Min(received - at, CaptureTap.MostOfABurst);
            tap.Offer(burst.Slice(at, part));
            tap.Count(part);
        }
        return received;
    }

    /// <inheritdoc/>
    internal override void OnReleased() => tap.End();
}

/// <summary>A tap on a transmit queue: after all else that may change its packets.</summary>
internal sealed class TxCaptureTap(CaptureTap tap) : TxCallback
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void OnOffered(TxQueue queue, ReadOnlySpan<Mbuf> packets) => tap.Offer(packets);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void OnTaken(TxQueue queue, ReadOnlySpan<Mbuf> packets, int taken) =>
        tap.Count(taken);

    /// <inheritdoc/>
    internal override void OnReleased() => tap.End();
}
