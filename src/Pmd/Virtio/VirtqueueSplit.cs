using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>The split layout: a table of descriptors, a ring of those available, a ring of those used. VIRTIO 1.2
/// §2.7.</summary>
internal sealed unsafe class SplitVirtqueue : Virtqueue
{
    private readonly vring_desc* _table;
    private readonly ushort* _availFlags, _availIndex, _availRing, _usedEvent;
    private readonly ushort* _usedFlags, _usedIndex, _availEvent;
    private readonly ulong* _usedRing;     // vring_used_elem as one word: id below, len above
    private readonly ushort* _next;        // chains, as the driver remembers them
    private ushort _available, _published, _told, _lastUsed;
    private ushort _seen;                  // the used index when it was last looked at
    private ushort _batch;                 // most that a batch under way can still have, 0 for none
    private ulong _batchElement;           // what it ends with

    internal SplitVirtqueue(int index, VirtqueueLayout layout, byte* memory, ulong memoryIova, ulong features)
        : base(index, layout, memory, memoryIova, features)
    {
        _table = (vring_desc*)memory;
        _availFlags = (ushort*)(memory + layout.DriverOffset);
        _availIndex = _availFlags + 1;
        _availRing = _availFlags + 2;
        _usedEvent = _availRing + layout.Size;
        _usedFlags = (ushort*)(memory + layout.DeviceOffset);
        _usedIndex = _usedFlags + 1;
        _usedRing = (ulong*)(_usedFlags + 2);
        _availEvent = (ushort*)(_usedRing + layout.Size);
        _next = (ushort*)NativeMemory.AllocZeroed((nuint)layout.Size, sizeof(ushort));
        DisableInterrupt();
    }

    /// <inheritdoc/>
    internal override uint NotificationData => (uint)Index | (uint)_published << 16;

    /// <inheritdoc/>
    internal override uint DevicePosition => Volatile.Read(ref *_usedIndex);   // V1

    /// <inheritdoc/>
    internal override bool HasUsed => Volatile.Read(ref *_usedIndex) != _lastUsed;   // V1

    /// <inheritdoc/>
    internal override int CountUsed(int most) =>
        Math.Min(most, Math.Min((int)InFlight, (ushort)(Volatile.Read(ref *_usedIndex) - _lastUsed)));   // V1

    /// <inheritdoc/>
    internal override int Take(Span<nint> cookies, Span<uint> lengths)
    {
        // The device's line is looked at only where what was seen there before is not enough.
        uint ready = (ushort)(_seen - _lastUsed);
        if (ready < (uint)cookies.Length)
        {
            _seen = Volatile.Read(ref *_usedIndex);   // V1
            ready = (ushort)(_seen - _lastUsed);
        }
        if (ready == 0 || Fault != VirtqueueFault.None)
            return 0;
        if (ready > InFlight)
        {
            Break(VirtqueueFault.UsedIndex);
            return 0;
        }
        int most = (int)Math.Min(ready, (uint)cookies.Length);
        if (InOrder && lengths.IsEmpty)
            return TakeNext(cookies[..most]);
        if (Chained != 0 || InOrder)
            return TakeWithCare(cookies[..most], lengths);
        ref nint cookie = ref MemoryMarshal.GetReference(cookies);
        ref uint length = ref MemoryMarshal.GetReference(lengths);
        bool wanted = !lengths.IsEmpty;
        nint* table = Cookies;
        ushort* freeIds = FreeIds;
        ulong* used = _usedRing;
        uint mask = Mask, last = _lastUsed, tail = FreeTail;
        int taken = 0;
        for (; taken < most; taken++)
        {
            ulong element = used[(last + (uint)taken) & mask];
            uint id = (uint)element;
            if (id > mask || table[id] == 0)
            {
                Break(id > mask ? VirtqueueFault.BadId : VirtqueueFault.NotInFlight);
                break;
            }
            Unsafe.Add(ref cookie, taken) = table[id];
            if (wanted)
                Unsafe.Add(ref length, taken) = (uint)(element >> 32);
            table[id] = 0;
            freeIds[(tail + (uint)taken) & mask] = (ushort)id;
        }
        _lastUsed = (ushort)(last + (uint)taken);
        FreeTail = tail + (uint)taken;
        FreeSlots += (uint)taken;
        InFlight -= (uint)taken;
        return taken;
    }

