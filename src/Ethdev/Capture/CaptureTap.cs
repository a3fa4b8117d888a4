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

    private readonly PacketFilter? _filter;
    private readonly uint _snapLength;
    private readonly Taken[] _taken = new Taken[MostOfABurst];
    private readonly PacketVerdict[] _verdicts = new PacketVerdict[MostOfABurst];
    private readonly byte* _window = (byte*)NativeMemory.AlignedAlloc(PacketFilter.WindowBytes, 64);
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
            ulong now = 0;
            uint lost = _lost;
            int from = 0;
            do      // once for no packets too: then all of it is compiled
            {
                Take(ring, packets.Slice(from, Math.Min(MostOfABurst, packets.Length - from)), from, ref now, ref lost);
                from += MostOfABurst;
            }
            while (from < packets.Length && _overflow == int.MaxValue);
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

    /// <summary>Writes those of a part of a burst that the filter takes.</summary>
    /// <param name="ring">To where.</param>
    /// <param name="packets">At most <see cref="MostOfABurst"/>.</param>
    /// <param name="from">Place of the first in the burst.</param>
    /// <param name="now">The burst's stamp; read here where it is 0 and there is something to stamp.</param>
    /// <param name="lost">Since the last record.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Take(CaptureRing ring, ReadOnlySpan<Mbuf> packets, int from, ref ulong now, ref uint lost)
    {
        int count = _filter == null ? packets.Length : _filter.Run(packets, _verdicts, _window);
        if (count == 0)
            return;
        if (now == 0)
            now = Tsc.Read();
        for (int i = 0; i < count; i++)
        {
            PacketVerdict verdict = _filter == null ? new((uint)i, uint.MaxValue) : _verdicts[i];
            int place = (int)verdict.Place;
            if (_takenCount == MostOfABurst)
            {
                _overflow = from + place;
                return;
            }
            bool fits = Write(ring, packets[place].Header, now, Math.Min(verdict.Keep, _snapLength), lost);
            lost = fits ? 0 : lost + 1;
            _taken[_takenCount++] = new() { Place = from + place, IsLost = !fits, End = ring.Head };
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Write(CaptureRing ring, MbufHeader* mbuf, ulong now, uint keep, uint lost)
    {
        uint captured = Math.Min(keep, mbuf->PktLen);
        byte* target = ring.Add(now, mbuf->PktLen, captured, lost);
        if (target == null)
            return false;
        uint copied = PacketFilter.CopyOf(mbuf, target, captured);
        if (copied < captured)      // segments that have less than the packet says
            Unsafe.InitBlockUnaligned(target + copied, 0, captured - copied);
        return true;
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
