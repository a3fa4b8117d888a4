namespace Dataplane.Tests;

public sealed class RingTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions());

    public void Dispose() => _eal.Dispose();

    private Ring<long> Create(int count = 8, RingSync producer = RingSync.MultiThread,
        RingSync consumer = RingSync.MultiThread, bool exactSize = false) =>
        Ring<long>.Create(_eal.Memory, "r", count, Memory.AnyNode, producer, consumer, exactSize);

    [Theory]
    [InlineData(2, false, 2, 1)]
    [InlineData(1024, false, 1024, 1023)]
    [InlineData(1, true, 2, 1)]
    [InlineData(7, true, 8, 7)]
    [InlineData(8, true, 16, 8)]
    [InlineData(1000, true, 1024, 1000)]
    public void Create_Count_GivesSizeAndCapacity(int count, bool exactSize, int size, int capacity)
    {
        using Ring<long> ring = Create(count, exactSize: exactSize);
        Assert.Equal(size, ring.Size);
        Assert.Equal(capacity, ring.Capacity);
        Assert.Equal(capacity, ring.EnqueueBurst(new long[2000]));
        Assert.True(ring.IsFull);
        Assert.Equal(0, ring.FreeCount);
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(1, false)]
    [InlineData(-8, false)]
    [InlineData(12, false)]
    [InlineData(0, true)]
    [InlineData(-1, true)]
    [InlineData(1 << 30, true)]
    [InlineData(int.MaxValue, true)]
    [InlineData(int.MinValue, false)]
    public void Create_CountOutOfRange_Throws(int count, bool exactSize) =>
        Assert.Throws<ConfigException>(() => Create(count, exactSize: exactSize));

    [Fact]
    public void Create_ElementOfThreeBytes_Throws() =>
        Assert.Throws<ConfigException>(() => Ring<ThreeBytes>.Create(_eal.Memory, "r", 8));

    [Theory]
    [InlineData("")]
    [InlineData("a name of twenty-nine letters")]
    public void Create_BadName_Throws(string name) =>
        Assert.Throws<ConfigException>(() => Ring<long>.Create(_eal.Memory, name, 8));

    [Fact]
    public void Create_NameTaken_ThrowsAndNameIsFreeAfterDispose()
    {
        using (Create())
            Assert.Throws<DataplaneException>(() => Create());
        Create().Dispose();
    }

    [Fact]
    public void Lookup_ByName_IsTheSameRing()
    {
        using Ring<long> ring = Create();
        Assert.True(ring.TryEnqueue(42));
        using (Ring<long> other = Ring<long>.Lookup(_eal.Memory, "r")!)
        {
            Assert.Equal("r", other.Name);
            Assert.True(other.TryDequeue(out long item));
            Assert.Equal(42, item);
        }
        Assert.True(ring.TryEnqueue(43));
        Assert.Null(Ring<long>.Lookup(_eal.Memory, "none"));
    }

    [Fact]
    public void Lookup_OtherElementSize_Throws()
    {
        using Ring<long> ring = Create();
        Assert.Throws<ConfigException>(() => Ring<int>.Lookup(_eal.Memory, "r"));
    }

    [Fact]
    public void Dispose_ThenUse_ThrowsNullReference()
    {
        Ring<long> ring = Create();
        ring.Dispose();
        ring.Dispose();
        Assert.Throws<NullReferenceException>(() => ring.TryEnqueue(1));
        Assert.Throws<NullReferenceException>(() => ring.Count);
    }

    [Theory, MemberData(nameof(RingCoreTests.AllModes), MemberType = typeof(RingCoreTests))]
    public void FreeAndAvailable_AfterEachOperation_AreTrue(RingSync producer, RingSync consumer)
    {
        using Ring<long> ring = Create(8, producer, consumer);
        long[] items = new long[8];
        Assert.True(ring.TryEnqueueBulk(items.AsSpan(0, 5), out int free));
        Assert.Equal(2, free);
        Assert.False(ring.TryEnqueueBulk(items.AsSpan(0, 3), out free));
        Assert.Equal(2, free);
        Assert.Equal(2, ring.EnqueueBurst(items.AsSpan(0, 3), out free));
        Assert.Equal(0, free);
        Assert.True(ring.TryDequeueBulk(items.AsSpan(0, 4), out int available));
        Assert.Equal(3, available);
        Assert.False(ring.TryDequeueBulk(items.AsSpan(0, 4), out available));
        Assert.Equal(3, available);
        Assert.Equal(3, ring.DequeueBurst(items.AsSpan(0, 4), out available));
        Assert.Equal(0, available);
        Assert.True(ring.IsEmpty);
        Assert.False(ring.TryDequeue(out _));
        Assert.True(ring.TryEnqueueBulk([]));
        Assert.Equal(0, ring.DequeueBurst([]));
    }

    [Theory, InlineData(true), InlineData(false)]
    public void ExplicitModes_RoundTheWrap_KeepOrder(bool single)
    {
        using Ring<long> ring = single ? Create(8, RingSync.SingleThread, RingSync.SingleThread) : Create(8);
        long sent = 0, received = 0;
        for (int round = 0; round < 100; round++)
        {
            long[] three = [sent++, sent++, sent++], two = [sent++, sent++];
            Assert.True(single ? ring.TryEnqueueBulkSp(three) : ring.TryEnqueueBulkMp(three));
            Assert.Equal(2, single ? ring.EnqueueBurstSp(two) : ring.EnqueueBurstMp(two));
            Assert.True(single ? ring.TryEnqueueSp(sent) : ring.TryEnqueueMp(sent));
            sent++;
            Assert.False(single ? ring.TryEnqueueBulkSp(two) : ring.TryEnqueueBulkMp(two));
            Assert.True(single ? ring.TryDequeueSc(out long item) : ring.TryDequeueMc(out item));
            Assert.Equal(received++, item);
            Assert.True(single ? ring.TryDequeueBulkSc(two) : ring.TryDequeueBulkMc(two));
            Assert.Equal([received++, received++], two);
            Assert.Equal(3, single ? ring.DequeueBurstSc(three) : ring.DequeueBurstMc(three));
            Assert.Equal([received++, received++, received++], three);
            Assert.False(single ? ring.TryDequeueSc(out item) : ring.TryDequeueMc(out item));
        }
    }

    [Fact]
    public void Reset_FullRing_IsEmptyAndUsable()
    {
        using Ring<long> ring = Create();
        ring.EnqueueBurst(new long[8]);
        ring.Reset();
        Assert.True(ring.IsEmpty);
        Assert.Equal(7, ring.EnqueueBurst(new long[8]));
    }

    [Fact]
    public void Dump_NamesSizeAndSides()
    {
        using Ring<long> ring = Create(8, RingSync.HeadTail, RingSync.SingleThread);
        ring.TryEnqueue(1);
        var text = new StringWriter();
        ring.Dump(text);
        Assert.Contains("size=8 capacity=7", text.ToString());
        Assert.Contains("producer sync=HeadTail head=1 tail=1", text.ToString());
        Assert.Contains("consumer sync=SingleThread head=0 tail=0", text.ToString());
    }

    [Theory, MemberData(nameof(RingCoreTests.AllModes), MemberType = typeof(RingCoreTests))]
    public void Operations_MillionElements_AllocateNothing(RingSync producer, RingSync consumer)
    {
        using Ring<long> ring = Create(64, producer, consumer);
        long[] items = new long[32];
        Move(10);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Move(1_000_000 / 33);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());

        void Move(int rounds)
        {
            for (int i = 0; i < rounds; i++)
            {
                ring.EnqueueBurst(items);
                ring.TryEnqueue(i);
                ring.TryDequeueBulk(items, out _);
                ring.TryDequeue(out _);
            }
        }
    }

#pragma warning disable CS0649
    private struct ThreeBytes
    {
        public byte A, B, C;
    }
#pragma warning restore CS0649
}
