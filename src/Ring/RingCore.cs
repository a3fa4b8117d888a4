using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// Enqueue and dequeue on a <see cref="RingHeader"/>: no managed object, no allocation, any unmanaged element of the
/// ring's element size.
/// </summary>
internal static unsafe class RingCore
{
    /// <summary>Appends elements; copies them. Threads: as <typeparamref name="TSync"/>, which the ring was made
    /// with.</summary>
    /// <returns>How many, from the first: all or 0 with <see cref="RingClaim.Bulk"/>.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint Enqueue<TSync, T>(RingHeader* ring, ref T items, uint count, RingClaim claim, out uint free)
        where TSync : struct, IRingSync where T : unmanaged
    {
        count = TSync.Claim(&ring->Producer, &ring->Consumer, ring->Capacity, count, claim, out uint head, out free);
        if (count == 0)
            return 0;
        uint slot = head & ring->Mask;
        if (slot + count > ring->Size || Bytes<T>(count) < RingCopy.Block)
            return EnqueueRest<TSync, T>(ring, head, ref items, count);
        RingCopy.CopyBlocks(ref At<T>(ref *RingHeader.Slots(ring), slot), ref Unsafe.As<T, byte>(ref items),
            Bytes<T>(count));
        TSync.Publish(&ring->Producer, head, count);
        return count;
    }

    /// <summary>Takes elements off. Threads: as <typeparamref name="TSync"/>, which the ring was made with.</summary>
    /// <returns>How many are now in <paramref name="items"/>: all or 0 with <see cref="RingClaim.Bulk"/>.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint Dequeue<TSync, T>(RingHeader* ring, ref T items, uint count, RingClaim claim,
        out uint available) where TSync : struct, IRingSync where T : unmanaged
    {
        count = TSync.Claim(&ring->Consumer, &ring->Producer, 0, count, claim, out uint head, out available);
        if (count == 0)
            return 0;
        uint slot = head & ring->Mask;
        if (slot + count > ring->Size || Bytes<T>(count) < RingCopy.Block)
            return DequeueRest<TSync, T>(ring, head, ref items, count);
        RingCopy.CopyBlocks(ref Unsafe.As<T, byte>(ref items), ref At<T>(ref *RingHeader.Slots(ring), slot),
            Bytes<T>(count));
        TSync.Publish(&ring->Consumer, head, count);
        return count;
    }

    // What wraps or is short ends in a call, so that the straight way keeps all it needs in registers.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static uint EnqueueRest<TSync, T>(RingHeader* ring, uint head, ref T items, uint count)
        where TSync : struct, IRingSync where T : unmanaged
    {
        CopyIn(ring, head, ref items, count);
        TSync.Publish(&ring->Producer, head, count);
        return count;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static uint DequeueRest<TSync, T>(RingHeader* ring, uint head, ref T items, uint count)
        where TSync : struct, IRingSync where T : unmanaged
    {
        CopyOut(ring, head, ref items, count);
        TSync.Publish(&ring->Consumer, head, count);
        return count;
    }

    /// <summary>Appends one element: no copy loop, no wrap.</summary>
    /// <returns>False when it is full.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool EnqueueOne<TSync, T>(RingHeader* ring, T item)
        where TSync : struct, IRingSync where T : unmanaged
    {
        if (TSync.Claim(&ring->Producer, &ring->Consumer, ring->Capacity, 1, RingClaim.Bulk, out uint head, out _) == 0)
            return false;
        ((T*)RingHeader.Slots(ring))[head & ring->Mask] = item;
        TSync.Publish(&ring->Producer, head, 1);
        return true;
    }

    /// <summary>Takes one element off: no copy loop, no wrap.</summary>
    /// <returns>False when it is empty; <paramref name="item"/> is then default.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool DequeueOne<TSync, T>(RingHeader* ring, out T item)
        where TSync : struct, IRingSync where T : unmanaged
    {
        if (TSync.Claim(&ring->Consumer, &ring->Producer, 0, 1, RingClaim.Bulk, out uint head, out _) == 0)
        {
            item = default;
            return false;
        }
        item = ((T*)RingHeader.Slots(ring))[head & ring->Mask];
        TSync.Publish(&ring->Consumer, head, 1);
        return true;
    }

    /// <summary>Copies into the slots from <paramref name="head"/> on.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void CopyIn<T>(RingHeader* ring, uint head, ref T items, uint count) where T : unmanaged
    {
        uint slot = head & ring->Mask;
        ref byte slots = ref *RingHeader.Slots(ring);
        if (slot + count <= ring->Size)
            RingCopy.Copy(ref At<T>(ref slots, slot), ref Unsafe.As<T, byte>(ref items), Bytes<T>(count));
        else
            CopyInWrapped(ring, slot, ref items, count);
    }

    /// <summary>Copies out of the slots from <paramref name="head"/> on.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void CopyOut<T>(RingHeader* ring, uint head, ref T items, uint count) where T : unmanaged
    {
        uint slot = head & ring->Mask;
        ref byte slots = ref *RingHeader.Slots(ring);
        if (slot + count <= ring->Size)
            RingCopy.Copy(ref Unsafe.As<T, byte>(ref items), ref At<T>(ref slots, slot), Bytes<T>(count));
        else
            CopyOutWrapped(ring, slot, ref items, count);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void CopyInWrapped<T>(RingHeader* ring, uint slot, ref T items, uint count) where T : unmanaged
    {
        uint first = ring->Size - slot;
        ref byte slots = ref *RingHeader.Slots(ring);
        ref byte from = ref Unsafe.As<T, byte>(ref items);
        RingCopy.Copy(ref At<T>(ref slots, slot), ref from, Bytes<T>(first));
        RingCopy.Copy(ref slots, ref At<T>(ref from, first), Bytes<T>(count - first));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void CopyOutWrapped<T>(RingHeader* ring, uint slot, ref T items, uint count) where T : unmanaged
    {
        uint first = ring->Size - slot;
        ref byte slots = ref *RingHeader.Slots(ring);
        ref byte to = ref Unsafe.As<T, byte>(ref items);
        RingCopy.Copy(ref to, ref At<T>(ref slots, slot), Bytes<T>(first));
        RingCopy.Copy(ref At<T>(ref to, first), ref slots, Bytes<T>(count - first));
    }

    private static ref byte At<T>(ref byte first, uint index) where T : unmanaged =>
        ref Unsafe.Add(ref first, (nuint)index * (nuint)sizeof(T));

    private static nuint Bytes<T>(uint count) where T : unmanaged => (nuint)count * (nuint)sizeof(T);
}
