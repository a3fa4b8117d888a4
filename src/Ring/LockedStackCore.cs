using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Dataplane;

/// <summary>Push and pop under a spinlock on a <see cref="StackHeader"/>: an array and a count.</summary>
internal static unsafe class LockedStackCore
{
    /// <summary>Pushes all or none; the last one ends on top. Any thread.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static bool TryPushBulk(StackHeader* stack, ref ulong items, uint count)
    {
        Enter(stack);
        uint length = (uint)stack->Count;
        bool fits = count <= stack->Capacity - length;
        if (fits && count != 0)
        {
            RingCopy.Copy(ref *(byte*)(StackHeader.Values(stack) + length),
                ref Unsafe.As<ulong, byte>(ref items), (nuint)count * StackHeader.ElementBytes);
            stack->Count = (int)(length + count);
        }
        Volatile.Write(ref stack->Lock, 0);                                 // L0, with L1
        return fits;
    }

    /// <summary>Pops as many as asked for, the top first, or none. Any thread.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static bool TryPopBulk(StackHeader* stack, ref ulong items, uint count)
    {
        Enter(stack);
        uint length = (uint)stack->Count;
        bool enough = count <= length;
        if (enough && count != 0)
        {
            StackCopy.Reversed(ref items, ref StackHeader.Values(stack)[length - count], count);
            stack->Count = (int)(length - count);
        }
        Volatile.Write(ref stack->Lock, 0);                                 // L0, with L1
        return enough;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Enter(StackHeader* stack)
    {
        if (Interlocked.Exchange(ref stack->Lock, 1) != 0)                  // L1, with L0
            EnterSlow(stack);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void EnterSlow(StackHeader* stack)
    {
        for (int spins = 0; ; spins++)
        {
            if (Volatile.Read(ref stack->Lock) == 0 && Interlocked.Exchange(ref stack->Lock, 1) == 0)   // L1
                return;
            RingWait.Once(spins);
        }
    }
}

/// <summary>Copies of 8-byte elements in reverse: what a stack pops first was pushed last.</summary>
internal static class StackCopy
{
    /// <summary>to[i] = from[count - 1 - i].</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Reversed(ref ulong to, ref ulong from, nuint count)
    {
        nuint done = 0;
        if (Vector512.IsHardwareAccelerated)
        {
            for (; done + 8 <= count; done += 8)
                Reverse8(Vector512.LoadUnsafe(ref from, count - 8 - done)).StoreUnsafe(ref to, done);
        }
        else
        {
            for (; done + 4 <= count; done += 4)
                Vector256.Shuffle(Vector256.LoadUnsafe(ref from, count - 4 - done), Vector256.Create(3UL, 2, 1, 0))
                    .StoreUnsafe(ref to, done);
        }
        for (; done < count; done++)
            Unsafe.Add(ref to, done) = Unsafe.Add(ref from, count - 1 - done);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> Reverse8(Vector512<ulong> v) =>
        Vector512.Shuffle(v, Vector512.Create(7UL, 6, 5, 4, 3, 2, 1, 0));
}
