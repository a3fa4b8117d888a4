using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>The packed layout: one ring of descriptors that both sides write. VIRTIO 1.2 §2.8.</summary>
/// <remarks>
/// The first descriptor of what was added since the last <see cref="Publish"/> keeps its old flags until then: a device
/// stops at it and sees none of those behind.
/// </remarks>
internal sealed unsafe class PackedVirtqueue : Virtqueue
{
    private const ushort Avail = 1 << VirtioRing.VRING_PACKED_DESC_F_AVAIL,
        Used = 1 << VirtioRing.VRING_PACKED_DESC_F_USED;

    private const int FlagsShift = 48, IdShift = 32;   // in the second word of a descriptor

    private readonly vring_packed_desc* _ring;
    private readonly vring_packed_desc_event* _driverEvent, _deviceEvent;
    private uint _next;               // place of the next descriptor to add
    private ushort _nextFlags = Avail; // those that make one there available
    private uint _lastUsed;           // place of the next used one
    private ushort _usedFlags = Avail | Used; // those that say so
    private uint _heldAt;             // what is added and not published begins here, if anything is
    private ushort _heldFlags;
    private uint _held;               // descriptors added and not published
    private uint _batchEnd = NoBatch; // id a batch under way ends with
    private uint _batchLength;

    private const uint NoBatch = uint.MaxValue;

    internal PackedVirtqueue(int index, VirtqueueLayout layout, byte* memory, ulong memoryIova, ulong features)
        : base(index, layout, memory, memoryIova, features)
    {
        _ring = (vring_packed_desc*)memory;
        _driverEvent = (vring_packed_desc_event*)(memory + layout.DriverOffset);
        _deviceEvent = (vring_packed_desc_event*)(memory + layout.DeviceOffset);
        DisableInterrupt();
    }

    /// <inheritdoc/>
    internal override uint NotificationData =>
        (uint)Index | _next << 16 | ((_nextFlags & Avail) != 0 ? 1u << 31 : 0);

    /// <inheritdoc/>
    /// <remarks>Without a device nothing more becomes used, so the place stays while the queue's thread takes what is;
    /// only the way there changes, and is then gone again.</remarks>
    internal override uint DevicePosition
    {
        get
        {
            uint at, from, batch;
            ushort flags;
            do
            {
                (at, flags) = (from = Volatile.Read(ref _lastUsed), Volatile.Read(ref _usedFlags));
                batch = Volatile.Read(ref _batchEnd);
                SkipUsed(ref at, ref flags, batch, Size);
            }
            while (Volatile.Read(ref _lastUsed) != from || Volatile.Read(ref _batchEnd) != batch);
            uint position = at | ((flags & Used) != 0 ? 1u << VirtioRing.VRING_PACKED_EVENT_F_WRAP_CTR : 0);
            return position | position << 16;
        }
    }

    /// <inheritdoc/>
    internal override bool HasUsed => _batchEnd != NoBatch
        || (Volatile.Read(ref _ring[_lastUsed].flags) & (Avail | Used)) == _usedFlags;   // V1

    /// <inheritdoc/>
    internal override int CountUsed(int most)
    {
        uint at = _lastUsed;
        ushort flags = _usedFlags;
        return SkipUsed(ref at, ref flags, _batchEnd, Math.Min(most, (int)InFlight));
    }

    /// <summary>Walks over buffers that are used and not taken, those of a batch whose first descriptor alone says so
    /// too.</summary>
    /// <returns>How many.</returns>
    private int SkipUsed(ref uint at, ref ushort flags, uint batchEnd, int most)
    {
        int count = 0;
        uint free = FreeTail, end = batchEnd == NoBatch ? NoBatch : batchEnd & Mask;
        for (; count < most; count++)
        {
            if (end == NoBatch)
            {
                ulong word = Volatile.Read(ref Word(at));   // V1
                if (((uint)(word >> FlagsShift) & (Avail | Used)) != flags)
                    break;
                end = (uint)(word >> IdShift) & Mask;
            }
            uint id = InOrder ? FreeIds[free++ & Mask] : end;
            Step(ref at, ref flags, Math.Max(1u, Counts[id]), Avail | Used);
            if (id == end)
                end = NoBatch;
        }
        return count;
    }

