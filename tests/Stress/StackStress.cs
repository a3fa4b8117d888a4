using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Dataplane.Tests;

/// <summary>Pops and pushes of a stack, as a type so that broken ones can take their place.</summary>
internal unsafe interface IStackUnderTest
{
    static abstract bool TryPushBulk(StackHeader* stack, ref ulong items, uint count);
    static abstract bool TryPopBulk(StackHeader* stack, ref ulong items, uint count);
}

/// <summary>
/// Threads pop elements of a full stack and push them back. Whoever pops one owns it: an element owned twice came out
/// twice. At the end every element must be there once.
/// </summary>
internal sealed unsafe class StackStress<TStack> where TStack : struct, IStackUnderTest
{
    private const int Elements = 64, MaxBulk = 12;
    private static readonly TimeSpan s_hang = TimeSpan.FromSeconds(240);

    private readonly StackHeader* _stack;
    private readonly int _seed;
    private readonly long _deadline;
    private readonly int[] _owned = new int[Elements];
    private string? _wrong;
    private int _popped;

    private StackStress(StackHeader* stack, int seed, TimeSpan time)
    {
        _stack = stack;
        _seed = seed;
        _deadline = Stopwatch.GetTimestamp() + (long)(time.TotalSeconds * Stopwatch.Frequency);
    }

    /// <summary>Runs and checks.</summary>
    /// <returns>What was wrong, or null.</returns>
    internal static string? Run(StackKind kind, int threads, int seed, TimeSpan time)
    {
        var memory = (StackHeader*)NativeMemory.AlignedAlloc(StackHeader.BytesFor(kind, Elements), 128);
        StackHeader.Init(memory, "stress", kind, Elements);
        string? wrong = new StackStress<TStack>(memory, seed, time).Run(threads);
        if (wrong != "a thread hangs")
            NativeMemory.AlignedFree(memory);
        return wrong;
    }

    private string? Run(int count)
    {
        Span<ulong> all = stackalloc ulong[Elements];
        for (int i = 0; i < Elements; i++)
            all[i] = (ulong)i;
        if (!TStack.TryPushBulk(_stack, ref all[0], Elements))
            return "the stack cannot be filled";
        List<Thread> threads = [.. Enumerable.Range(0, count).Select(
            i => new Thread(() => PopAndPush(_seed + i)) { IsBackground = true })];
        threads.ForEach(thread => thread.Start());
        foreach (Thread thread in threads)
            if (!thread.Join(s_hang))
                return "a thread hangs";
        return _wrong ?? Drain();
    }

    private void PopAndPush(int seed)
    {
        Chaos.Seed(seed);
        Span<ulong> items = stackalloc ulong[MaxBulk];
        while (_wrong == null && Stopwatch.GetTimestamp() is var now
            && (now < _deadline || (Volatile.Read(ref _popped) <= 1000 && now < _deadline + 60 * Stopwatch.Frequency)))
        {
            uint count = Chaos.Next() % MaxBulk + 1;
            if (!TStack.TryPopBulk(_stack, ref items[0], count))
                continue;
            Interlocked.Increment(ref _popped);
            foreach (ulong item in items[..(int)count])
                if (item >= Elements || Interlocked.Exchange(ref _owned[item], 1) != 0)
                    _wrong = $"element {item} came out twice";
            Chaos.Delay();
            foreach (ulong item in items[..(int)count])
                if (item < Elements)
                    Volatile.Write(ref _owned[item], 0);
            long start = Stopwatch.GetTimestamp();
            while (_wrong == null && !TStack.TryPushBulk(_stack, ref items[0], count))
            {
                if (Stopwatch.GetElapsedTime(start).TotalSeconds > 20)
                    _wrong = "element cannot be pushed back: slots are lost";
            }
        }
    }

    private string? Drain()
    {
        for (int left = Elements; left > 0; left--)
        {
            ulong item = 0;
            if (!TStack.TryPopBulk(_stack, ref item, 1))
                return $"element lost: {left} of them";
            if (item >= Elements || Interlocked.Exchange(ref _owned[item], 1) != 0)
                return $"element {item} was in it twice";
        }
        return _popped > 1000 ? null : "hardly anything moved";
    }
}

/// <summary>The lock-free stack, with delays while it walks a list: between reading the head and swapping it.</summary>
internal unsafe struct DelayedLockFreeStack : IStackUnderTest
{
    public static bool TryPushBulk(StackHeader* stack, ref ulong items, uint count)
    {
        uint first = StackList.Take<DelayedVisit<StackWalkOnly>>(stack, &stack->Free, ref items, count, out uint last);
        if (first == 0)
            return false;
        StackList.TryWalk<StackFill>(stack, first, ref items, count, out _, out _);
        StackList.Put(stack, &stack->Used, first, last);
        return true;
    }

    public static bool TryPopBulk(StackHeader* stack, ref ulong items, uint count)
    {
        uint first = StackList.Take<DelayedVisit<StackRead>>(stack, &stack->Used, ref items, count, out uint last);
        if (first == 0)
            return false;
        StackList.Put(stack, &stack->Free, first, last);
        return true;
    }
}

/// <summary>A delay, then the visit.</summary>
internal unsafe struct DelayedVisit<TVisit> : IStackVisit where TVisit : struct, IStackVisit
{
    public static void One(ulong* value, ref ulong items, uint done, uint count)
    {
        TVisit.One(value, ref items, done, count);
        Chaos.Delay();
    }

    public static void Eight(ulong* values, ref ulong items, uint done, uint count)
    {
        TVisit.Eight(values, ref items, done, count);
        Chaos.Delay();
    }
}

/// <summary>The lock-free stack as it ships.</summary>
internal unsafe struct ShippedLockFreeStack : IStackUnderTest
{
    public static bool TryPushBulk(StackHeader* stack, ref ulong items, uint count) =>
        LockFreeStackCore.TryPushBulk(stack, ref items, count);

    public static bool TryPopBulk(StackHeader* stack, ref ulong items, uint count) =>
        LockFreeStackCore.TryPopBulk(stack, ref items, count);
}

/// <summary>The locked stack as it ships.</summary>
internal unsafe struct ShippedLockedStack : IStackUnderTest
{
    public static bool TryPushBulk(StackHeader* stack, ref ulong items, uint count) =>
        LockedStackCore.TryPushBulk(stack, ref items, count);

    public static bool TryPopBulk(StackHeader* stack, ref ulong items, uint count) =>
        LockedStackCore.TryPopBulk(stack, ref items, count);
}
