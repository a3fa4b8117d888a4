using System.Runtime.CompilerServices;

namespace Dataplane.Pmd;

/// <summary>Receives from a file or an interface. A queue without a source receives nothing.</summary>
internal sealed unsafe class PcapRxQueue : RxQueue
{
    /// <summary>Packets passed over in one poll, so that a bad file does not hold up the others.</summary>
    private const int MostSkipped = 64;
    private const int LeastFrame = 14;

    private readonly PcapPort _port;
    private readonly PacketSource? _source;
    private readonly uint _room;
    private readonly bool _timing;
    private readonly int _stampOffset;      // 0: packets are not stamped
    private readonly double _cyclesPerNanosecond;
    private PcapRecord _next;
    private bool _waiting;                  // _next is a packet not delivered yet
    private bool _ended;
    private bool _paced;
    private ulong _paceCycles, _paceNanoseconds;
    private ulong _truncated;

    internal PcapRxQueue(PcapPort port, int index, Mempool pool, RxQueueConfig config, PacketSource? source)
        : base(port, index, pool)
    {
        _port = port;
        _source = source;
        _room = (uint)(pool.DataRoomBytes - Mbuf.DefaultHeadroom);
        _timing = port.Options.Timing;
        _cyclesPerNanosecond = Tsc.Hz / 1e9;
        _stampOffset = (config.Offloads & RxOffloads.Timestamp) != 0 ? port.Stamp.Offset : 0;
        _ended = source == null;
    }

    /// <summary>Packets that had been cut short when they were captured; they are received as they are.</summary>
    internal ulong Truncated => Volatile.Read(ref _truncated);

    /// <summary>There will be no more packets.</summary>
    internal bool Ended => Volatile.Read(ref _ended);

    /// <summary>Back to the start of the file.</summary>
    internal void Rewind()
    {
        _waiting = _paced = false;
        _ended = _source == null;
        _source?.Rewind();
    }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        if (burst.IsEmpty || !(_waiting || Fetch()) || !IsDue())
            return 0;
        Span<Mbuf> mbufs = burst;
        while (!Pool.TryAllocBulk(mbufs))
        {
            if (mbufs.Length == 1)
            {
                Stats->NoMbuf += (uint)burst.Length;
                return 0;
            }
            mbufs = mbufs[..(mbufs.Length / 2)];
        }
        int filled = 0;
        ulong bytes = 0;
        do
        {
            if (!Fill(mbufs[filled]))
            {
                Stats->NoMbuf++;
                break;
            }
            bytes += _next.Length;
            _waiting = false;
            filled++;
        }
        while (filled < mbufs.Length && Fetch() && IsDue());
        Mbuf.FreeBulk(mbufs[filled..]);
        Stats->Bytes += bytes;
        return filled;
    }

    private bool Fetch()
    {
        for (int i = 0; i < MostSkipped && !_ended; i++)
        {
            switch (_source!.Next(ref _next))
            {
                case ReadStatus.Packet when _next.Length >= LeastFrame:
                    return _waiting = true;
                case ReadStatus.End:
                    _ended = !_source.IsOpenEnded;
                    return false;
                case ReadStatus.Bad:
                    Stats->Errors++;
                    _ended = true;
                    return false;
                default:
                    Stats->Errors++;
                    break;
            }
        }
        return false;
    }

    /// <summary>Whether the next packet's time has come, counted from the first packet of the file.</summary>
    private bool IsDue()
    {
        if (!_timing)
            return true;
        if (_next.IsFirst || !_paced)
        {
            (_paceNanoseconds, _paceCycles) = (_next.Nanoseconds, Tsc.Read());
            _paced = true;
            _next.IsFirst = false;   // asked for again, it must not begin anew
            return true;
        }
        if (_next.Nanoseconds <= _paceNanoseconds)
            return true;
        return Tsc.Read() - _paceCycles >= (ulong)((_next.Nanoseconds - _paceNanoseconds) * _cyclesPerNanosecond);
    }

    /// <summary>Puts the next packet into a mbuf, and as many more as it takes.</summary>
    /// <returns>False when there are too few; the first one is as it was.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool Fill(Mbuf mbuf)
    {
        MbufHeader* header = mbuf.Header;
        uint length = _next.Length;
        uint first = Math.Min(length, _room);
        if (first < length && !Spread(mbuf, first))
            return false;
        Unsafe.CopyBlockUnaligned(header->BufAddr + header->DataOff, _next.Data, first);
        header->DataLen = (ushort)first;
        header->PktLen = length;
        header->Port = _port.Id;
        if (_stampOffset != 0)
        {
            *(ulong*)((byte*)header + _stampOffset) = _next.Nanoseconds;
            header->OlFlags |= _port.StampFlag;
        }
        if (length < _next.OriginalLength)
            _truncated++;
        return true;
    }

    /// <summary>Chains mbufs with the packet's bytes from <paramref name="at"/> on to its first one.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool Spread(Mbuf mbuf, uint at)
    {
        MbufHeader* head = mbuf.Header, last = head;
        ushort segments = 1;
        while (at < _next.Length)
        {
            if (!Pool.TryAlloc(out Mbuf more))
            {
                if (head->Next != null)
                {
                    head->Next->NbSegs = (ushort)(segments - 1);
                    new Mbuf(head->Next).Free();
                    head->Next = null;
                }
                return false;
            }
            uint part = Math.Min(_next.Length - at, _room);
            Unsafe.CopyBlockUnaligned(more.Header->BufAddr + more.Header->DataOff, _next.Data + at, part);
            more.Header->DataLen = (ushort)part;
            last->Next = more.Header;
            last = more.Header;
            at += part;
            segments++;
        }
        head->NbSegs = segments;
        return true;
    }
}
