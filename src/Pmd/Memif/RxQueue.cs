using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>What the receive queues of both ends share: their ring comes and goes, and what is not one plain buffer is
/// gathered here.</summary>
internal abstract unsafe class MemifRxQueue : RxQueue
{
    // Longest frame of all MTUs a port takes, and most descriptors of one: what a stranger can make us gather.
    private const uint MaxPacketBytes = 65_521 + Port.FrameOverheadBytes, MaxPieces = 1024;

    private readonly MemifPort _port;
    private readonly uint _limit;
    private readonly ulong _rearm;   // DataOff, RefCnt, NbSegs, Port of a received mbuf
    private RingHold<MemifRing> _hold;
    private SafeFileHandle? _wakeups;   // holds the connection's eventfd, so that the sleeper's set need not change
    private bool _interrupts, _unasked;

    protected MemifRxQueue(MemifPort port, int index, Mempool pool, RxQueueConfig config) : base(port, index, pool)
    {
        _port = port;
        Room = (uint)(pool.DataRoomBytes - Mbuf.DefaultHeadroom);
        _limit = (config.Offloads & RxOffloads.Scatter) != 0 ? MaxPacketBytes : Room;
        _rearm = Mbuf.DefaultHeadroom | 1ul << 16 | 1ul << 32 | (ulong)port.Id << 48;
    }

    /// <summary>Bytes a mbuf of the pool holds after its headroom.</summary>
    protected uint Room { get; }

    /// <summary>The other end broke the rules; the queue moves nothing until there is another connection.</summary>
    internal bool IsBroken { get; private set; }

    /// <inheritdoc/>
    public override string BurstMode => "vector 256";

    /// <inheritdoc/>
    public override SafeFileHandle? InterruptFd => _wakeups;

    /// <inheritdoc/>
    public override void EnableInterrupt()
    {
        if (_hold.Enter() is { } ring)
        {
            Volatile.Write(ref ring.Header->Flags, 0);
            Interlocked.MemoryBarrier();   // M2: pairs with the sender's before it looks at the flags
        }
        _hold.Leave();
    }

    /// <inheritdoc/>
    public override void DisableInterrupt()
    {
        if (_hold.Enter() is { } ring)
            Volatile.Write(ref ring.Header->Flags, MemifProtocol.RingFlagMaskInterrupt);
        _hold.Leave();
        // The eventfd is the other end's too, so it is not read, which could block: the set reports it once per signal.
        Span<epoll_event> one = stackalloc epoll_event[1];
        if (_wakeups != null)
            Epoll.Wait(_wakeups, one, 0);
    }

    /// <summary>The port starts.</summary>
    internal void Open(bool interrupts)
    {
        _interrupts = interrupts;
        _wakeups = interrupts ? Epoll.Create() : null;
    }

    /// <summary>The port stopped.</summary>
    internal void Close()
    {
        _wakeups?.Dispose();
        _wakeups = null;
    }

    /// <summary>Receives from a ring from now on; there was none.</summary>
    internal void Attach(MemifRing ring)
    {
        IsBroken = false;
        if (_wakeups != null)
        {
            Epoll.Add(_wakeups, ring.Signal, 0);
            Epoll.MakeEdge(_wakeups, ring.Signal, 0);
        }
        // Who may sleep begins unmasked, so that the sender knows from the start that it has to look (M2).
        _unasked = _interrupts;
        ring.Header->Flags = _interrupts ? (ushort)0 : MemifProtocol.RingFlagMaskInterrupt;
        Begin(ring);
        _hold.Set(ring);
    }

