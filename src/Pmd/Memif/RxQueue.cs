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
    // A server's index is the tail and the client's the head; a client's are the other way round, and its own is a
    // ring's size ahead, since it supplies the buffers.
    private readonly bool _isServer;
    private bool _interrupts, _unasked;
    private uint _seen;   // the sender's index as last seen; runs over 2^16

    protected MemifRxQueue(MemifPort port, int index, Mempool pool, RxQueueConfig config, bool isServer)
        : base(port, index, pool)
    {
        _isServer = isServer;
        _port = port;
        Room = (uint)(pool.DataRoomBytes - Mbuf.DefaultHeadroom);
        _limit = (config.Offloads & RxOffloads.Scatter) != 0 ? MaxPacketBytes : Room;
        _rearm = Mbuf.DefaultHeadroom | 1ul << 16 | 1ul << 32 | (ulong)port.Id << 48;
    }

    /// <summary>Bytes a mbuf of the pool holds after its headroom.</summary>
    protected uint Room { get; }

    /// <summary>Descriptors taken so far; runs over 2^16.</summary>
    protected uint Taken { get; set; }

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
        Taken = _seen = 0;
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
    protected virtual void Begin(MemifRing ring) { }

    /// <summary>It is gone: gives back what is in it. Control path.</summary>
    protected virtual void End() { }

    /// <summary>Makes packets of what waits in the ring.</summary>
    /// <param name="ring">The ring.</param>
    /// <param name="burst">Fresh mbufs; the packets go into their places.</param>
    /// <param name="waiting">Descriptors from <see cref="Taken"/> on, at least as many as mbufs.</param>
    /// <returns>Packets.</returns>
    protected abstract int Take(MemifRing ring, Span<Mbuf> burst, uint waiting);

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
    /// <param name="fresh">A fresh mbuf; the packet in its place, which it goes back to the pool for.</param>
    /// <param name="bytes">The packet's; 0 where it is dropped and counted, and the mbuf stays.</param>
    /// <returns>Descriptors it took; 0: the rest of it is not there yet, or the ring is broken.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    protected uint Gather(MemifRing ring, uint at, uint waiting, ref Mbuf fresh, out uint bytes)
    {
        bytes = 0;
        uint pieces = CountPieces(ring, at, waiting);
        if (pieces == 0)
            return 0;
        Mbuf packet = default;
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
        {
            Pool.PutRawBulk(new Span<Mbuf>(ref fresh));
            fresh = packet;
            bytes = packet.Header->PktLen;
            return pieces;
        }
        _ = isGood ? Stats->NoMbuf++ : Stats->Errors++;
        if (!packet.IsNull)
            packet.Free();
        return pieces;
    }

    private int Take(MemifRing ring, Span<Mbuf> burst)
    {
        uint waiting = (ushort)(_seen - Taken);
        if (waiting < (uint)burst.Length)
        {
            MemifRingHeader* header = ring.Header;
            _seen = Volatile.Read(ref _isServer ? ref header->Head : ref header->Tail);   // M1: pairs with M0
            waiting = (ushort)(_seen - Taken);
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
        int received = Take(ring, burst[..wanted], waiting);
        if (received < wanted)
            Pool.PutRawBulk(burst[received..wanted]);
        // M3: a server's buffers are the client's again, a client's are for the server to fill.
        if (_isServer)
            Volatile.Write(ref ring.Header->Tail, (ushort)Taken);
        else
            Volatile.Write(ref ring.Header->Head, (ushort)(Taken + ring.Size));
        return received;
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
    : MemifRxQueue(port, index, pool, config, isServer: true)
{
    /// <inheritdoc/>
    protected override byte* Locate(MemifRing ring, uint slot, MemifDesc desc)
    {
        if (desc.Region >= ring.RegionCount)
            return null;
        MemifRegion* region = ring.Regions + desc.Region;
        return (ulong)desc.Offset + desc.Length <= region->Bytes ? region->Address + desc.Offset : null;
    }

    /// <inheritdoc/>
    /// <remarks>Long, since packet after packet runs through it and each call would cost as much as a
    /// packet.</remarks>
    protected override int Take(MemifRing ring, Span<Mbuf> burst, uint waiting)
    {
        MemifDesc* descs = ring.Descs;
        uint mask = ring.Mask, tail = Taken, used = 0, room = Room;
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
            uint taken = Gather(ring, tail + used, waiting - used, ref burst[received], out uint gathered);
            if (taken == 0)
                break;
            used += taken;
            received += gathered != 0 ? 1 : 0;
            bytes += gathered;
        }
        Taken = tail + used;
        Stats->Bytes += bytes;
        return received;
    }
}
