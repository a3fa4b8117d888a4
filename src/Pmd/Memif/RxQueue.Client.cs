using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Pmd;

/// <summary>
/// A client's: the ring is always full of buffers for the server to fill. Its index is the head, always a ring's size
/// ahead of what was received; the server's is the tail. With zero-copy the buffers are mbufs, which are handed on and
/// replaced.
/// </summary>
internal sealed unsafe class MemifClientRxQueue(MemifPort port, int index, Mempool pool, RxQueueConfig config)
    : MemifRxQueue(port, index, pool, config, isServer: false)
{
    private Mbuf[] _posted = [];   // per slot with zero-copy: the mbuf in it, null: the slot's own buffer

    /// <inheritdoc/>
    protected override void Begin(MemifRing ring)
    {
        _posted = ring.IsShared ? new Mbuf[ring.Size] : [];
        for (uint slot = 0; slot < ring.Size; slot++)
        {
            ring.PointAtOwn(slot);
            if (ring.IsShared)
                Post(ring, slot);
        }
        Volatile.Write(ref ring.Header->Head, (ushort)ring.Size);   // M0
    }

    /// <inheritdoc/>
    protected override void End()
    {
        Mbuf.FreeBulk(_posted);
        _posted = [];
    }

    /// <inheritdoc/>
    protected override byte* Locate(MemifRing ring, uint slot, MemifDesc desc)
    {
        Mbuf posted = ring.IsShared ? _posted[slot] : default;
        uint most = posted.IsNull ? ring.BufferBytes : Room;
        return desc.Length > most ? null
            : posted.IsNull ? ring.Buffers + slot * ring.Stride : posted.Header->BufAddr + Mbuf.DefaultHeadroom;
    }

    /// <inheritdoc/>
    protected override int Take(MemifRing ring, Span<Mbuf> burst, uint waiting) =>
        ring.IsShared ? Exchange(ring, burst, waiting) : Copy(ring, burst, waiting);

    private int Copy(MemifRing ring, Span<Mbuf> burst, uint waiting)
    {
        MemifDesc* descs = ring.Descs;
        byte* buffers = ring.Buffers;
        uint mask = ring.Mask, at = Taken, used = 0, stride = ring.Stride;
        uint most = Math.Min(ring.BufferBytes, Room);
        ulong fresh = MemifDesc.MakeLow(0, ring.BufferBytes), bytes = 0;
        for (uint i = 0; i < (uint)burst.Length; i++)
            MemifCopy.Prefetch(buffers + (at + i & mask) * (nuint)stride);
        int received = 0;
        while (received < burst.Length && used < waiting)
        {
            uint slot = at + used & mask;
            ulong low = descs[slot].Low;   // once: the server may write it at any time
            uint length = (uint)(low >> 32);
            if (((uint)low & MemifProtocol.DescFlagNext) == 0 && length - 1 < most)
            {
                MbufHeader* mbuf = burst[received++].Header;
                Fill(mbuf, length);
                MemifCopy.Copy(mbuf->BufAddr + Mbuf.DefaultHeadroom, buffers + slot * (nuint)stride, length);
                descs[slot].Low = fresh;
                bytes += length;
                used++;
                continue;
            }
            uint taken = Gather(ring, at + used, waiting - used, ref burst[received], out uint gathered);
            if (taken == 0)
                break;
            for (uint i = 0; i < taken; i++)
                ring.PointAtOwn(at + used + i & mask);
            used += taken;
            received += gathered != 0 ? 1 : 0;
            bytes += gathered;
        }
        Taken = at + used;
        Stats->Bytes += bytes;
        return received;
    }

    // The mbuf the server filled goes to the caller, the fresh one of the burst into its place.
    private int Exchange(MemifRing ring, Span<Mbuf> burst, uint waiting)
    {
        MemifDesc* descs = ring.Descs;
        ref Mbuf posted = ref MemoryMarshal.GetArrayDataReference(_posted);
        uint mask = ring.Mask, at = Taken, used = 0, room = Room;
        ulong bytes = 0;
        int received = 0;
        while (received < burst.Length && used < waiting)
        {
            uint slot = at + used & mask;
            ulong low = descs[slot].Low;
            uint length = (uint)(low >> 32);
            ref Mbuf full = ref Unsafe.Add(ref posted, slot);
            Mbuf fresh = burst[received];
            if (((uint)low & MemifProtocol.DescFlagNext) == 0 && !full.IsNull && length - 1 < room
                && TryPoint(ring, slot, fresh))
            {
                Fill(full.Header, length);
                burst[received++] = full;
                full = fresh;
                bytes += length;
                used++;
                continue;
            }
            uint taken = Gather(ring, at + used, waiting - used, ref burst[received], out uint gathered);
            if (taken == 0)
                break;
            for (uint i = 0; i < taken; i++)
                Post(ring, at + used + i & mask);
            used += taken;
            received += gathered != 0 ? 1 : 0;
            bytes += gathered;
        }
        Taken = at + used;
        Stats->Bytes += bytes;
        return received;
    }

    // Makes a slot ready: with the mbuf it has, else with a fresh one, else with its own buffer.
    private void Post(MemifRing ring, uint slot)
    {
        if (_posted[slot].IsNull && Pool.TryAllocRawBulk(_posted.AsSpan((int)slot, 1))
            && !TryPoint(ring, slot, _posted[slot]))
        {
            Pool.PutRawBulk(_posted.AsSpan((int)slot, 1));
            _posted[slot] = default;
        }
        if (_posted[slot].IsNull || !TryPoint(ring, slot, _posted[slot]))
            ring.PointAtOwn(slot);
    }

    /// <summary>Makes a descriptor point at a mbuf's buffer, where the server can reach it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryPoint(MemifRing ring, uint slot, Mbuf mbuf)
    {
        byte* data = mbuf.Header->BufAddr + Mbuf.DefaultHeadroom;
        for (uint region = 1; region < ring.RegionCount; region++)
        {
            ulong offset = (ulong)(data - ring.Regions[region].Address);
            if (offset >= ring.Regions[region].Bytes || offset + Room > ring.Regions[region].Bytes)
                continue;
            ring.Descs[slot].High = offset;
            ring.Descs[slot].Low = MemifDesc.MakeLow(region, Room);
            return true;
        }
        return false;
    }
}
