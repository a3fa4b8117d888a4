namespace Dataplane.Tests;

/// <summary>The lock-free stack with its ABA bug: a swap of a list's head counts no change.</summary>
internal unsafe struct UntaggedStack : IStackUnderTest
{
    public static bool TryPushBulk(StackHeader* stack, ref ulong items, uint count)
    {
        uint first = Take(stack, &stack->Free, count, out uint last);
        if (first == 0)
            return false;
        uint index = first;
        for (uint i = 0; i < count; i++, index = StackHeader.Links(stack)[index])
            StackHeader.Values(stack)[index] = System.Runtime.CompilerServices.Unsafe.Add(ref items, count - 1 - i);
        Put(stack, &stack->Used, first, last);
        return true;
    }

    public static bool TryPopBulk(StackHeader* stack, ref ulong items, uint count)
    {
        uint first = Take(stack, &stack->Used, count, out uint last);
        if (first == 0)
            return false;
        uint index = first;
        for (uint i = 0; i < count; i++, index = StackHeader.Links(stack)[index])
            System.Runtime.CompilerServices.Unsafe.Add(ref items, i) = StackHeader.Values(stack)[index];
        Put(stack, &stack->Free, first, last);
        return true;
    }

    private static uint Take(StackHeader* stack, ulong* list, uint count, out uint last)
    {
        while (true)
        {
            ulong first = Volatile.Read(ref *list);
            uint index = (uint)first;
            last = 0;
            for (uint i = 0; i < count && index != 0; i++)
            {
                last = index;
                index = StackHeader.Links(stack)[index];
                Chaos.Delay();
                if (index == 0 && i + 1 < count)
                    return 0;
            }
            if (first == 0)
                return 0;
            if (Interlocked.CompareExchange(ref *list, index, first) == first)
                return (uint)first;
        }
    }

    private static void Put(StackHeader* stack, ulong* list, uint first, uint last)
    {
        ulong seen;
        do
        {
            seen = Volatile.Read(ref *list);
            StackHeader.Links(stack)[last] = (uint)seen;
        }
        while (Interlocked.CompareExchange(ref *list, first, seen) != seen);
    }
}

/// <summary>The locked stack without its lock.</summary>
internal unsafe struct UnlockedStack : IStackUnderTest
{
    public static bool TryPushBulk(StackHeader* stack, ref ulong items, uint count)
    {
        int length = stack->Count;
        if (length + count > stack->Capacity)
            return false;
        for (int i = 0; i < count; i++)
            StackHeader.Values(stack)[length + i] = System.Runtime.CompilerServices.Unsafe.Add(ref items, i);
        Chaos.Delay();
        stack->Count = length + (int)count;
        return true;
    }

    public static bool TryPopBulk(StackHeader* stack, ref ulong items, uint count)
    {
        int length = stack->Count;
        if (count > length)
            return false;
        for (int i = 0; i < count; i++)
            System.Runtime.CompilerServices.Unsafe.Add(ref items, i) = StackHeader.Values(stack)[length - 1 - i];
        Chaos.Delay();
        stack->Count = length - (int)count;
        return true;
    }
}
