using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Pmd;

/// <summary>
/// A client's: copies packets into its own buffers, or with zero-copy has the descriptors point at the packets, which
/// are kept until the server is done with them. Its index is the head, the server's the tail.
/// </summary>
internal sealed unsafe class MemifClientTxQueue(MemifPort port, int index) : MemifTxQueue(port, index)
{
    private Mbuf[] _kept = [];   // per slot with zero-copy: the packet that ends there, null in the other slots
    private uint _head, _tail;   // ours, and the server's as last seen; both run over 2^16
    private uint _freed;         // up to where packets kept were freed

    /// <inheritdoc/>
    protected override void Begin(MemifRing ring)
    {
        (_head, _tail, _freed) = (0, 0, 0);
        _kept = ring.IsShared ? new Mbuf[ring.Size] : [];
    }

    /// <inheritdoc/>
    protected override void End()
    {
        Mbuf.FreeBulk(_kept);
        _kept = [];
    }

    /// <inheritdoc/>
    protected override byte* Locate(MemifRing ring, uint slot, out uint room)
    {
        room = ring.BufferBytes;
        return ring.Buffers + slot * (nuint)ring.Stride;
    }

    /// <inheritdoc/>
    protected override void Describe(MemifRing ring, uint slot, uint bytes, bool goesOn)
    {
        ring.Descs[slot].High = ring.BuffersOffset + slot * ring.Stride;
        ring.Descs[slot].Low = MemifDesc.MakeLow(0, bytes, goesOn ? MemifProtocol.DescFlagNext : 0u);
    }

    /// <inheritdoc/>
    protected override int Reclaim(MemifRing ring)
    {
        if (!ring.IsShared || !SeeTail(ring))
            return 0;
        return FreeKept(ring);
    }

    /// <inheritdoc/>
    protected override int Put(MemifRing ring, ReadOnlySpan<Mbuf> packets)
    {
        if (ring.IsShared)
            return Share(ring, packets);
        uint free = ring.Size - (ushort)(_head - _tail);
        if (free < (uint)packets.Length)
        {
            if (!SeeTail(ring))
                return 0;
            free = ring.Size - (ushort)(_head - _tail);
        }
        MemifDesc* descs = ring.Descs;
        byte* buffers = ring.Buffers;
        uint mask = ring.Mask, head = _head, stride = ring.Stride, room = ring.BufferBytes;
        int sent = 0;
        ulong unsent = 0;
        while (sent < packets.Length && free > 0)
        {
            MbufHeader* mbuf = packets[sent].Header;
            uint length = mbuf->DataLen, slot = head & mask;
            if (mbuf->NbSegs == 1 && length - 1 < room)
            {
                MemifCopy.Copy(buffers + slot * (nuint)stride, mbuf->BufAddr + mbuf->DataOff, length);
                descs[slot].Low = MemifDesc.MakeLow(0, length);
                (sent, head, free) = (sent + 1, head + 1, free - 1);
                continue;
            }
            uint used = Spread(ring, head, free, mbuf);
            if (used == 0)
            {
                uint more = SeeTail(ring) ? ring.Size - (ushort)(head - _tail) : 0;
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
            (head, free) = (head + used, free - used);
        }
        _head = head;
        Volatile.Write(ref ring.Header->Head, (ushort)head);   // M0: the packets are there
        Stats->Bytes += Mbuf.FreeBulkCounted(packets[..sent]) - unsent;
        return sent;
    }

    private int Share(MemifRing ring, ReadOnlySpan<Mbuf> packets)
    {
        if (!SeeTail(ring))
            return 0;
        FreeKept(ring);
        uint free = ring.Size - (ushort)(_head - _tail), head = _head;
        ref Mbuf kept = ref MemoryMarshal.GetArrayDataReference(_kept);
        int sent = 0;
        ulong bytes = 0;
        while (sent < packets.Length && free > 0)
        {
            Mbuf packet = packets[sent];
            uint length = packet.Header->PktLen;
            uint used = packet.Header->NbSegs == 1 && length > 0 && TryPoint(ring, head & ring.Mask, packet.Header, 0)
                ? 1 : ShareOther(ring, head, free, packet);
            if (used == 0)
                break;
            sent++;
            if (used > ring.Size)
            {
                Stats->Errors++;
                packet.Free();
                continue;
            }
            (head, free) = (head + used, free - used);
            Unsafe.Add(ref kept, head - 1 & ring.Mask) = packet;
            bytes += length;
        }
        _head = head;
        Volatile.Write(ref ring.Header->Head, (ushort)head);   // M0: the packets are there
        Stats->Bytes += bytes;
        return sent;
    }

    // Several segments, one descriptor each; or, where one of them lies outside what is shared, copied.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private uint ShareOther(MemifRing ring, uint head, uint free, Mbuf packet)
    {
        uint used = 0;
        for (MbufHeader* segment = packet.Header; segment != null; segment = segment->Next)
        {
            if (used == free)
                return packet.Header->NbSegs > ring.Size ? ring.Size + 1 : 0;
            if (segment->DataLen == 0
                || !TryPoint(ring, head + used++ & ring.Mask, segment, segment->Next == null ? 0u
                    : MemifProtocol.DescFlagNext))
                return Spread(ring, head, free, packet.Header);
        }
        return used;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool TryPoint(MemifRing ring, uint slot, MbufHeader* segment, uint flags)
    {
        byte* data = segment->BufAddr + segment->DataOff;
        for (uint region = 1; region < ring.RegionCount; region++)
        {
            ulong offset = (ulong)(data - ring.Regions[region].Address);
            if (offset >= ring.Regions[region].Bytes || offset + segment->DataLen > ring.Regions[region].Bytes)
                continue;
            ring.Descs[slot].High = offset;
            ring.Descs[slot].Low = MemifDesc.MakeLow(region, segment->DataLen, flags);
            return true;
        }
        return false;
    }

    // False where the server broke the rules.
    private bool SeeTail(MemifRing ring)
    {
        uint tail = Volatile.Read(ref ring.Header->Tail);   // M1: pairs with the server's M3
        if ((ushort)(tail - _freed) <= (ushort)(_head - _freed))
        {
            _tail = tail;
            if (!ring.IsShared)
                _freed = tail;
            return true;
        }
        Break();
        return false;
    }

    private int FreeKept(MemifRing ring)
    {
        uint count = (ushort)(_tail - _freed);
        if (count == 0)
            return 0;
        uint first = _freed & ring.Mask, run = Math.Min(count, ring.Size - first);
        FreeSlots(_kept.AsSpan((int)first, (int)run));
        FreeSlots(_kept.AsSpan(0, (int)(count - run)));
        _freed = _tail;
        return (int)count;
    }

    private static void FreeSlots(Span<Mbuf> slots)
    {
        Mbuf.FreeBulk(slots);
        slots.Clear();
    }
}
