using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>What a device did that none may do.</summary>
internal enum VirtqueueFault
{
    /// <summary>Nothing.</summary>
    None,
    /// <summary>Gave back more buffers than it had.</summary>
    UsedIndex,
    /// <summary>Named a buffer outside the queue.</summary>
    BadId,
    /// <summary>Gave back a buffer it did not have, or out of order where it promised order.</summary>
    NotInFlight,
    /// <summary>Wrote more than the buffer holds.</summary>
    Overrun,
    /// <summary>Merged more buffers into a packet than the queue has.</summary>
    MergedTooMany,
}

/// <summary>One piece of a buffer made of several.</summary>
/// <param name="Address">Where the device finds it.</param>
/// <param name="Length">Bytes.</param>
internal readonly record struct VirtioPart(ulong Address, uint Length);

/// <summary>
/// The driver's side of a virtqueue: memory and nothing else. Buffers are added (the device cannot see them yet),
/// published, and taken when the device has used them. How the device is told, <see cref="VirtioTransport"/> knows.
/// Data path unless said otherwise; one thread. VIRTIO 1.2 §2.6 to §2.8.
/// </summary>
/// <remarks>
/// <para>The device is not trusted: whatever it writes is checked before it is used as an index, and all that the
/// driver remembers (which buffer has which id, how long a chain is) is kept in memory of its own. A device that
/// breaks the rules has the queue marked with a <see cref="Fault"/>; nothing is taken from it any more.</para>
/// <para>Ids are given out first in, first out. With a device that works in order they then go round like the ring
/// does: what VIRTIO_F_IN_ORDER asks for, and what keeps the cache lines of a split queue's available ring
/// unwritten.</para>
/// <para>V0 a release publishes descriptors to the device; V1 an acquire takes what it gave back; V2 a full fence
/// between publishing and reading whether the device wants to be told, and between asking for an interrupt and a last
/// look. See docs/ordering.md.</para>
/// </remarks>
internal abstract unsafe class Virtqueue : IDisposable
{
    private protected readonly uint Mask;
    private protected readonly bool EventIndex, InOrder;
    private protected readonly nint* Cookies;        // by id; 0: not with the device
    private protected readonly ushort* Counts;       // descriptors of the buffer, by id
    private protected readonly ushort* FreeIds;      // ring of ids
    private protected uint FreeHead, FreeTail;       // run freely; next id to give out, next place to put one
    private protected uint InFlight;                 // buffers
    private protected uint Chained;                  // of them, those of more than one descriptor
    private protected uint FreeSlots;                // descriptors
    private protected uint WholeLength;              // what a buffer that was skipped in order had written: all

    /// <summary>A queue in memory given to it.</summary>
    /// <param name="index">Its number at the device.</param>
    /// <param name="layout">Its size and kind.</param>
    /// <param name="memory"><see cref="VirtqueueLayout.Bytes"/> zeroed bytes on a page's start.</param>
    /// <param name="memoryIova">Where the device finds them.</param>
    /// <param name="features">What was negotiated.</param>
    private protected Virtqueue(int index, VirtqueueLayout layout, byte* memory, ulong memoryIova, ulong features)
    {
        Index = index;
        Size = layout.Size;
        Layout = layout;
        Memory = memory;
        MemoryIova = memoryIova;
        Mask = (uint)layout.Size - 1;
        EventIndex = VirtioFeatures.Has(features, VirtioRing.VIRTIO_RING_F_EVENT_IDX);
        InOrder = VirtioFeatures.Has(features, VirtioConfig.VIRTIO_F_IN_ORDER);
        IndirectParts = VirtioFeatures.Has(features, VirtioRing.VIRTIO_RING_F_INDIRECT_DESC) ? layout.IndirectParts : 0;
        Cookies = (nint*)NativeMemory.AllocZeroed((nuint)Size, (nuint)sizeof(nint));
        Counts = (ushort*)NativeMemory.AllocZeroed((nuint)Size, sizeof(ushort));
        FreeIds = (ushort*)NativeMemory.AllocZeroed((nuint)Size, sizeof(ushort));
        for (int i = 0; i < Size; i++)
            FreeIds[i] = (ushort)i;
        FreeTail = FreeSlots = (uint)Size;
    }

    /// <summary>Its number at the device.</summary>
    internal int Index { get; }

    /// <summary>Descriptors.</summary>
    internal int Size { get; }

    /// <summary>Where its parts lie.</summary>
    internal VirtqueueLayout Layout { get; }

    /// <summary>Where it lies.</summary>
    internal byte* Memory { get; }

    /// <summary>Where it lies for the device.</summary>
    internal ulong MemoryIova { get; }

    /// <summary>Most parts of a buffer that still take one descriptor; 0 without indirect descriptors.</summary>
    internal int IndirectParts { get; }

