using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>The device's side of a packed virtqueue. VIRTIO 1.2 §2.8.</summary>
/// <remarks>Buffers are given back in the order they came and within the burst, so one position serves for what is
/// to be taken and what is to be given back, and nothing is in flight but between the stores of a commit.</remarks>
internal sealed unsafe class PackedVhostRing : VhostRing
{
    private const ushort Avail = 1 << VirtioRing.VRING_PACKED_DESC_F_AVAIL,
        Used = 1 << VirtioRing.VRING_PACKED_DESC_F_USED;
    private const int FlagsShift = 48, IdShift = 32;   // in the second word of a descriptor
    private const uint WrapBit = 1 << 15;

    private readonly vring_packed_desc* _ring;
    private readonly vring_packed_desc_event* _driverEvent, _deviceEvent;
    private readonly PackedInflight* _inflight;
    private readonly bool _batches;   // a commit gives its last buffer's id, for all
    private uint _at;                 // place of the first descriptor not given back
    private bool _wrap;               // our wrap counter there
    private uint _toldSince;          // descriptors given back since the last look whether to tell

    internal PackedVhostRing(in VhostRingSetup setup) : base(setup)
    {
        _ring = (vring_packed_desc*)setup.Table;
        _driverEvent = (vring_packed_desc_event*)setup.Driver;
        _deviceEvent = (vring_packed_desc_event*)setup.Device;
        uint start = setup.Base & ushort.MaxValue;   // DPDK's front end leaves the used position out; it is the same
        if (setup.Inflight != null)
        {
            _inflight = (PackedInflight*)setup.Inflight;
            start = Recover(_inflight, start, setup);
        }
        _at = start & Mask;
        _wrap = (start & WrapBit) != 0;
        // Where the driver reckons with it, one descriptor gives a burst back that was only read (§2.8.7): that saves
        // the lines of the others. What was written has its own length each.
        _batches = Direction == 0 && VirtioFeatures.Has(setup.Features, VirtioConfig.VIRTIO_F_IN_ORDER);
        AskForKick(false);
    }

    /// <summary>Bytes of either side's part.</summary>
    internal static ulong EventBytes => (ulong)sizeof(vring_packed_desc_event);

    /// <inheritdoc/>
    internal override uint Base
    {
        get
        {
            uint position = _at | (_wrap ? WrapBit : 0);
            return position | position << 16;
        }
    }

    /// <inheritdoc/>
    internal override int CountAvailable(int most)
    {
        int count = 0;
        uint at = _at, flags = Available(_wrap);
        for (int steps = 0; count < most && steps < Size; steps++)
        {
            ushort found = Volatile.Read(ref _ring[at].flags);   // U0
            if ((found & (Avail | Used)) != flags)
                break;
            count += (found & VirtioRing.VRING_DESC_F_NEXT) == 0 ? 1 : 0;
            at = (at + 1) & Mask;
            flags ^= at == 0 ? (uint)(Avail | Used) : 0;
        }
        return count;
    }

    /// <inheritdoc/>
    internal override int Fetch(int most)
    {
        if (Fault != VhostFault.None)
            return 0;
        VhostSlot* slots = Slots;
        VhostWindow window = Window;
        uint at = _at, flags = Available(_wrap), expected = flags | Direction;
        int count = 0;
        for (; count < most; count++)
        {
            // Length, id and flags are one word, so what is read beside the flags is what was written before them.
            ulong word = Volatile.Read(ref Word(at));   // U0
            uint found = (uint)(word >> FlagsShift);
            if ((found & (Avail | Used)) != flags)
                break;
            VhostSlot* slot = slots + count;
            slot->Id = (ushort)(word >> IdShift);
            slot->At = (ushort)at;
            slot->Count = 1;
            if (found == expected)
            {
                slot->Length = (uint)word;
                slot->Host = window.At(_ring[at].addr, (uint)word);
                if (slot->Host == null)
                {
                    slot->Host = At(_ring[at].addr, (uint)word);
                    window = Window;
                }
                if (slot->Host == null)
                {
                    Break(VhostFault.BadAddress);
                    break;
                }
            }
            else if (!TryMeasure(slot, found))
                break;
            at += slot->Count;
            if (at > Mask)
            {
                at -= (uint)Size;
                flags ^= Avail | Used;
                expected = flags | Direction;
            }
        }
        return count;
    }

