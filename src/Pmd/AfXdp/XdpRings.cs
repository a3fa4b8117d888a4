using System.Runtime.CompilerServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>Where one ring lies in this process, for either side.</summary>
internal readonly unsafe struct XdpRingMap(byte* start, in xdp_ring_offset offsets, uint size)
{
    internal readonly uint* Producer = (uint*)(start + offsets.producer);
    internal readonly uint* Consumer = (uint*)(start + offsets.consumer);
    internal readonly uint* Flags = (uint*)(start + offsets.flags);
    internal readonly byte* Entries = start + offsets.desc;
    internal readonly uint Size = size;
}

/// <summary>
/// Our side of a ring the kernel takes from (fill, transmit). Indexes run freely over 2^32; one thread.
/// </summary>
/// <remarks>
/// X0 Volatile.Write(producer) publishes entries; its partner is the kernel's acquire of it. X1 Volatile.Read(consumer)
/// takes entries back; its partner is the kernel's release. net/xdp/xsk_queue.h.
/// </remarks>
internal unsafe struct XdpProducer(XdpRingMap map)
{
    private readonly XdpRingMap _map = map;
    private readonly uint _mask = map.Size - 1;
    private uint _tail = *map.Producer, _head = *map.Consumer;   // next to be written; the kernel's as last seen

    /// <summary>Entries the kernel has not taken yet; asks it.</summary>
    internal uint Untaken => _tail - (_head = Volatile.Read(ref *_map.Consumer));   // X1

    /// <summary>The kernel waits to be called before it takes more.</summary>
    internal readonly bool NeedsWakeup => (Volatile.Read(ref *_map.Flags) & IfXdp.XDP_RING_NEED_WAKEUP) != 0;

    /// <summary>Free entries; looks at the kernel's side only when it knows of fewer than wanted.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal uint Free(uint wanted)
    {
        uint free = _map.Size - (_tail - _head);
        return free >= wanted ? free : _map.Size - Untaken;
    }

    /// <summary>The entry that many behind the next, to be written; it must be free.</summary>
    internal readonly ulong* Address(uint offset) => (ulong*)_map.Entries + ((_tail + offset) & _mask);

    /// <inheritdoc cref="Address"/>
    internal readonly xdp_desc* Descriptor(uint offset) => (xdp_desc*)_map.Entries + ((_tail + offset) & _mask);

    /// <summary>The entry that many before the next: published, and not taken yet.</summary>
    internal readonly xdp_desc* Published(uint back) => (xdp_desc*)_map.Entries + ((_tail - back) & _mask);

    /// <summary>Gives the next so many entries to the kernel.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Publish(uint count)
    {
        _tail += count;
        Volatile.Write(ref *_map.Producer, _tail);   // X0
    }
}

/// <summary>Our side of a ring the kernel fills (receive, completion). One thread.</summary>
/// <remarks>
/// X2 Volatile.Read(producer) sees entries; its partner is the kernel's release. X3 Volatile.Write(consumer) gives
/// them back after they were read; its partner is the kernel's acquire.
/// </remarks>
internal unsafe struct XdpConsumer(XdpRingMap map)
{
    private readonly XdpRingMap _map = map;
    private readonly uint _mask = map.Size - 1;
    private uint _head = *map.Consumer, _tail = *map.Producer;   // next to be read; the kernel's as last seen

    /// <summary>Entries to read; looks at the kernel's side only when it knows of fewer than wanted.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal uint Ready(uint wanted)
    {
        uint ready = _tail - _head;
        if (ready >= wanted)
            return ready;
        _tail = Volatile.Read(ref *_map.Producer);   // X2
        return _tail - _head;
    }

    /// <summary>The same for another thread to ask: changes nothing.</summary>
    internal readonly uint Count => Volatile.Read(ref *_map.Producer) - Volatile.Read(ref *_map.Consumer);

    /// <summary>The entry that many behind the next.</summary>
    internal readonly ulong Address(uint offset) => ((ulong*)_map.Entries)[(_head + offset) & _mask];

    /// <inheritdoc cref="Address"/>
    internal readonly xdp_desc* Descriptor(uint offset) => (xdp_desc*)_map.Entries + ((_head + offset) & _mask);

    /// <summary>Gives the next so many entries back.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Release(uint count)
    {
        _head += count;
        Volatile.Write(ref *_map.Consumer, _head);   // X3
    }
}
