using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Dataplane;

/// <summary>Lock-free push and pop on a <see cref="StackHeader"/>.</summary>
/// <remarks>
/// Two linked lists of slots, used and free. A push takes a chain off the free list, fills it and hangs it before the
/// used list; a pop goes the other way. A list's head is one 64-bit word: the index of its first slot, and a count of
/// changes that every swap adds one to. .NET has no 128-bit compare-and-swap, so links are indexes, not pointers.
/// ABA: a swap is deceived only if its thread sleeps between reading the head and swapping while that list changes
/// exactly a multiple of 2^38 times and has the same first slot again. At 100 million changes a second, more than a
/// contended line can do, that is a sleep of 45 minutes that ends on one change out of 2.7 * 10^11.
/// Chains stay in slot order as long as pushes and pops mirror each other, so eight links at a time are compared with
/// what that order would be: the walk then follows no pointers at all.
/// </remarks>
internal static unsafe class LockFreeStackCore
{
    /// <summary>Pushes all or none; the last one ends on top. Any thread.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static bool TryPushBulk(StackHeader* stack, ref ulong items, uint count)
    {
        if (count == 0)
            return true;
        uint first = StackList.Take<StackWalkOnly>(stack, &stack->Free, ref items, count, out uint last);
        if (first == 0)
            return false;
        StackList.TryWalk<StackFill>(stack, first, ref items, count, out _, out _);
        StackList.Put(stack, &stack->Used, first, last);
        Interlocked.Add(ref stack->Count, (int)count);                      // for information: orders nothing
        return true;
    }

    /// <summary>Pops as many as asked for, the top first, or none. Any thread.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static bool TryPopBulk(StackHeader* stack, ref ulong items, uint count)
    {
        if (count == 0)
            return true;
        uint first = StackList.Take<StackRead>(stack, &stack->Used, ref items, count, out uint last);
        if (first == 0)
            return false;
        StackList.Put(stack, &stack->Free, first, last);
        Interlocked.Add(ref stack->Count, -(int)count);                     // for information: orders nothing
        return true;
    }
}

/// <summary>The lists of a lock-free stack.</summary>
internal static unsafe class StackList
{
    private const int Run = 8;

    /// <summary>Takes the first <paramref name="count"/> slots off a list.</summary>
    /// <returns>Index of the first, 0 when there are fewer.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint Take<TVisit>(StackHeader* stack, ulong* list, ref ulong items, uint count, out uint last)
        where TVisit : struct, IStackVisit
    {
        ulong seen = Volatile.Read(ref *list);                              // S1, with S0
        while (true)
        {
            // Another thread may own these slots by now and change links and values: what was read counts only
            // if the swap succeeds. Links are in range at any time, so the walk is safe, if in vain.
            uint first = (uint)seen & StackHeader.IndexMask;
            ulong now;
            if (TryWalk<TVisit>(stack, first, ref items, count, out last, out uint after))
            {
                now = Interlocked.CompareExchange(ref *list, Head(seen, after), seen);   // S2, with S1
                if (now == seen)
                    return first;
            }
            else
            {
                Volatile.ReadBarrier();                                     // S3: the links before the head again
                now = Volatile.Read(ref *list);                             // S1
                if (now == seen)
                    return 0;
            }
            seen = now;
        }
    }

    /// <summary>Hangs a chain the caller owns before a list.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Put(StackHeader* stack, ulong* list, uint first, uint last)
    {
        ulong seen = Volatile.Read(ref *list);
        while (true)
        {
            StackHeader.Links(stack)[last] = (uint)seen & StackHeader.IndexMask;
            ulong now = Interlocked.CompareExchange(ref *list, Head(seen, first), seen);   // S0, with S1
            if (now == seen)
                return;
            seen = now;
        }
    }

    /// <summary>Visits <paramref name="count"/> slots from <paramref name="index"/> on.</summary>
    /// <returns>False when the chain ends before.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool TryWalk<TVisit>(StackHeader* stack, uint index, ref ulong items, uint count,
        out uint last, out uint after) where TVisit : struct, IStackVisit
    {
        uint* links = StackHeader.Links(stack);
        ulong* values = StackHeader.Values(stack);
        uint done = 0;
        last = 0;
        while (done != count && index != 0)
        {
            if (count - done >= Run && IsRun(links, index))
            {
                TVisit.Eight(values + index, ref items, done, count);
                done += Run;
                index += Run;
                last = index - 1;
                continue;
            }
            TVisit.One(values + index, ref items, done, count);
            done++;
            last = index;
            // A branch, not the loaded link where it is the next slot: a predicted index does not wait for the load.
            if (links[index] == index + 1)
                index++;
            else
                index = links[index];
        }
        after = index;
        return done == count;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsRun(uint* links, uint index) =>
        Vector256.Load(links + index) == Vector256.Create(index) + Vector256.Create(1u, 2, 3, 4, 5, 6, 7, 8);

    /// <summary>A list head: that first slot, one change more.</summary>
    private static ulong Head(ulong seen, uint first) => ((seen | StackHeader.IndexMask) + 1) | first;
}

/// <summary>What a walk does with each slot: the chain's first slot belongs to the last of the items pushed.</summary>
internal unsafe interface IStackVisit
{
    static abstract void One(ulong* value, ref ulong items, uint done, uint count);
    static abstract void Eight(ulong* values, ref ulong items, uint done, uint count);
}

/// <summary>Nothing.</summary>
internal unsafe struct StackWalkOnly : IStackVisit
{
    public static void One(ulong* value, ref ulong items, uint done, uint count) { }
    public static void Eight(ulong* values, ref ulong items, uint done, uint count) { }
}

/// <summary>Pop: the top first.</summary>
internal unsafe struct StackRead : IStackVisit
{
    public static void One(ulong* value, ref ulong items, uint done, uint count) =>
        Unsafe.Add(ref items, done) = *value;

    public static void Eight(ulong* values, ref ulong items, uint done, uint count) =>
        Vector512.Load(values).StoreUnsafe(ref items, done);
}

/// <summary>Push: the last item first.</summary>
internal unsafe struct StackFill : IStackVisit
{
    public static void One(ulong* value, ref ulong items, uint done, uint count) =>
        *value = Unsafe.Add(ref items, count - 1 - done);

    public static void Eight(ulong* values, ref ulong items, uint done, uint count) =>
        StackCopy.Reversed(ref *values, ref Unsafe.Add(ref items, count - 8 - done), 8);
}