    /// <inheritdoc/>
    internal override int Gather(VhostSlot* slot)
    {
        int count = 0;
        for (uint i = 0; i < slot->Count; i++)
        {
            vring_packed_desc one = Read(_ring + ((slot->At + i) & Mask));
            if ((one.flags & VirtioRing.VRING_DESC_F_INDIRECT) == 0)
            {
                if (!TryAddPart(ref count, one.addr, one.len, one.flags))
                    return 0;
                continue;
            }
            // A chain and a table do not go together (§2.8.8).
            var table = (vring_packed_desc*)FindTable(one.addr, one.len, slot->Count == 1 ? 0u
                : VirtioRing.VRING_DESC_F_NEXT, out uint entries);
            if (table == null)
                return 0;
            for (uint entry = 0; entry < entries; entry++)
            {
                vring_packed_desc part = Read(table + entry);
                if (!TryAddPart(ref count, part.addr, part.len, part.flags))
                    return 0;
            }
        }
        return count;
    }

    /// <inheritdoc/>
    internal override void Commit(int count)
    {
        if (count == 0)
            return;
        VhostSlot* slots = Slots;
        uint at = _at, first = at, mask = Mask;
        bool wrap = _wrap;
        // All but the first, then the first: the driver takes none before it.
        Step(ref at, ref wrap, slots[0].Count);
        for (int i = 1; i < count; i++)
        {
            uint place = at, flags = Flags(wrap, slots[i].Written);
            Step(ref at, ref wrap, slots[i].Count);
            if (!_batches)
                Word(place) = slots[i].Written | (ulong)slots[i].Id << IdShift | (ulong)flags << FlagsShift;
        }
        if (_inflight != null)
            _inflight->Begin(at, wrap);
        ulong word = slots[0].Written | (ulong)slots[_batches ? count - 1 : 0].Id << IdShift
            | (ulong)Flags(_wrap, slots[0].Written) << FlagsShift;
        Volatile.Write(ref Word(first), word);   // U1
        _toldSince += at > first || wrap == _wrap ? at - first : at + mask + 1 - first;
        _at = at;
        _wrap = wrap;
        if (_inflight != null)
            _inflight->End();
    }

    /// <inheritdoc/>
    private protected override bool ShouldCall()
    {
        uint since = _toldSince;
        _toldSince = 0;
        Interlocked.MemoryBarrier();   // U2: descriptors are out before we look whether the driver sleeps
        vring_packed_desc_event wanted;
        *(uint*)&wanted = Volatile.Read(ref *(uint*)_driverEvent);
        if (!EventIndex || wanted.flags != VirtioRing.VRING_PACKED_EVENT_FLAG_DESC)
            return wanted.flags == VirtioRing.VRING_PACKED_EVENT_FLAG_ENABLE;
        // §2.8.10: is the place it waits for among those given back since? Counted back from the next place.
        uint place = wanted.off_wrap & (WrapBit - 1);
        bool sameRound = (wanted.off_wrap & WrapBit) != 0 == _wrap;
        uint back = sameRound ? _at - place - 1 : _at + (uint)Size - place - 1;
        return back < since;
    }

    /// <inheritdoc/>
    internal override void AskForKick(bool on)
    {
        if (on && EventIndex)
        {
            Volatile.Write(ref _deviceEvent->off_wrap, (ushort)(_at | (_wrap ? WrapBit : 0)));
            Volatile.Write(ref _deviceEvent->flags, VirtioRing.VRING_PACKED_EVENT_FLAG_DESC);
        }
        else
            Volatile.Write(ref _deviceEvent->flags, on ? VirtioRing.VRING_PACKED_EVENT_FLAG_ENABLE
                : VirtioRing.VRING_PACKED_EVENT_FLAG_DISABLE);
        Interlocked.MemoryBarrier();   // U2
    }

