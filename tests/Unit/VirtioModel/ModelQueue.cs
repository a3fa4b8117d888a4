using Dataplane.Native;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>How a model device gives buffers back.</summary>
internal enum ModelOrder
{
    /// <summary>One by one, as they came.</summary>
    Plain,
    /// <summary>The last of what it has first.</summary>
    Backwards,
    /// <summary>With VIRTIO_F_IN_ORDER: buffers to be read are given back in batches that name the last
    /// alone.</summary>
    Batches,
}

/// <summary>A buffer the driver made available, as the device sees it.</summary>
internal unsafe struct ModelBuffer
{
    internal const int MaxParts = 80;
    internal uint Id;
    internal uint Slots;
    internal int Readable, Writable;
    internal fixed ulong Address[MaxParts];
    internal fixed uint Length[MaxParts];

    internal readonly uint ReadableBytes
    {
        get
        {
            uint sum = 0;
            for (int i = 0; i < Readable; i++)
                sum += Length[i];
            return sum;
        }
    }
}

/// <summary>The device's side of a virtqueue, written from the specification and not from the driver. Allocates nothing
/// once made.</summary>
internal abstract unsafe class ModelQueue
{
    protected ModelQueue(Virtqueue queue, ulong iovaDelta, ulong features)
    {
        Size = (uint)queue.Size;
        Delta = iovaDelta;
        Table = Pointer(queue.MemoryIova);
        Driver = Pointer(queue.MemoryIova + queue.Layout.DriverOffset);
        Device = Pointer(queue.MemoryIova + queue.Layout.DeviceOffset);
        EventIndex = (features >> VirtioRing.VIRTIO_RING_F_EVENT_IDX & 1) != 0;
        Indirect = (features >> VirtioRing.VIRTIO_RING_F_INDIRECT_DESC & 1) != 0;
    }

    internal uint Size { get; }
    internal ulong Delta { get; }
    internal byte* Table { get; }
    internal byte* Driver { get; }
    internal byte* Device { get; }
    protected bool EventIndex { get; }
    protected bool Indirect { get; }

    internal static ModelQueue Of(Virtqueue queue, ulong delta, ulong features) =>
        queue.Layout.Packed ? new ModelPackedQueue(queue, delta, features)
        : new ModelSplitQueue(queue, delta, features);

    internal byte* Pointer(ulong iova) => (byte*)(iova - Delta);

    /// <summary>Takes the next available buffer.</summary>
    internal abstract bool TryPop(ref ModelBuffer buffer);

    /// <summary>Takes nothing after all.</summary>
    internal abstract void Unpop(in ModelBuffer buffer);

    /// <summary>Gives a buffer back; the driver sees it after <see cref="Flush"/>.</summary>
    internal abstract void Push(uint id, uint slots, uint written);

    /// <summary>Gives a batch back in order, naming the last.</summary>
    internal abstract void PushBatch(uint lastId, uint slots, uint buffers, uint written);

    internal abstract void Flush();

    /// <summary>Asks for a notification at the next available buffer, or for none.</summary>
    internal abstract void WantNotify(bool on);

    /// <summary>The driver asked for an interrupt at what was flushed last.</summary>
    internal abstract bool WantsInterrupt();

    protected void Describe(ref ModelBuffer buffer, ulong address, uint length, ushort flags)
    {
        bool write = (flags & VirtioRing.VRING_DESC_F_WRITE) != 0;
        int at = buffer.Readable + buffer.Writable;
        if (at == ModelBuffer.MaxParts || (!write && buffer.Writable != 0))
            throw new InvalidOperationException("driver: too many parts, or one to be read behind one to be written");
        buffer.Address[at] = address;
        buffer.Length[at] = length;
        _ = write ? buffer.Writable++ : buffer.Readable++;
    }