    /// <inheritdoc/>
    internal override void AddWritable(ReadOnlySpan<Mbuf> mbufs, in DmaAddressing addressing, uint offset, uint length)
    {
        WholeLength = length;
        DmaAddressing to = addressing;
        ulong rest = length | (ulong)VirtioRing.VRING_DESC_F_WRITE << 32;
        uint at = FreeHead, available = _available;
        foreach (Mbuf mbuf in mbufs)
            Put(mbuf.Header, at++, available++, to.Of(mbuf.Header, offset), rest);
        Claim((uint)mbufs.Length);
    }

    /// <inheritdoc/>
    internal override void AddReadable(ReadOnlySpan<Mbuf> mbufs, in DmaAddressing addressing, uint headerBytes)
    {
        DmaAddressing to = addressing;
        uint at = FreeHead, available = _available;
        foreach (Mbuf mbuf in mbufs)
        {
            MbufHeader* header = mbuf.Header;
            Put(header, at++, available++, to.Of(header, header->DataOff - headerBytes), header->DataLen + headerBytes);
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
        uint head = NextId;
        if (indirect)
        {
            var table = (vring_desc*)IndirectTable(head, out ulong iova);
            for (int i = 0; i < parts.Length; i++)
                table[i] = Describe(parts, i, writable, (ushort)(i + 1));
            _table[head] = new() { addr = iova, len = (uint)parts.Length * (uint)sizeof(vring_desc),
                flags = VirtioRing.VRING_DESC_F_INDIRECT };
        }
        else
        {
            for (uint i = 0; i < slots; i++)
            {
                ushort id = FreeIds[(FreeHead + i) & Mask];
                _next[id] = FreeIds[(FreeHead + i + 1) & Mask];
                _table[id] = Describe(parts, (int)i, writable, _next[id]);
            }
        }
        Counts[head] = (ushort)slots;
        Cookies[head] = cookie;
        _availRing[_available & Mask] = (ushort)head;
        _available++;
        FreeHead += slots;
        FreeSlots -= slots;
        InFlight++;
        Chained += slots > 1 ? 1u : 0;
        return true;
    }

    /// <inheritdoc/>
    internal override void Publish()
    {
        _published = _available;
        Volatile.Write(ref *_availIndex, _available);   // V0
    }

    /// <inheritdoc/>
    internal override bool ShouldNotify()
    {
        ushort before = _told;
        _told = _published;
        Interlocked.MemoryBarrier();   // V2: the index is out before we look whether the device sleeps
        if (!EventIndex)
            return (Volatile.Read(ref *_usedFlags) & VirtioRing.VRING_USED_F_NO_NOTIFY) == 0;
        ushort wanted = Volatile.Read(ref *_availEvent);
        return (ushort)(_published - wanted - 1) < (ushort)(_published - before);   // §2.7.10
    }

    /// <inheritdoc/>
    internal override void EnableInterrupt()
    {
        if (EventIndex)
            Volatile.Write(ref *_usedEvent, _lastUsed);
        else
            Volatile.Write(ref *_availFlags, 0);
        Interlocked.MemoryBarrier();   // V2
    }

    /// <inheritdoc/>
    /// <remarks>With an event index there is no "never": the one farthest away is.</remarks>
    internal override void DisableInterrupt()
    {
        if (EventIndex)
            Volatile.Write(ref *_usedEvent, (ushort)(_lastUsed - 1));
        else
            Volatile.Write(ref *_availFlags, VirtioRing.VRING_AVAIL_F_NO_INTERRUPT);
    }

    private protected override void OnDispose() => NativeMemory.Free(_next);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Put(MbufHeader* mbuf, uint at, uint available, ulong address, ulong lengthAndFlags)
    {
        uint id = FreeIds[at & Mask];
        Vector128.Create(address, lengthAndFlags).Store((ulong*)(_table + id));
        Cookies[id] = (nint)mbuf;
        ushort* place = _availRing + (available & Mask);
        if (*place != (ushort)id)      // mostly equal: then the line stays in the device's cache too
            *place = (ushort)id;
    }

    private void Claim(uint count)
    {
        FreeHead += count;
        FreeSlots -= count;
        InFlight += count;
        _available += (ushort)count;
    }

    private static vring_desc Describe(ReadOnlySpan<VirtioPart> parts, int part, int writable, ushort next)
    {
        bool last = part == parts.Length - 1;
        return new()
        {
            addr = parts[part].Address,
            len = parts[part].Length,
            flags = (ushort)((last ? 0 : VirtioRing.VRING_DESC_F_NEXT)
                | (part >= parts.Length - writable ? VirtioRing.VRING_DESC_F_WRITE : 0)),
            next = last ? (ushort)0 : next,
        };
    }

    /// <summary>The same where buffers are chains, or the device may name only the last of several (§2.7.9).</summary>
    private int TakeWithCare(Span<nint> cookies, Span<uint> lengths)
    {
        int taken = 0;
        while (taken < cookies.Length)
        {
            ulong element = _batch != 0 ? _batchElement : _usedRing[_lastUsed & Mask];
            uint id = (uint)element, next = InOrder ? FreeIds[FreeTail & Mask] : id;
            if (id > Mask || Cookies[id] == 0 || Cookies[next] == 0)
            {
                Break(id > Mask ? VirtqueueFault.BadId : VirtqueueFault.NotInFlight);
                break;
            }
            if (next != id && _batch == 0)
            {
                // It names the last of a batch; those before it were used whole and have no element of their own.
                _batch = (ushort)(Volatile.Read(ref *_usedIndex) - _lastUsed);   // V1
                _batchElement = element;
            }
            if (next != id && --_batch == 0)
            {
                Break(VirtqueueFault.NotInFlight);
                break;
            }
            cookies[taken] = Cookies[next];
            if (!lengths.IsEmpty)
                lengths[taken] = next == id ? (uint)(element >> 32) : WholeLength;
            taken++;
            _batch = next == id ? (ushort)0 : _batch;
            Free(next);
            _lastUsed++;
        }
        return taken;
    }

    /// <summary>Takes buffers in the order they were added, whose number says all: the elements, which another CPU
    /// wrote, are not read. Not between calls of the one above, which remembers a batch.</summary>
    private int TakeNext(Span<nint> cookies)
    {
        nint* table = Cookies;
        ushort* freeIds = FreeIds;
        uint mask = Mask, tail = FreeTail, count = (uint)cookies.Length;
        _lastUsed += (ushort)count;
        if (Chained == 0)
        {
            FreeTail = tail + count;      // the ids are in their places already
            FreeSlots += count;
            InFlight -= count;
            foreach (ref nint cookie in cookies)
            {
                ref nint place = ref table[freeIds[tail++ & mask]];
                cookie = place;
                place = 0;
            }
            return (int)count;
        }
        foreach (ref nint cookie in cookies)
        {
            uint id = freeIds[FreeTail & mask];
            cookie = table[id];
            Free(id);
        }
        return cookies.Length;
    }

    private void Free(uint id)
    {
        uint count = Chained != 0 ? Math.Max(1u, Counts[id]) : 1;
        Cookies[id] = 0;
        Chained -= count > 1 ? 1u : 0;
        FreeSlots += count;
        InFlight--;
        Counts[id] = 0;
        for (uint link = id; count-- != 0; link = _next[link])
            FreeIds[FreeTail++ & Mask] = (ushort)link;
    }
}
