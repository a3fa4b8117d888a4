using System.Runtime.CompilerServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>What the transmit queues of both ends share: their ring comes and goes, and packets that do not fit one
/// buffer are spread here.</summary>
internal abstract unsafe class MemifTxQueue(MemifPort port, int index) : TxQueue(port, index)
{
    private readonly MemifPort _port = port;
    private RingHold<MemifRing> _hold;
    private bool _receiverSleeps;   // the receiver asked for a signal once on this connection: it may do so again

    /// <summary>The other end broke the rules; the queue moves nothing until there is another connection.</summary>
    internal bool IsBroken { get; private set; }

    /// <inheritdoc/>
    public override string BurstMode => "vector 256";

    /// <summary>Sends into a ring from now on; there was none.</summary>
    internal void Attach(MemifRing ring)
    {
        IsBroken = _receiverSleeps = false;
        Begin(ring);
        _hold.Set(ring);
    }

    /// <summary>Sends into no ring any more; no burst is in it when this returns.</summary>
    internal void Detach()
    {
        if (_hold.Ring == null)
            return;
        _hold.Set(null);
        End();
    }

    /// <inheritdoc/>
    public override int ReclaimTx(int most = 0)
    {
        int freed = _hold.Enter() is { } ring && !IsBroken ? Reclaim(ring) : 0;
        _hold.Leave();
        return freed;
    }

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        int sent = 0;
        if (_hold.Enter() is { } ring && !IsBroken)
        {
            sent = Put(ring, packets);
            if (sent > 0)
                TellReceiver(ring);
        }
        _hold.Leave();
        return sent;
    }

    /// <summary>A ring is there: indexes begin at 0. Control path.</summary>
    protected abstract void Begin(MemifRing ring);

    /// <summary>It is gone: gives back what is in it. Control path.</summary>
    protected virtual void End() { }

    /// <summary>Gives back mbufs that the receiver is done with.</summary>
    /// <returns>How many packets.</returns>
    protected virtual int Reclaim(MemifRing ring) => 0;

    /// <summary>Sends into the ring, as <see cref="TxQueue.Transmit"/> does.</summary>
    protected abstract int Put(MemifRing ring, ReadOnlySpan<Mbuf> packets);

    /// <summary>Where a free slot's bytes go and how many fit, once it is sure that they may.</summary>
    /// <returns>Null where they may not.</returns>
    protected abstract byte* Locate(MemifRing ring, uint slot, out uint room);

    /// <summary>Writes what a slot's buffer holds.</summary>
    protected abstract void Describe(MemifRing ring, uint slot, uint bytes, bool goesOn);

    /// <summary>Gives up on a ring that breaks the rules.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    protected void Break()
    {
        IsBroken = true;
        _port.ReportFault();
    }

    /// <summary>Spreads a packet over as many slots as it takes.</summary>
    /// <param name="ring">The ring.</param>
    /// <param name="at">The first free slot's index.</param>
    /// <param name="free">Free slots.</param>
    /// <param name="packet">Stays the caller's.</param>
    /// <returns>Slots it takes; 0: there are too few now, or the ring is broken; the ring's size + 1: there will never
    /// be enough.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    protected uint Spread(MemifRing ring, uint at, uint free, MbufHeader* packet)
    {
        uint used = 0, room = 0, filled = 0;
        byte* to = null;
        for (MbufHeader* segment = packet; segment != null; segment = segment->Next)
        {
            byte* from = segment->BufAddr + segment->DataOff;
            for (uint left = segment->DataLen; left > 0;)
            {
                if (filled == room)
                {
                    if (to != null)
                        Describe(ring, at + used - 1 & ring.Mask, filled, goesOn: true);
                    if (used == free)
                        return free == ring.Size ? ring.Size + 1 : 0;
                    to = Locate(ring, at + used++ & ring.Mask, out room);
                    filled = 0;
                    if (to == null || room == 0)
                    {
                        Break();
                        return 0;
                    }
                }
                uint part = Math.Min(left, room - filled);
                MemifCopy.Copy(to + filled, from, part);
                filled += part;
                from += part;
                left -= part;
            }
        }
        if (to == null)
            return ring.Size + 1;   // an empty packet
        Describe(ring, at + used - 1 & ring.Mask, filled, goesOn: false);
        return used;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void TellReceiver(MemifRing ring)
    {
        if (_receiverSleeps)
            Interlocked.MemoryBarrier();   // M2: pairs with the receiver's before its last look at the ring
        if ((Volatile.Read(ref ring.Header->Flags) & MemifProtocol.RingFlagMaskInterrupt) == 0)
            WakeReceiver(ring);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void WakeReceiver(MemifRing ring)
    {
        _receiverSleeps = true;
        Eventfd.Signal(ring.Signal);
    }
}

/// <summary>A server's: copies packets into the buffers that the client supplies. Its index is the tail, the client's
/// the head.</summary>
internal sealed unsafe class MemifServerTxQueue(MemifPort port, int index) : MemifTxQueue(port, index)
{
    private uint _tail, _head;   // ours, and the client's as last seen; both run over 2^16

    /// <inheritdoc/>
    protected override void Begin(MemifRing ring) => (_tail, _head) = (0, 0);

    /// <inheritdoc/>
    protected override byte* Locate(MemifRing ring, uint slot, out uint room)
    {
        MemifDesc desc = ring.Descs[slot];
        room = desc.Length;
        if (desc.Region >= ring.RegionCount)
            return null;
        MemifRegion* region = ring.Regions + desc.Region;
        return (ulong)desc.Offset + desc.Length <= region->Bytes ? region->Address + desc.Offset : null;
    }

    /// <inheritdoc/>
    protected override void Describe(MemifRing ring, uint slot, uint bytes, bool goesOn)
    {
        ring.Descs[slot].Length = bytes;
        ring.Descs[slot].Flags = goesOn ? MemifProtocol.DescFlagNext : (ushort)0;
    }

    /// <inheritdoc/>
    protected override int Put(MemifRing ring, ReadOnlySpan<Mbuf> packets)
    {
        MemifDesc* descs = ring.Descs;
        uint mask = ring.Mask, tail = _tail, free = (ushort)(_head - tail);
        if (free < (uint)packets.Length)
        {
            free = SeeHead(ring, tail);
            if (free == 0)
                return 0;
        }
        uint region = 0;
        byte* start = ring.Regions->Address;
        ulong most = ring.Regions->Bytes;
        uint ahead = Math.Min(free, (uint)packets.Length);
        for (uint i = 0; i < ahead; i++)
            MemifCopy.Prefetch(start + descs[tail + i & mask].Offset);
        int sent = 0;
        ulong unsent = 0;
        while (sent < packets.Length && free > 0)
        {
            MbufHeader* mbuf = packets[sent].Header;
            MemifDesc* desc = descs + (tail & mask);
            ulong low = desc->Low;   // once: the client may write it at any time
            uint offset = desc->Offset, room = (uint)(low >> 32), length = mbuf->DataLen;
            if ((ushort)(low >> 16) != region && (ushort)(low >> 16) < ring.RegionCount)
            {
                region = (ushort)(low >> 16);
                start = ring.Regions[region].Address;
                most = ring.Regions[region].Bytes;
            }
            if (mbuf->NbSegs == 1 && length - 1 < room && (ushort)(low >> 16) == region
                && (ulong)offset + length <= most)
            {
                MemifCopy.Copy(start + offset, mbuf->BufAddr + mbuf->DataOff, length);
                desc->Low = MemifDesc.MakeLow(region, length);
                (sent, tail, free) = (sent + 1, tail + 1, free - 1);
                continue;
            }
            uint used = Spread(ring, tail, free, mbuf);
            if (used == 0)
            {
                uint more = IsBroken ? 0u : SeeHead(ring, tail);
                if (more <= free)
                    break;
                free = more;
                continue;
            }
            sent++;
            if (used > ring.Size)
            {
                Stats->Errors++;
                unsent += mbuf->PktLen;
                continue;
            }
            (tail, free) = (tail + used, free - used);
        }
        _tail = tail;
        Volatile.Write(ref ring.Header->Tail, (ushort)tail);   // M0: the packets are there
        Stats->Bytes += Mbuf.FreeBulkCounted(packets[..sent]) - unsent;
        return sent;
    }

    // Free slots; none where the client broke the rules.
    private uint SeeHead(MemifRing ring, uint tail)
    {
        _head = Volatile.Read(ref ring.Header->Head);   // M1: pairs with the client's M3
        uint free = (ushort)(_head - tail);
        if (free <= ring.Size)
            return free;
        Break();
        return 0;
    }
}