    /// <summary>What the device did wrong; the queue moves nothing once it is not None.</summary>
    internal VirtqueueFault Fault { get; private set; }

    /// <summary>Descriptors free.</summary>
    internal int FreeCount => (int)FreeSlots;

    /// <summary>Buffers with the device, or used by it and not yet taken.</summary>
    internal int InFlightCount => (int)InFlight;

    /// <summary>The id of the next buffer added; below <see cref="Size"/>. One must be free.</summary>
    internal uint NextId => FreeIds[FreeHead & Mask];

    /// <summary>What goes with a notification where the device asked for it (VIRTIO 1.2 §4.1.5.2): queue and
    /// position.</summary>
    internal abstract uint NotificationData { get; }

    /// <summary>Where a device that knows nothing of the queue begins, or goes on: behind what was used. As
    /// vhost-user's SET_VRING_BASE has it. Control path, while no device uses the queue; its thread may.</summary>
    internal abstract uint DevicePosition { get; }

    /// <summary>A split or packed queue, as the features say. Control path.</summary>
    internal static Virtqueue Create(int index, VirtqueueLayout layout, byte* memory, ulong memoryIova,
        ulong features) => layout.Packed ? new PackedVirtqueue(index, layout, memory, memoryIova, features)
        : new SplitVirtqueue(index, layout, memory, memoryIova, features);

    /// <summary>Takes buffers the device has used.</summary>
    /// <param name="cookies">Filled with what they were added with.</param>
    /// <param name="lengths">As many; filled with the bytes the device says it wrote: believe nothing. Empty where
    /// nobody asks.</param>
    /// <returns>How many.</returns>
    internal abstract int Take(Span<nint> cookies, Span<uint> lengths);

    /// <summary>Adds mbufs for the device to write. As many descriptors must be free.</summary>
    /// <param name="mbufs">Their handles are the cookies.</param>
    /// <param name="addressing">How the device finds them.</param>
    /// <param name="offset">Bytes from each buffer's start.</param>
    /// <param name="length">Bytes in each.</param>
    internal abstract void AddWritable(ReadOnlySpan<Mbuf> mbufs, in DmaAddressing addressing, uint offset, uint length);

    /// <summary>Adds packets of one segment for the device to read. As many descriptors must be free.</summary>
    /// <param name="mbufs">Their handles are the cookies.</param>
    /// <param name="addressing">How the device finds them.</param>
    /// <param name="headerBytes">Bytes before the data that belong to the buffer too.</param>
    internal abstract void AddReadable(ReadOnlySpan<Mbuf> mbufs, in DmaAddressing addressing, uint headerBytes);

    /// <summary>Adds a buffer of several parts.</summary>
    /// <param name="parts">First those to be read, then those to be written.</param>
    /// <param name="writable">How many of the latter.</param>
    /// <param name="cookie">Not 0.</param>
    /// <returns>False when too few descriptors are free.</returns>
    internal abstract bool TryAddChain(ReadOnlySpan<VirtioPart> parts, int writable, nint cookie);

    /// <summary>Lets the device see what was added.</summary>
    internal abstract void Publish();

    /// <summary>After <see cref="Publish"/>: the device asks to be told.</summary>
    internal abstract bool ShouldNotify();

    /// <summary>Something used waits to be taken.</summary>
    internal abstract bool HasUsed { get; }

    /// <summary>How many wait, up to a number; for inspection.</summary>
    internal abstract int CountUsed(int most);

    /// <summary>Asks for an interrupt at the next used buffer.</summary>
    internal abstract void EnableInterrupt();

    /// <summary>Asks for none.</summary>
    internal abstract void DisableInterrupt();

    /// <summary>Takes back a buffer the device has not used. Only once the device is reset; control path.</summary>
    /// <returns>Its cookie, 0 when there is none any more.</returns>
    internal nint TakeBack()
    {
        for (uint id = 0; InFlight != 0 && id <= Mask; id++)
        {
            nint cookie = Cookies[id];
            if (cookie == 0)
                continue;
            Cookies[id] = 0;
            InFlight--;
            return cookie;
        }
        return 0;
    }

    /// <summary>Gives the tables back; the shared memory is its owner's. Control path.</summary>
    public void Dispose()
    {
        NativeMemory.Free(Cookies);
        NativeMemory.Free(Counts);
        NativeMemory.Free(FreeIds);
        OnDispose();
    }

    /// <summary>Marks the queue broken.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal void Break(VirtqueueFault fault)
    {
        if (Fault == VirtqueueFault.None)
            Fault = fault;
    }

    private protected virtual void OnDispose() { }

    private protected byte* IndirectTable(uint id, out ulong iova)
    {
        nuint at = Layout.IndirectOffset + id * Layout.IndirectStride;
        iova = MemoryIova + at;
        return Memory + at;
    }
}