    protected void CheckIndirect(uint bytes, ushort flags)
    {
        if (!Indirect || bytes == 0 || bytes % 16 != 0 || (flags & VirtioRing.VRING_DESC_F_NEXT) != 0)
            throw new InvalidOperationException("driver: a bad or unasked for indirect table");
    }
}

internal sealed unsafe class ModelSplitQueue(Virtqueue queue, ulong delta, ulong features)
    : ModelQueue(queue, delta, features)
{
    private ushort _lastAvail, _used, _flushedFrom;

    private ushort* AvailIndex => (ushort*)Driver + 1;
    private ushort* AvailRing => (ushort*)Driver + 2;
    private ushort* UsedIndex => (ushort*)Device + 1;
    private vring_used_elem* UsedRing => (vring_used_elem*)(Device + 4);
    private ushort* AvailEvent => (ushort*)(UsedRing + Size);
    private ushort* UsedEvent => AvailRing + Size;

    internal override bool TryPop(ref ModelBuffer buffer)
    {
        if (Volatile.Read(ref *AvailIndex) == _lastAvail)
            return false;
        ushort id = AvailRing[_lastAvail++ % Size];
        (buffer.Id, buffer.Slots, buffer.Readable, buffer.Writable) = (id, 0, 0, 0);
        var table = (vring_desc*)Table;
        for (vring_desc d = table[id]; ; d = table[d.next])
        {
            buffer.Slots++;
            if ((d.flags & VirtioRing.VRING_DESC_F_INDIRECT) != 0)
            {
                CheckIndirect(d.len, d.flags);
                var entries = (vring_desc*)Pointer(d.addr);
                uint seen = 1;
                for (vring_desc e = entries[0]; ; e = entries[e.next], seen++)
                {
                    Describe(ref buffer, e.addr, e.len, e.flags);
                    if ((e.flags & VirtioRing.VRING_DESC_F_NEXT) == 0)
                        break;
                    if (e.next >= d.len / 16)
                        throw new InvalidOperationException("driver: an indirect table shorter than its chain");
                }
                if (seen != d.len / 16)
                    throw new InvalidOperationException("driver: an indirect table longer than its chain");
                break;
            }
            Describe(ref buffer, d.addr, d.len, d.flags);
            if ((d.flags & VirtioRing.VRING_DESC_F_NEXT) == 0)
                break;
        }
        return true;
    }

    internal override void Unpop(in ModelBuffer buffer) => _lastAvail--;

    internal override void Push(uint id, uint slots, uint written) =>
        UsedRing[_used++ % Size] = new() { id = id, len = written };

    internal override void PushBatch(uint lastId, uint slots, uint buffers, uint written)
    {
        UsedRing[_used % Size] = new() { id = lastId, len = written };
        _used += (ushort)buffers;
    }

    internal override void Flush()
    {
        _flushedFrom = *UsedIndex;
        Volatile.Write(ref *UsedIndex, _used);
    }

    internal override void WantNotify(bool on)
    {
        if (EventIndex)
            Volatile.Write(ref *AvailEvent, on ? _lastAvail : (ushort)(_lastAvail - 1));
        else
            Volatile.Write(ref *(ushort*)Device, on ? (ushort)0 : VirtioRing.VRING_USED_F_NO_NOTIFY);
    }

    internal override bool WantsInterrupt() => EventIndex
        ? (ushort)(_used - *UsedEvent - 1) < (ushort)(_used - _flushedFrom)
        : (*(ushort*)Driver & VirtioRing.VRING_AVAIL_F_NO_INTERRUPT) == 0 && _used != _flushedFrom;
}