    private static uint Available(bool wrap) => wrap ? Avail : (uint)Used;

    private static uint Flags(bool wrap, uint written) =>
        (wrap ? Avail | (uint)Used : 0) | (written != 0 ? VirtioRing.VRING_DESC_F_WRITE : 0u);

    private static vring_packed_desc Read(vring_packed_desc* at)
    {
        Vector128<byte> whole = Vector128.Load((byte*)at);   // once: it may change any time
        return *(vring_packed_desc*)&whole;
    }

    private ref ulong Word(uint at) => ref *(ulong*)&_ring[at].len;

    private void Step(ref uint at, ref bool wrap, uint count)
    {
        at += count;
        if (at <= Mask)
            return;
        at -= Mask + 1;
        wrap = !wrap;
    }

    /// <summary>How many descriptors a buffer of several has. Its id is in the last.</summary>
    private bool TryMeasure(VhostSlot* slot, uint flags)
    {
        slot->Host = null;
        uint at = slot->At;
        for (; (flags & VirtioRing.VRING_DESC_F_NEXT) != 0; slot->Count++)
        {
            if (slot->Count == Size)
            {
                Break(VhostFault.BadChain);
                return false;
            }
            at = (at + 1) & Mask;
            ulong word = Volatile.Read(ref Word(at));   // U0
            flags = (uint)(word >> FlagsShift);
            slot->Id = (ushort)(word >> IdShift);
        }
        return true;
    }

    private uint Recover(PackedInflight* inflight, uint start, in VhostRingSetup setup)
    {
        if (inflight->Version == 0)
        {
            *inflight = new() { Features = setup.Features, Version = 1, Entries = (ushort)setup.Size };
            inflight->Begin(start & Mask, (start & WrapBit) != 0);
            inflight->End();
            return start;
        }
        uint before = inflight->OldUsedIndex & Mask;
        bool wrap = inflight->OldUsedWrap != 0;
        bool done = (_ring[before].flags & (Avail | Used)) == (wrap ? Avail | Used : 0);
        if (!done)
            return before | (wrap ? WrapBit : 0);
        return (inflight->UsedIndex & Mask) | (inflight->UsedWrap != 0 ? WrapBit : 0);
    }
}

/// <summary>
/// In-flight memory of a packed ring. vhost-user.rst, QueueRegionPacked. As buffers are used in order and none is in
/// flight outside a commit, the entries behind it stay empty: where the last whole commit ended says all.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct PackedInflight
{
    [FieldOffset(0)] internal ulong Features;
    [FieldOffset(8)] internal ushort Version;
    [FieldOffset(10)] internal ushort Entries;
    [FieldOffset(12)] internal ushort FreeHead;
    [FieldOffset(14)] internal ushort OldFreeHead;
    [FieldOffset(16)] internal ushort UsedIndex;
    [FieldOffset(18)] internal ushort OldUsedIndex;
    [FieldOffset(20)] internal byte UsedWrap;
    [FieldOffset(21)] internal byte OldUsedWrap;

    private const int EntryBytes = 32;

    /// <summary>Bytes for a ring.</summary>
    internal static ulong Bytes(int size) => (32 + (ulong)size * EntryBytes + VhostUser.InflightAlignment - 1)
        & ~(ulong)(VhostUser.InflightAlignment - 1);

    /// <summary>A commit that ends here is about to be seen.</summary>
    internal void Begin(uint at, bool wrap)
    {
        UsedWrap = wrap ? (byte)1 : (byte)0;
        Volatile.Write(ref UsedIndex, (ushort)at);
    }

    /// <summary>It is seen.</summary>
    internal void End()
    {
        OldUsedWrap = UsedWrap;
        Volatile.Write(ref OldUsedIndex, UsedIndex);
    }
}
