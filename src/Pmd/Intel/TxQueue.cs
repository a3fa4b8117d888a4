using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>
/// A transmit queue of the family. The device reports what it has sent at every 32nd descriptor and at the last of each
/// burst, not for each packet; it is told of a burst once.
/// </summary>
internal sealed unsafe class IntelTxQueue<TFormat> : TxQueue, IIntelRing where TFormat : struct, ITxFormat
{
    /// <summary>Longest frame but for those to be cut up, and the longest of these.</summary>
    internal const uint MaxFrame = 9724, MaxSegmented = 0x3ffff;

    private const uint MinFrame = 17;        // the device pads, but not less than this
    private const int Report = 32;           // descriptors
    private const MbufFlags Checksums = MbufFlags.TxL4ChecksumMask | MbufFlags.TxIpChecksum | MbufFlags.TxTcpSegment;
    private const MbufFlags Requests = Checksums | MbufFlags.TxVlan;
    private const MbufFlags Impossible = MbufFlags.TxOffloadMask & ~(Requests | MbufFlags.TxIpv4 | MbufFlags.TxIpv6);

    private readonly Mmio _registers;
    private readonly RwReg32 _tailRegister;
    private readonly DmaAddressing _addressing;
    private readonly Memzone _zone;
    private readonly TxDescriptor* _ring;
    private readonly Mbuf* _mbufs;           // by descriptor: the packet that ends there
    private readonly ushort* _reports;       // descriptors that will be reported, oldest first
    private readonly uint _count;
    private readonly bool _fastFree;
    private bool _odd;                       // a descriptor in use may have no mbuf
    private uint _tail, _clean, _free;       // next to fill, oldest not freed, how many can be filled
    private uint _reportHead, _reportTail;   // oldest report, next one
    private uint _awaited;                   // reports between them
    private int _toReport = Report;          // descriptors until the next that is reported
    private ulong _contextLow, _contextHigh; // the one in force

    internal IntelTxQueue(Port port, IQueueDevice device, int index, TxQueueConfig config) : base(port, index)
    {
        _registers = device.Registers;
        _tailRegister = device.TxTail(index);
        DmaContainer container = device.Function.Container;
        _addressing = new DmaAddressing(container);
        _count = (uint)config.Descriptors;
        _fastFree = (config.Offloads & TxOffloads.FastFree) != 0;
        _zone = port.Eal.Memory.ReserveMemzone($"intel{port.Id}_tx{index}",
            _count * (nuint)(sizeof(TxDescriptor) + sizeof(Mbuf) + sizeof(ushort)), device.Function.Device.NumaNode,
            4096, iovaContiguous: true);
        _ring = (TxDescriptor*)_zone.Address;
        _mbufs = (Mbuf*)(_ring + _count);
        _reports = (ushort*)(_mbufs + _count);
        RingIova = container.ToIova(_ring).Value;
        Rewind();
    }

    /// <inheritdoc/>
    public ulong RingIova { get; }

    /// <inheritdoc/>
    public uint RingBytes => _count * (uint)sizeof(TxDescriptor);

    /// <inheritdoc/>
    public override string BurstMode => "scalar, 64 bits at a time";

    /// <inheritdoc/>
    public override int TxPrepare(ReadOnlySpan<Mbuf> packets)
    {
        for (int i = 0; i < packets.Length; i++)
        {
            MbufHeader* m = packets[i].Header;
            if (!IsSendable(m) || !ChecksumOffload.TryPrepare(packets[i]))
                return i;
        }
        return packets.Length;
    }

    /// <inheritdoc/>
    public override DescriptorStatus GetDescriptorStatus(int offset)
    {
        if ((uint)offset >= _count)
            return DescriptorStatus.Unavailable;
        uint used = _count - 1 - _free, ahead = (uint)offset;
        if (ahead <= _free)
            return ahead == _free && used != 0 ? DescriptorStatus.Unavailable : DescriptorStatus.Done;
        uint place = ahead - _free - 1;      // from the oldest
        for (uint report = _reportHead, left = _awaited; left != 0; report = Next(report), left--)
        {
            uint end = _reports[report], distance = end >= _clean ? end - _clean : end + _count - _clean;
            if (distance >= place)
                return IsSent(end) ? DescriptorStatus.Done : DescriptorStatus.WithDevice;
        }
        return DescriptorStatus.WithDevice;
    }