    /// <inheritdoc/>
    internal override int Take(Span<nint> cookies, Span<uint> lengths)
    {
        if (Fault != VirtqueueFault.None)
            return 0;
        if (Chained != 0 || InOrder)
            return TakeWithCare(cookies, lengths);
        ref nint cookie = ref MemoryMarshal.GetReference(cookies);
        ref uint length = ref MemoryMarshal.GetReference(lengths);
        nint* table = Cookies;
        ushort* freeIds = FreeIds;
        uint mask = Mask, at = _lastUsed, tail = FreeTail, flags = _usedFlags;
        bool wanted = !lengths.IsEmpty;
        int taken = 0;
        while (taken < cookies.Length)
        {
            // Length, id and flags are one word, so what is read beside the flags is what was written before them.
            ulong word = Volatile.Read(ref Word(at));   // V1
            if (((uint)(word >> FlagsShift) & (Avail | Used)) != flags)
                break;
            uint id = (uint)(word >> IdShift) & 0xffff;
            if (id > mask || table[id] == 0)
            {
                Break(id > mask ? VirtqueueFault.BadId : VirtqueueFault.NotInFlight);
                break;
            }
            Unsafe.Add(ref cookie, taken) = table[id];
            if (wanted)
                Unsafe.Add(ref length, taken) = (uint)word;
            table[id] = 0;
            freeIds[tail++ & mask] = (ushort)id;
            taken++;
            at = (at + 1) & mask;
            if (at == 0)
                flags ^= Avail | Used;
        }
        _lastUsed = at;
        _usedFlags = (ushort)flags;
        FreeTail = tail;
        FreeSlots += (uint)taken;
        InFlight -= (uint)taken;
        return taken;
    }

    /// <inheritdoc/>
    internal override void AddWritable(ReadOnlySpan<Mbuf> mbufs, in DmaAddressing addressing, uint offset, uint length)
    {
        WholeLength = length;
        DmaAddressing to = addressing;
        uint id = FreeHead;
        foreach (Mbuf mbuf in mbufs)
            Put(mbuf.Header, id++, to.Of(mbuf.Header, offset), length, VirtioRing.VRING_DESC_F_WRITE);
        Claim((uint)mbufs.Length);
    }

    /// <inheritdoc/>
    internal override void AddReadable(ReadOnlySpan<Mbuf> mbufs, in DmaAddressing addressing, uint headerBytes)
    {
        DmaAddressing to = addressing;
        uint id = FreeHead;
        foreach (Mbuf mbuf in mbufs)
        {
            MbufHeader* header = mbuf.Header;
            Put(header, id++, to.Of(header, header->DataOff - headerBytes), header->DataLen + headerBytes, 0);
        }
        Claim((uint)mbufs.Length);
    }

    /// <inheritdoc/>
    internal override bool TryAddChain(ReadOnlySpan<VirtioPart> parts, int writable, nint cookie)
    {
        bool indirect = parts.Length > 1 && parts.Length <= IndirectParts;
        uint slots = indirect ? 1 : (uint)parts.Length;
        if (slots > FreeSlots || slots == 0)
            return false;
        uint id = NextId;
        if (indirect)
        {
            var table = (vring_packed_desc*)IndirectTable(id, out ulong iova);
            for (int i = 0; i < parts.Length; i++)
                table[i] = new()
                    { addr = parts[i].Address, len = parts[i].Length, flags = Direction(parts, i, writable) };
            Write(id, iova, (uint)parts.Length * (uint)sizeof(vring_packed_desc), VirtioRing.VRING_DESC_F_INDIRECT);
        }
        else
        {
            for (int i = 0; i < parts.Length; i++)
                Write(id, parts[i].Address, parts[i].Length, (ushort)(Direction(parts, i, writable)
                    | (i == parts.Length - 1 ? 0 : VirtioRing.VRING_DESC_F_NEXT)));
        }
        Counts[id] = (ushort)slots;
        Cookies[id] = cookie;
        FreeHead++;
        FreeSlots -= slots;
        InFlight++;
        Chained += slots > 1 ? 1u : 0;
        return true;
    }

    /// <inheritdoc/>
    internal override void Publish()
    {
        if (_held == 0)
            return;
        Volatile.Write(ref _ring[_heldAt].flags, _heldFlags);   // V0
        _held = 0;
    }

    /// <inheritdoc/>
    /// <remarks>§2.8.10 asks for a notification when the place the device waits for is among those published since the
    /// last look. Here one is sent unless that place is ahead, among those that can be added before the device uses
    /// more: QEMU 10 goes on from the place it told of, round the whole ring if that is full, and sleeps without
    /// telling of another (virtio_net_tx_complete), so it would never wake. A device that has enough to do says
    /// DISABLE.</remarks>
    internal override bool ShouldNotify()
    {
        Interlocked.MemoryBarrier();   // V2: descriptors are out before we look whether the device sleeps
        vring_packed_desc_event wanted;
        *(uint*)&wanted = Volatile.Read(ref *(uint*)_deviceEvent);
        if (wanted.flags != VirtioRing.VRING_PACKED_EVENT_FLAG_DESC)
            return wanted.flags == VirtioRing.VRING_PACKED_EVENT_FLAG_ENABLE;
        // Places of both rounds as one ring of twice the size: one ahead by more than is free was passed long ago.
        uint size = (uint)Size, place = wanted.off_wrap & ~(1u << VirtioRing.VRING_PACKED_EVENT_F_WRAP_CTR);
        bool sameRound = wanted.off_wrap >> VirtioRing.VRING_PACKED_EVENT_F_WRAP_CTR != 0
            == ((_nextFlags & Avail) != 0);
        uint ahead = (place - _next + (sameRound ? 0 : size)) & (2 * size - 1);
        return ahead >= FreeSlots;
    }

