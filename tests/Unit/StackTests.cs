using FsCheck;
using FsCheck.Fluent;

namespace Dataplane.Tests;

public sealed class StackTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions());

    public void Dispose() => _eal.Dispose();

    [Theory, InlineData(true), InlineData(false)]
    public void Stack_PushThenPop_IsLastInFirstOut(bool lockFree)
    {
        using Subject stack = new(_eal.Memory, lockFree, 10);
        Assert.True(stack.TryPushBulk([1, 2, 3]));
        Assert.True(stack.TryPush(4));
        Assert.Equal(4, stack.Count);
        long[] items = new long[3];
        Assert.True(stack.TryPopBulk(items));
        Assert.Equal([4, 3, 2], items);
        Assert.True(stack.TryPop(out long item));
        Assert.Equal(1, item);
        Assert.False(stack.TryPop(out item));
        Assert.Equal(0, item);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void Stack_BulkThatDoesNotFit_MovesNothing(bool lockFree)
    {
        using Subject stack = new(_eal.Memory, lockFree, 10);
        Assert.False(stack.TryPushBulk(new long[11]));
        Assert.Equal(0, stack.Count);
        Assert.True(stack.TryPushBulk(new long[10]));
        Assert.False(stack.TryPush(1));
        Assert.False(stack.TryPopBulk(new long[11]));
        Assert.Equal(10, stack.Count);
        Assert.True(stack.TryPushBulk([]));
        Assert.True(stack.TryPopBulk([]));
    }

    [Theory]
    [InlineData(true, 1), InlineData(true, 100), InlineData(false, 1), InlineData(false, 100)]
    public void Stack_RandomOperations_AnswersAsAStack(bool lockFree, int capacity)
    {
        Gen<int[]> runs = Gen.Choose(-40, 40).ArrayOf(300);
        Prop.ForAll(runs.ToArbitrary(), counts => Replay(lockFree, capacity, counts))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(30));
    }

    private void Replay(bool lockFree, int capacity, int[] counts)
    {
        using Subject stack = new(_eal.Memory, lockFree, capacity);
        var model = new Stack<long>();
        long made = 0;
        foreach (int count in counts)
        {
            long[] items = new long[Math.Abs(count)];
            if (count > 0)
            {
                for (int i = 0; i < items.Length; i++)
                    items[i] = ++made;
                bool fits = model.Count + count <= capacity;
                Assert.Equal(fits, stack.TryPushBulk(items));
                foreach (long item in fits ? items : [])
                    model.Push(item);
            }
            else
            {
                bool enough = items.Length <= model.Count;
                Assert.Equal(enough, stack.TryPopBulk(items));
                foreach (long item in enough ? items : [])
                    Assert.Equal(model.Pop(), item);
            }
            Assert.Equal(model.Count, stack.Count);
        }
    }

    [Theory, InlineData(true), InlineData(false)]
    public void Stack_MillionElements_AllocatesNothing(bool lockFree)
    {
        using Subject stack = new(_eal.Memory, lockFree, 64);
        long[] items = new long[32];
        Move(10);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Move(1_000_000 / 33);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());

        void Move(int rounds)
        {
            for (int i = 0; i < rounds; i++)
            {
                stack.TryPushBulk(items);
                stack.TryPush(i);
                stack.TryPop(out _);
                stack.TryPopBulk(items);
            }
        }
    }

    [Fact]
    public void Create_BadArguments_Throw()
    {
        Assert.Throws<ConfigException>(() => LockFreeStack<long>.Create(_eal.Memory, "", 8));
        Assert.Throws<ConfigException>(() => LockFreeStack<long>.Create(_eal.Memory, "s", 0));
        Assert.Throws<ConfigException>(() => LockFreeStack<long>.Create(_eal.Memory, "s", 1 << 26));
        Assert.Throws<ConfigException>(() => LockedStack<int>.Create(_eal.Memory, "s", 8));
        Assert.Throws<ConfigException>(() => LockedStack<long>.Create(_eal.Memory, new string('x', 28), 8));
    }

    [Fact]
    public void Lookup_ByName_IsTheSameStackOfThatKind()
    {
        using LockFreeStack<long> stack = LockFreeStack<long>.Create(_eal.Memory, "s", 8);
        stack.TryPush(42);
        using (LockFreeStack<ulong> other = LockFreeStack<ulong>.Lookup(_eal.Memory, "s")!)
        {
            Assert.True(other.TryPop(out ulong item));
            Assert.Equal(42ul, item);
        }
        Assert.Null(LockFreeStack<long>.Lookup(_eal.Memory, "none"));
        Assert.Throws<ConfigException>(() => LockedStack<long>.Lookup(_eal.Memory, "s"));
        Assert.Throws<ConfigException>(() => LockFreeStack<int>.Lookup(_eal.Memory, "s"));
    }

    [Fact]
    public void Dispose_ThenUse_ThrowsNullReference()
    {
        LockFreeStack<long> lockFree = LockFreeStack<long>.Create(_eal.Memory, "a", 8);
        lockFree.Dispose();
        Assert.Throws<NullReferenceException>(() => lockFree.TryPush(1));
        LockedStack<long> locked = LockedStack<long>.Create(_eal.Memory, "a", 8);
        locked.Dispose();
        locked.Dispose();
        Assert.Throws<NullReferenceException>(() => locked.TryPop(out _));
    }

    /// <summary>Either kind.</summary>
    private sealed class Subject(Memory memory, bool lockFree, int capacity) : IDisposable
    {
        private readonly LockFreeStack<long>? _free = lockFree ? LockFreeStack<long>.Create(memory, "s", capacity)
            : null;
        private readonly LockedStack<long>? _locked = lockFree ? null : LockedStack<long>.Create(memory, "s", capacity);

        public int Count => _free?.Count ?? _locked!.Count;

        public bool TryPush(long item) => _free?.TryPush(item) ?? _locked!.TryPush(item);

        public bool TryPop(out long item) =>
            _free != null ? _free.TryPop(out item) : _locked!.TryPop(out item);

        public bool TryPushBulk(ReadOnlySpan<long> items) => _free?.TryPushBulk(items) ?? _locked!.TryPushBulk(items);

        public bool TryPopBulk(Span<long> items) => _free?.TryPopBulk(items) ?? _locked!.TryPopBulk(items);

        public void Dispose()
        {
            _free?.Dispose();
            _locked?.Dispose();
        }
    }
}
