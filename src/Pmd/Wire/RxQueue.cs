using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>The receiving end of one lane.</summary>
internal sealed unsafe class WireRxQueue : RxQueue
{
    private readonly WirePort _port;
    private readonly WireCounts _counts;
    private readonly Mbuf[] _arrivals = new Mbuf[32]; // taken off the lane, due or not
    private readonly ushort _portId;
    private readonly bool _hash;
    private int _next, _count; // the part of _arrivals still to be delivered
    private Mbuf _late;        // being overtaken
    private bool _overtaken;   // it has been
    private Mbuf _twin;        // second copy of the packet just delivered

    internal WireRxQueue(WirePort port, int index, Mempool pool, Ring<Mbuf> lane, RxQueueConfig config)
        : base(port, index, pool)
    {
        _port = port;
        _counts = port.Counts[index];
        _portId = port.Id;
        _hash = (config.Offloads & RxOffloads.RssHash) != 0;
        Lane = lane;
    }

    /// <summary>What is under way to this queue.</summary>
    internal Ring<Mbuf> Lane { get; }

    /// <inheritdoc/>
    public override int WaitingCount => Lane.Count + _count - _next;

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        int received = _port.Stamped ? ReceiveDue(burst) : Lane.DequeueBurst(burst);
        uint limit = (uint)(_port.Mtu + Port.FrameOverheadBytes), longest = 0;
        ulong bytes = 0;
        foreach (Mbuf packet in burst[..received])
        {
            MbufHeader* header = packet.Header;
            header->Port = _portId;
            // where its data is; all else was for the sender
            header->OlFlags &= MbufFlags.Indirect | MbufFlags.External;
            bytes += header->PktLen;
            longest = Math.Max(longest, header->PktLen);
        }
        Stats->Bytes += bytes;
        if (longest > limit)
            received = DropLong(burst[..received], limit);
        if (_hash)
            SetHash(burst[..received]);
        return received;
    }

    /// <inheritdoc/>
    protected internal override void Drain()
    {
        Mbuf.FreeBulk(_arrivals.AsSpan(_next, _count - _next));
        Mbuf.FreeBulk([_late, _twin]);
        (_next, _count, _late, _overtaken, _twin) = (0, 0, default, false, default);
    }

    private int ReceiveDue(Span<Mbuf> burst)
    {
        ulong now = Tsc.Read();
        int received = 0;
        while (received < burst.Length)
        {
            if (!_twin.IsNull)
            {
                burst[received++] = _twin;
                _twin = default;
            }
            else if (_overtaken)
            {
                Mbuf packet = _late;
                (_late, _overtaken) = (default, false);
                burst[received++] = Deliver(packet);
            }
            else if (!Arrive())
            {
                if (_late.IsNull)
                    break;
                _overtaken = true; // nobody came to overtake it: it waits no longer
            }
            else
            {
                Mbuf packet = _arrivals[_next];
                var stamp = new WireStamp(packet.Header->TxOffload);
                if (stamp.Due > now)
                    break;
                _next++;
                if (stamp.Late && _late.IsNull)
                {
                    _late = packet;
                    continue;
                }
                burst[received++] = Deliver(packet);
                if (!_late.IsNull)
                {
                    _overtaken = true;
                    _counts.Late++;
                }
            }
        }
        return received;
    }

    private bool Arrive()
    {
        if (_next == _count)
            (_next, _count) = (0, Lane.DequeueBurst(_arrivals));
        return _next < _count;
    }

    private Mbuf Deliver(Mbuf packet)
    {
        bool twice = new WireStamp(packet.Header->TxOffload).Twice;
        packet.Header->TxOffload = 0;
        if (!twice)
            return packet;
        if (packet.TryCopy(Pool, 0, packet.PacketLength, out _twin))
            _counts.Twice++;
        else
            Stats->NoMbuf++;
        return packet;
    }

    private int DropLong(Span<Mbuf> burst, uint limit)
    {
        int kept = 0;
        foreach (Mbuf packet in burst)
        {
            if (packet.Header->PktLen <= limit)
            {
                burst[kept++] = packet;
                continue;
            }
            Stats->Bytes -= packet.Header->PktLen;
            Stats->Errors++;
            _counts.Oversize++;
            packet.Free();
        }
        return kept;
    }

    private void SetHash(ReadOnlySpan<Mbuf> burst)
    {
        bool spread = _port.Config.RxQueues > 1; // then the sender has hashed it to find this queue
        foreach (Mbuf packet in burst)
        {
            if (!spread)
                packet.Header->RssHash = RssHash.Compute(packet.Data);
            packet.Header->OlFlags |= MbufFlags.RxRssHash;
        }
    }
}
