using System.Runtime.CompilerServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// A ring in shared memory, as a queue sees it: where things are. Never changes; what moves is the queue's own, since
/// the other end can write anything anywhere in the ring.
/// </summary>
internal sealed unsafe class MemifRing
{
    private readonly MemifMemory _memory;   // keeps the table

    /// <summary>A ring that was checked to lie inside its region.</summary>
    internal MemifRing(MemifMemory memory, byte* address, int log2Size, SafeFileHandle signal)
    {
        _memory = memory;
        Header = (MemifRingHeader*)address;
        Descs = (MemifDesc*)(address + MemifProtocol.RingHeaderBytes);
        Size = 1u << log2Size;
        Mask = Size - 1;
        Signal = signal;
        Regions = memory.Table;
        RegionCount = (uint)memory.Count;
    }

    internal MemifRingHeader* Header { get; }

    internal MemifDesc* Descs { get; }

    /// <summary>Descriptors.</summary>
    internal uint Size { get; }

    internal uint Mask { get; }

    internal MemifRegion* Regions { get; }

    internal uint RegionCount { get; }

    /// <summary>The eventfd by which the sender wakes the receiver.</summary>
    internal SafeFileHandle Signal { get; }

    /// <summary>A client's: the first of the slots' own buffers, in region 0.</summary>
    internal byte* Buffers { get; init; }

    /// <summary>A client's: where that is in region 0.</summary>
    internal uint BuffersOffset { get; init; }

    /// <summary>A client's: from one buffer to the next, an odd number of cache lines.</summary>
    internal uint Stride { get; init; }

    /// <summary>A client's: bytes of a buffer that may be used.</summary>
    internal uint BufferBytes { get; init; }

    /// <summary>A client's: descriptors may point at mbufs.</summary>
    internal bool IsShared { get; init; }

    /// <summary>Bytes of a ring with so many descriptors.</summary>
    internal static ulong BytesOf(int log2Size) =>
        MemifProtocol.RingHeaderBytes + ((ulong)MemifProtocol.DescBytes << log2Size);

    /// <summary>A client's: makes every descriptor point at its slot's own buffer, and the ring empty.</summary>
    internal void Initialize()
    {
        for (uint slot = 0; slot < Size; slot++)
            PointAtOwn(slot);
        Header->Cookie = MemifProtocol.Cookie;
        Header->Flags = 0;
        Header->Head = 0;
        Header->Tail = 0;
    }

    /// <summary>A client's: makes a descriptor point at its slot's own buffer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void PointAtOwn(uint slot)
    {
        Descs[slot].High = BuffersOffset + slot * Stride;
        Descs[slot].Low = MemifDesc.MakeLow(0, BufferBytes);
    }
}