    /// <summary>Receives from no ring any more; no burst is in it when this returns.</summary>
    internal void Detach()
    {
        if (_hold.Ring is not { } ring)
            return;
        _hold.Set(null);
        if (_wakeups != null)
            Epoll.Remove(_wakeups, ring.Signal);
        End();
    }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        int received = 0;
        if (_hold.Enter() is { } ring && !IsBroken)
        {
            received = Take(ring, burst);
            if (_unasked && received > 0)
            {
                _unasked = false;   // whoever polls did not ask to be woken
                Volatile.Write(ref ring.Header->Flags, MemifProtocol.RingFlagMaskInterrupt);
            }
        }
        _hold.Leave();
        return received;
    }

    /// <summary>A ring is there: indexes begin at 0. Control path.</summary>
    protected abstract void Begin(MemifRing ring);

    /// <summary>It is gone: gives back what is in it. Control path.</summary>
    protected virtual void End() { }

    /// <summary>Receives from the ring, as <see cref="RxQueue.Receive"/> does.</summary>
    protected abstract int Take(MemifRing ring, Span<Mbuf> burst);

    /// <summary>Where a descriptor's bytes are, once it is sure that they are where they may be.</summary>
    /// <returns>Null where they are not.</returns>
    protected abstract byte* Locate(MemifRing ring, uint slot, MemifDesc desc);

    /// <summary>Writes the header of a mbuf with its data in place.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    protected void Fill(MbufHeader* mbuf, uint bytes)
    {
        Vector128.Create(_rearm, 0ul).Store((ulong*)&mbuf->RearmData);
        Vector128.Create((ulong)bytes << 32, bytes).Store((ulong*)&mbuf->PacketType);
    }

    /// <summary>Gives up on a ring that breaks the rules.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    protected void Break()
    {
        IsBroken = true;
        _port.ReportFault();
    }

    /// <summary>Gathers a packet of several buffers, or of one that is not plain.</summary>
    /// <param name="ring">The ring.</param>
    /// <param name="at">Its first descriptor's index.</param>
    /// <param name="waiting">Descriptors from there on, at least 1.</param>
    /// <param name="packet">The packet, null where it is dropped and counted.</param>
    /// <returns>Descriptors it took; 0: the rest of it is not there yet, or the ring is broken.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    protected uint Gather(MemifRing ring, uint at, uint waiting, out Mbuf packet)
    {
        packet = default;
        uint pieces = CountPieces(ring, at, waiting);
        if (pieces == 0)
            return 0;
        bool hasMbuf = Pool.TryAllocRawBulk(new Span<Mbuf>(ref packet)), isGood = pieces <= MaxPieces;
        if (hasMbuf)
            Fill(packet.Header, 0);
        MbufHeader* last = packet.Header;
        for (uint i = 0; i < pieces; i++)
        {
            uint slot = at + i & ring.Mask;
            MemifDesc desc = ring.Descs[slot];
            byte* from = Locate(ring, slot, desc);
            if (from == null)
            {
                Break();
                (isGood, pieces) = (false, 0);
                break;
            }
            isGood = isGood && desc.Length > 0 && desc.Length <= _limit - (hasMbuf ? packet.Header->PktLen : 0);
            hasMbuf = hasMbuf && (!isGood || TryAppend(packet.Header, ref last, from, desc.Length));
            // A client of DPDK 22.11 does not take the flag away itself when it uses the slot again.
            ring.Descs[slot].Flags = 0;
        }
        if (isGood && hasMbuf)
            return pieces;
        _ = isGood ? Stats->NoMbuf++ : Stats->Errors++;
        if (!packet.IsNull)
            packet.Free();
        packet = default;
        return pieces;
    }

    // Each flag is read once: whatever the sender writes over it, the packet has so many pieces.
    private uint CountPieces(MemifRing ring, uint at, uint waiting)
    {
        for (uint i = 0; i < waiting; i++)
            if ((ring.Descs[at + i & ring.Mask].Flags & MemifProtocol.DescFlagNext) == 0)
                return i + 1;
        if (waiting == ring.Size)
            Break();   // a packet longer than the ring never ends
        return 0;
    }

    private bool TryAppend(MbufHeader* head, ref MbufHeader* last, byte* from, uint bytes)
    {
        while (true)
        {
            uint part = Math.Min(bytes, Room - last->DataLen);
            MemifCopy.Copy(last->BufAddr + last->DataOff + last->DataLen, from, part);
            last->DataLen += (ushort)part;
            head->PktLen += part;
            from += part;
            bytes -= part;
            if (bytes == 0)
                return true;
            Mbuf next = default;
            if (!Pool.TryAllocRawBulk(new Span<Mbuf>(ref next)))
                return false;
            Fill(next.Header, 0);
            last->Next = next.Header;
            last = next.Header;
            head->NbSegs++;
        }
    }
}