    /// <inheritdoc/>
    internal override void EnableInterrupt()
    {
        if (EventIndex)
        {
            ushort wrap = (ushort)((_usedFlags & Used) != 0 ? 1 << VirtioRing.VRING_PACKED_EVENT_F_WRAP_CTR : 0);
            Volatile.Write(ref _driverEvent->off_wrap, (ushort)(_lastUsed | wrap));
            Volatile.Write(ref _driverEvent->flags, VirtioRing.VRING_PACKED_EVENT_FLAG_DESC);
        }
        else
            Volatile.Write(ref _driverEvent->flags, VirtioRing.VRING_PACKED_EVENT_FLAG_ENABLE);
        Interlocked.MemoryBarrier();   // V2
    }

    /// <inheritdoc/>
    internal override void DisableInterrupt() =>
        Volatile.Write(ref _driverEvent->flags, VirtioRing.VRING_PACKED_EVENT_FLAG_DISABLE);

    private ref ulong Word(uint at) => ref *(ulong*)&_ring[at].len;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Put(MbufHeader* mbuf, uint idAt, ulong address, uint length, ushort flags)
    {
        ushort id = FreeIds[idAt & Mask];
        Cookies[id] = (nint)mbuf;
        Write(id, address, length, flags);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Write(uint id, ulong address, uint length, ushort flags)
    {
        vring_packed_desc* descriptor = _ring + _next;
        uint all = (uint)flags | _nextFlags;
        if (_held++ == 0)
        {
            descriptor->addr = address;
            descriptor->len = length;
            descriptor->id = (ushort)id;
            _heldAt = _next;
            _heldFlags = (ushort)all;
        }
        else
            Vector128.Create(address, length | (ulong)id << IdShift | (ulong)all << FlagsShift)
                .Store((ulong*)descriptor);
        _next = (_next + 1) & Mask;
        if (_next == 0)
            _nextFlags ^= Avail | Used;
    }

    private void Claim(uint count)
    {
        FreeHead += count;
        FreeSlots -= count;
        InFlight += count;
    }

    private static ushort Direction(ReadOnlySpan<VirtioPart> parts, int part, int writable) =>
        part >= parts.Length - writable ? VirtioRing.VRING_DESC_F_WRITE : (ushort)0;

    private void Step(ref uint at, ref ushort flags, uint count, ushort toggled)
    {
        at += count;
        if (at > Mask)
        {
            at -= (uint)Size;
            flags ^= toggled;
        }
    }

    /// <summary>The same where buffers are chains, or the device may name only the last of several (§2.8.7).</summary>
    private int TakeWithCare(Span<nint> cookies, Span<uint> lengths)
    {
        int taken = 0;
        while (taken < cookies.Length)
        {
            if (_batchEnd == NoBatch)
            {
                ulong word = Volatile.Read(ref Word(_lastUsed));   // V1
                if (((uint)(word >> FlagsShift) & (Avail | Used)) != _usedFlags)
                    break;
                _batchEnd = (uint)(word >> IdShift) & 0xffff;
                _batchLength = (uint)word;
            }
            uint id = _batchEnd, next = InOrder ? FreeIds[FreeTail & Mask] : id;
            if (id > Mask || Cookies[id] == 0 || Cookies[next] == 0)
            {
                Break(id > Mask ? VirtqueueFault.BadId : VirtqueueFault.NotInFlight);
                break;
            }
            cookies[taken] = Cookies[next];
            if (!lengths.IsEmpty)
                lengths[taken] = next == id ? _batchLength : WholeLength;
            taken++;
            if (next == id)
                _batchEnd = NoBatch;
            Free(next);
        }
        return taken;
    }

    private void Free(uint id)
    {
        uint count = Math.Max(1u, Counts[id]);
        Cookies[id] = 0;
        Chained -= count > 1 ? 1u : 0;
        FreeSlots += count;
        InFlight--;
        Counts[id] = 0;
        FreeIds[FreeTail++ & Mask] = (ushort)id;
        Step(ref _lastUsed, ref _usedFlags, count, Avail | Used);
    }
}
