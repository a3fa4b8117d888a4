using System.Runtime.Intrinsics;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>The device's side of a split virtqueue. VIRTIO 1.2 §2.7.</summary>
internal sealed unsafe class SplitVhostRing : VhostRing
{
    private readonly vring_desc* _table;
    private readonly ushort* _availFlags, _availIndex, _availRing, _usedEvent;
    private readonly ushort* _usedFlags, _usedIndex, _availEvent;
    private readonly ulong* _usedRing;      // vring_used_elem as one word: id below, len above
    private readonly SplitInflight? _inflight;
    private ushort _last, _seen;            // next to take from the available ring; its index when last looked at
    private ushort _used, _told;            // used index; what it was when the driver was last told
    private int _again;                     // of the buffers fetched, those that were in flight before

    internal SplitVhostRing(in VhostRingSetup setup) : base(setup)
    {
        _table = (vring_desc*)setup.Table;
        _availFlags = (ushort*)setup.Driver;
        _availIndex = _availFlags + 1;
        _availRing = _availFlags + 2;
        _usedEvent = _availRing + setup.Size;
        _usedFlags = (ushort*)setup.Device;
        _usedIndex = _usedFlags + 1;
        _usedRing = (ulong*)(_usedFlags + 2);
        _availEvent = (ushort*)(_usedRing + setup.Size);
        // All that was taken was given back within the burst, so what is used says where to go on, whatever the base.
        _used = _told = _last = Volatile.Read(ref *_usedIndex);   // U0
        if (setup.Inflight != null)
        {
            _inflight = new SplitInflight(setup.Inflight, setup.Size, setup.Features, _used);
            _last += (ushort)_inflight.AgainCount;
        }
        _seen = _last;
        AskForKick(false);
    }

    /// <summary>Bytes of the driver's and the device's part of a ring of that many descriptors.</summary>
    internal static (ulong Driver, ulong Device) Bytes(int size) => (6 + 2 * (ulong)size, 6 + 8 * (ulong)size);

    /// <inheritdoc/>
    internal override uint Base => _used;

    /// <inheritdoc/>
    internal override int CountAvailable(int most)
    {
        int ready = (ushort)(Volatile.Read(ref *_availIndex) - _last);   // U0
        return Math.Min(most, ready <= Size ? ready : 0);
    }

    /// <inheritdoc/>
    internal override int Fetch(int most)
    {
        if (Fault != VhostFault.None)
            return 0;
        VhostSlot* slots = Slots;
        int again = _again = 0;
        if (_inflight is { AgainCount: > 0 } inflight)
            again = _again = inflight.Again(slots, most);
        // The driver's line is looked at only where what was seen there before is not enough.
        if ((ushort)(_seen - _last) < (uint)(most - again))
            _seen = Volatile.Read(ref *_availIndex);   // U0
        uint ready = (ushort)(_seen - _last);
        if (ready > (uint)Size)
        {
            Break(VhostFault.AvailIndex);
            return 0;
        }
        int count = (int)Math.Min((uint)(most - again), ready) + again;
        uint mask = Mask, last = _last - (uint)again;
        ushort* ring = _availRing;
        for (int i = again; i < count; i++)
            slots[i].Id = ring[(last + (uint)i) & mask];
        return Describe(count);
    }

    /// <inheritdoc/>
    internal override int Gather(VhostSlot* slot)
    {
        vring_desc* table = _table;
        uint at = slot->Id, limit = (uint)Size, steps = 0;
        int count = 0;
        vring_desc one = Read(table, at);
        if ((one.flags & VirtioRing.VRING_DESC_F_INDIRECT) != 0)
        {
            table = (vring_desc*)FindTable(one.addr, one.len, one.flags, out limit);
            if (table == null)
                return 0;
            at = 0;
            one = Read(table, 0);
        }
        while (true)
        {
            if ((one.flags & VirtioRing.VRING_DESC_F_INDIRECT) != 0)
            {
                // One more table at the end of a chain is allowed; none in a table is (§2.7.5.3).
                bool nested = table != _table;
                if (!nested)
                    table = (vring_desc*)FindTable(one.addr, one.len, one.flags, out limit);
                if (nested || table == null)
                {
                    Break(VhostFault.BadTable);
                    return 0;
                }
                at = 0;
                one = Read(table, 0);
                continue;
            }
            if (!TryAddPart(ref count, one.addr, one.len, one.flags))
                return 0;
            if ((one.flags & VirtioRing.VRING_DESC_F_NEXT) == 0)
                return count;
            at = one.next;
            if (at >= limit || ++steps > limit)
            {
                Break(at >= limit ? VhostFault.BadIndex : VhostFault.BadChain);
                return 0;
            }
            one = Read(table, at);
        }
    }

    /// <inheritdoc/>
    internal override void Commit(int count)
    {
        VhostSlot* slots = Slots;
        ulong* ring = _usedRing;
        uint mask = Mask, used = _used;
        _inflight?.Take(slots, count);
        for (int i = 0; i < count; i++)
            ring[(used + (uint)i) & mask] = slots[i].Id | (ulong)slots[i].Written << 32;
        _used = (ushort)(used + (uint)count);
        _last += (ushort)(count - Math.Min(count, _again));
        _inflight?.Use(slots, count, Math.Min(count, _again));
        Volatile.Write(ref *_usedIndex, _used);   // U1
        _inflight?.Done(slots, count, _used);
    }

    /// <inheritdoc/>
    private protected override bool ShouldCall()
    {
        ushort before = _told;
        _told = _used;
        Interlocked.MemoryBarrier();   // U2: the index is out before we look whether the driver sleeps
        if (!EventIndex)
            return (Volatile.Read(ref *_availFlags) & VirtioRing.VRING_AVAIL_F_NO_INTERRUPT) == 0;
        ushort wanted = Volatile.Read(ref *_usedEvent);
        return (ushort)(_used - wanted - 1) < (ushort)(_used - before);   // §2.7.7.2
    }

    /// <inheritdoc/>
    internal override void AskForKick(bool on)
    {
        if (EventIndex)
            Volatile.Write(ref *_availEvent, (ushort)(on ? _last : _last - 1));
        else
            Volatile.Write(ref *_usedFlags, on ? (ushort)0 : VirtioRing.VRING_USED_F_NO_NOTIFY);
        Interlocked.MemoryBarrier();   // U2
    }

    private static vring_desc Read(vring_desc* table, uint at)
    {
        Vector128<byte> whole = Vector128.Load((byte*)(table + at));   // once: it may change any time
        return *(vring_desc*)&whole;
    }

    /// <summary>Finds the buffers whose ids are in the slots.</summary>
    private int Describe(int count)
    {
        VhostSlot* slots = Slots;
        VhostWindow window = Window;
        uint mask = Mask, expected = Direction;
        for (int i = 0; i < count; i++)
        {
            VhostSlot* slot = slots + i;
            uint id = slot->Id;
            if (id > mask)
            {
                Break(VhostFault.BadIndex);
                return i;
            }
            Vector128<ulong> one = Vector128.Load((ulong*)(_table + id));
            ulong rest = one.GetElement(1);
            slot->Count = 1;
            slot->Host = null;
            if ((ushort)(rest >> 32) != expected)
                continue;   // of several parts, or wrong: Gather sees to it
            slot->Length = (uint)rest;
            slot->Host = window.At(one.GetElement(0), (uint)rest);
            if (slot->Host != null)
                continue;
            slot->Host = At(one.GetElement(0), (uint)rest);
            window = Window;
            if (slot->Host == null)
            {
                Break(VhostFault.BadAddress);
                return i;
            }
        }
        return count;
    }
}