    /// <inheritdoc/>
    public override int ReclaimTx(int most = 0)
    {
        int freed = 0;
        while (_awaited != 0 && IsSent(_reports[_reportHead]))
        {
            uint end = _reports[_reportHead];
            for (bool last = false; !last;)
            {
                if (most != 0 && freed == most)
                    return freed;
                last = _clean == end;
                if (!_mbufs[_clean].IsNull)
                {
                    _mbufs[_clean].Free();
                    freed++;
                }
                _clean = Next(_clean);
                _free++;
            }
            EndReport();
        }
        return freed;
    }

    /// <summary>Makes the queue as new: the device begins at the first descriptor and knows no context.</summary>
    internal void Rewind()
    {
        (_tail, _clean, _free) = (0, 0, _count - 1);
        (_reportHead, _reportTail, _awaited, _toReport) = (0, 0, 0, Report);
        (_contextLow, _contextHigh, _odd) = (0, 0, false);
        new Span<TxDescriptor>(_ring, (int)_count).Clear();
    }

    /// <inheritdoc/>
    protected internal override void Drain()
    {
        for (; _clean != _tail; _clean = Next(_clean))
            if (!_mbufs[_clean].IsNull)
                _mbufs[_clean].Free();
        Rewind();
    }

    /// <inheritdoc/>
    protected internal override void Release() => Port.Eal.Memory.FreeMemzone(_zone);

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        if (_awaited > 1 || _free < packets.Length)
            Clean();
        uint start = _tail;
        int sent = SendPlain(packets);
        while (sent < packets.Length && !IsPlain(packets[sent].Header) && SendOther(packets[sent].Header))
        {
            sent++;
            sent += SendPlain(packets[sent..]);
        }
        if (_tail != start)
            Tell(_tail);
        return sent;
    }

    /// <summary>Fills descriptors of packets of one segment that ask for nothing, up to the first that is none.
    /// </summary>
    /// <returns>How many; fewer also when there is no more room.</returns>
    private int SendPlain(ReadOnlySpan<Mbuf> packets)
    {
        DmaAddressing addressing = _addressing;
        uint tail = _tail, most = Math.Min((uint)packets.Length, _free), done = 0;
        ulong bytes = 0;
        bool plain = true;
        while (plain && done < most)
        {
            // Up to the end of the ring, or to the next that is reported.
            uint run = Math.Min(Math.Min(most - done, _count - tail), (uint)Math.Max(_toReport, 1)), n = 0;
            ref Mbuf from = ref Unsafe.Add(ref MemoryMarshal.GetReference(packets), done);
            TxDescriptor* d = _ring + tail;
            for (; n < run; n++, d++)
            {
                MbufHeader* m = Unsafe.Add(ref from, n).Header;
                if (!(plain = IsPlain(m)))
                    break;
                uint length = m->PktLen;
                d->Address = addressing.Of(m, m->DataOff);
                d->Command = TFormat.PlainCommand | TxDescriptor.EndOfPacket | length
                    | (ulong)TFormat.PlainHigh(length) << 32;
                bytes += length;
            }
            MemoryMarshal.CreateReadOnlySpan(ref from, (int)n).CopyTo(new Span<Mbuf>(_mbufs + tail, (int)n));
            done += n;
            tail += n;
            _toReport -= (int)n;
            if (_toReport <= 0 && n != 0)
            {
                d[-1].Command |= TxDescriptor.ReportStatus;
                AddReport(tail - 1);
            }
            tail = tail == _count ? 0 : tail;
        }
        _tail = tail;
        _free -= done;
        Stats->Bytes += bytes;
        return (int)done;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsPlain(MbufHeader* m) => (m->OlFlags & (Requests | Impossible)) == 0 && m->NbSegs == 1
        && m->PktLen - MinFrame <= MaxFrame - MinFrame;

    /// <summary>Has the last descriptor reported, and tells the device of all up to it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Tell(uint tail)
    {
        if (_toReport != Report)
        {
            uint last = tail == 0 ? _count - 1 : tail - 1;
            _ring[last].Command |= TxDescriptor.ReportStatus;
            AddReport(last);
        }
        _registers.Write(_tailRegister, tail);       // I2: after the descriptors
    }

    private void AddReport(uint descriptor)
    {
        _reports[_reportTail] = (ushort)descriptor;
        _reportTail = Next(_reportTail);
        _awaited++;
        _toReport = Report;
    }

    private void EndReport()
    {
        _reportHead = Next(_reportHead);
        _awaited--;
    }

    /// <summary>Frees the packets of all reports that have come.</summary>
    private void Clean()
    {
        while (_awaited != 0)
        {
            uint end = _reports[_reportHead];
            if (!IsSent(end))
                return;
            EndReport();
            uint after = end + 1;
            if (after <= _clean)     // around the end
            {
                Free(_count - _clean);
                _free += _count - _clean;
                _clean = 0;
            }
            Free(after - _clean);
            _free += after - _clean;
            _clean = after == _count ? 0 : after;
        }
        if (_free == _count - 1)
            _odd = false;       // none is in use
    }

    /// <summary>Frees the mbufs of descriptors from the oldest on.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Free(uint count)
    {
        var packets = new ReadOnlySpan<Mbuf>(_mbufs + _clean, (int)count);
        if (!_fastFree || _odd)
            Mbuf.FreeBulk(packets);
        else
        {
            var pool = (MempoolHeader*)packets[0].Header->Pool;   // one for all, as the application promised
            MempoolCore.Put(pool, MempoolHeader.CurrentCache(pool),
                ref Unsafe.As<Mbuf, nint>(ref MemoryMarshal.GetReference(packets)), (uint)packets.Length);
        }
    }

    /// <summary>A packet with offloads or several segments, or one that cannot be sent.</summary>
    /// <returns>False when there is no room for it now.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool SendOther(MbufHeader* m)
    {
        uint needed = IsSendable(m) ? CountDescriptors(m) : uint.MaxValue;
        if (needed > _count - 2)     // one for a context, one the device must never get
        {
            Stats->Errors++;
            new Mbuf(m).Free();
            return true;
        }
        if (needed >= _free)
            Clean();
        if (needed >= _free)
            return false;
        TxRequest request = (m->OlFlags & Requests) != 0 ? TFormat.Describe(m)
            : new TxRequest { Command = TFormat.PlainCommand, High = TFormat.PlainHigh(m->PktLen) };
        if (request.HasContext && !(TFormat.KeepsContext && request.ContextLow == _contextLow
            && request.ContextHigh == _contextHigh))
        {
            (_contextLow, _contextHigh) = (request.ContextLow, request.ContextHigh);
            Put(request.ContextLow, request.ContextHigh);
        }
        uint last = 0;
        ulong command = request.Command | (ulong)request.High << 32;
        for (MbufHeader* segment = m; segment != null; segment = segment->Next)
        {
            uint offset = segment->DataOff;
            for (uint left = segment->DataLen, part; left != 0; left -= part, offset += part)
            {
                part = Math.Min(left, TFormat.MaxBytes);
                last = _tail;
                Put(_addressing.Of(segment, offset), command | part);
            }
        }
        _ring[last].Command |= TxDescriptor.EndOfPacket;
        _mbufs[last] = new Mbuf(m);
        Stats->Bytes += m->PktLen;
        if (_toReport <= 0)
        {
            _ring[last].Command |= TxDescriptor.ReportStatus;
            AddReport(last);
        }
        return true;
    }

    private void Put(ulong address, ulong command)
    {
        _ring[_tail].Address = address;
        _ring[_tail].Command = command;
        _mbufs[_tail] = default;
        _odd = true;
        _tail = Next(_tail);
        _free--;
        _toReport--;
    }

    private static uint CountDescriptors(MbufHeader* m)
    {
        uint count = 0;
        for (; m != null; m = m->Next)
            count += (m->DataLen + TFormat.MaxBytes - 1) / TFormat.MaxBytes;
        return count;
    }

    /// <summary>Whether the device can send it: an impossible request could stop its queue for good.</summary>
    private static bool IsSendable(MbufHeader* m)
    {
        bool segmented = (m->OlFlags & MbufFlags.TxTcpSegment) != 0;
        if ((m->OlFlags & Impossible) != 0
            || (m->OlFlags & MbufFlags.TxL4ChecksumMask) == MbufFlags.TxSctpChecksum)
            return false;
        if (m->PktLen < MinFrame || m->PktLen > (segmented ? MaxSegmented : MaxFrame))
            return false;
        if ((m->OlFlags & Checksums) == 0)
            return true;
        var mbuf = new Mbuf(m);
        int headers = mbuf.TxL2Length + mbuf.TxL3Length;
        if (mbuf.TxL2Length < 14 || mbuf.TxL3Length < 20 || headers >= m->DataLen)
            return false;
        return !segmented || mbuf.TxL4Length >= 20 && mbuf.TxSegmentSize != 0
            && headers + mbuf.TxL4Length <= m->DataLen && headers + mbuf.TxL4Length < m->PktLen
            && headers + mbuf.TxL4Length + mbuf.TxSegmentSize <= MaxFrame;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool IsSent(uint descriptor) => (Volatile.Read(ref _ring[descriptor].High) & TxDescriptor.Done) != 0;  // I3

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private uint Next(uint descriptor) => descriptor + 1 == _count ? 0 : descriptor + 1;
}