/// <summary>A server's: takes packets out of the client's buffers. Its index is the tail, the client's the
/// head.</summary>
internal sealed unsafe class MemifServerRxQueue(MemifPort port, int index, Mempool pool, RxQueueConfig config)
    : MemifRxQueue(port, index, pool, config)
{
    private uint _tail, _head;   // ours, and the client's as last seen; both run over 2^16

    /// <inheritdoc/>
    protected override void Begin(MemifRing ring) => (_tail, _head) = (0, 0);

    /// <inheritdoc/>
    protected override byte* Locate(MemifRing ring, uint slot, MemifDesc desc)
    {
        if (desc.Region >= ring.RegionCount)
            return null;
        MemifRegion* region = ring.Regions + desc.Region;
        return (ulong)desc.Offset + desc.Length <= region->Bytes ? region->Address + desc.Offset : null;
    }

    /// <inheritdoc/>
    protected override int Take(MemifRing ring, Span<Mbuf> burst)
    {
        uint waiting = (ushort)(_head - _tail);
        if (waiting < (uint)burst.Length)
        {
            _head = Volatile.Read(ref ring.Header->Head);   // M1: pairs with the client's M0
            waiting = (ushort)(_head - _tail);
            if (waiting > ring.Size)
                Break();
            if (waiting == 0 || IsBroken)
                return 0;
        }
        int wanted = (int)Math.Min(waiting, (uint)burst.Length);
        if (!Pool.TryAllocRawBulk(burst[..wanted]))
        {
            Stats->NoMbuf += (uint)wanted;
            return 0;
        }
        int received = Copy(ring, burst[..wanted], waiting);
        if (received < wanted)
            Pool.PutRawBulk(burst[received..wanted]);
        Volatile.Write(ref ring.Header->Tail, (ushort)_tail);   // M3: the buffers are the client's again
        return received;
    }

    // Long, since packet after packet runs through it and each call would cost as much as a packet.
    private int Copy(MemifRing ring, Span<Mbuf> burst, uint waiting)
    {
        MemifDesc* descs = ring.Descs;
        uint mask = ring.Mask, tail = _tail, used = 0, room = Room;
        // Region by region: nearly always one.
        uint region = 0;
        byte* start = ring.Regions->Address;
        ulong most = ring.Regions->Bytes;
        for (uint i = 0; i < (uint)burst.Length; i++)
            MemifCopy.Prefetch(start + descs[tail + i & mask].Offset);
        ulong bytes = 0;
        int received = 0;
        while (received < burst.Length && used < waiting)
        {
            MemifDesc* desc = descs + (tail + used & mask);
            ulong low = desc->Low;   // once: the client may write it at any time
            uint offset = desc->Offset, length = (uint)(low >> 32);
            if ((uint)low >> 16 != region && (uint)low >> 16 < ring.RegionCount)
            {
                region = (uint)low >> 16;
                start = ring.Regions[region].Address;
                most = ring.Regions[region].Bytes;
            }
            if (((uint)low & (0xffff0000 | MemifProtocol.DescFlagNext)) == region << 16 && length - 1 < room
                && (ulong)offset + length <= most)
            {
                MbufHeader* mbuf = burst[received++].Header;
                Fill(mbuf, length);
                MemifCopy.Copy(mbuf->BufAddr + Mbuf.DefaultHeadroom, start + offset, length);
                bytes += length;
                used++;
                continue;
            }
            uint taken = Gather(ring, tail + used, waiting - used, out Mbuf packet);
            if (taken == 0)
                break;
            used += taken;
            if (packet.IsNull)
                continue;
            Pool.PutRawBulk(burst.Slice(received, 1));
            burst[received++] = packet;
            bytes += packet.Header->PktLen;
        }
        _tail = tail + used;
        Stats->Bytes += bytes;
        return received;
    }
}