internal sealed unsafe class ModelPackedQueue(Virtqueue queue, ulong delta, ulong features)
    : ModelQueue(queue, delta, features)
{
    private const ushort Avail = 1 << VirtioRing.VRING_PACKED_DESC_F_AVAIL,
        Used = 1 << VirtioRing.VRING_PACKED_DESC_F_USED;

    private uint _next, _used, _flushed, _pending;
    private bool _nextWrap = true, _usedWrap = true, _flushedWrap = true;
    private ushort _heldFlags;

    private vring_packed_desc* Ring => (vring_packed_desc*)Table;

    internal override bool TryPop(ref ModelBuffer buffer)
    {
        ushort flags = Volatile.Read(ref Ring[_next].flags);
        if (((flags & Avail) != 0) != _nextWrap || ((flags & Used) != 0) == _nextWrap)
            return false;
        (buffer.Slots, buffer.Readable, buffer.Writable) = (0, 0, 0);
        while (true)
        {
            vring_packed_desc d = Ring[_next];
            buffer.Id = d.id;
            buffer.Slots++;
            Step(ref _next, ref _nextWrap, 1);
            if ((d.flags & VirtioRing.VRING_DESC_F_INDIRECT) != 0)
            {
                CheckIndirect(d.len, d.flags);
                var entries = (vring_packed_desc*)Pointer(d.addr);
                for (int i = 0; i < d.len / 16; i++)
                    Describe(ref buffer, entries[i].addr, entries[i].len, entries[i].flags);
                return true;
            }
            Describe(ref buffer, d.addr, d.len, d.flags);
            if ((d.flags & VirtioRing.VRING_DESC_F_NEXT) == 0)
                return true;
        }
    }

    internal override void Unpop(in ModelBuffer buffer)
    {
        if (_next < buffer.Slots)
        {
            _next += Size;
            _nextWrap = !_nextWrap;
        }
        _next -= buffer.Slots;
    }

    internal override void Push(uint id, uint slots, uint written) => PushBatch(id, slots, 1, written);

    internal override void PushBatch(uint lastId, uint slots, uint buffers, uint written)
    {
        ushort flags = (ushort)((_usedWrap ? Avail | Used : 0) | VirtioRing.VRING_DESC_F_WRITE);
        Ring[_used].id = (ushort)lastId;
        Ring[_used].len = written;
        if (_pending == 0)
            (_flushed, _flushedWrap, _heldFlags) = (_used, _usedWrap, flags);
        else
            Volatile.Write(ref Ring[_used].flags, flags);
        _pending += slots;
        Step(ref _used, ref _usedWrap, slots);
    }

    internal override void Flush()
    {
        if (_pending != 0)
            Volatile.Write(ref Ring[_flushed].flags, _heldFlags);
        _lastFlush = _pending;
        _pending = 0;
    }

    private uint _lastFlush;

    internal override void WantNotify(bool on)
    {
        var wanted = (vring_packed_desc_event*)Device;
        wanted->off_wrap = (ushort)(_next | (_nextWrap ? 1u << 15 : 0));
        Volatile.Write(ref wanted->flags, !on ? VirtioRing.VRING_PACKED_EVENT_FLAG_DISABLE
            : EventIndex ? VirtioRing.VRING_PACKED_EVENT_FLAG_DESC : VirtioRing.VRING_PACKED_EVENT_FLAG_ENABLE);
    }

    internal override bool WantsInterrupt()
    {
        var wanted = (vring_packed_desc_event*)Driver;
        if (_lastFlush == 0 || wanted->flags == VirtioRing.VRING_PACKED_EVENT_FLAG_DISABLE)
            return false;
        if (wanted->flags == VirtioRing.VRING_PACKED_EVENT_FLAG_ENABLE)
            return true;
        uint place = wanted->off_wrap & 0x7fffu;
        bool wrap = wanted->off_wrap >> 15 != 0;
        for (uint i = 0, at = _flushed; i < _lastFlush; i++)
        {
            if (at == place && wrap == _flushedWrap)
                return true;
            Step(ref at, ref _flushedWrap, 1);
        }
        return false;
    }

    private void Step(ref uint at, ref bool wrap, uint count)
    {
        at += count;
        if (at < Size)
            return;
        at -= Size;
        wrap = !wrap;
    }
}
