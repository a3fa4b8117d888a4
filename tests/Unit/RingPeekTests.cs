namespace Dataplane.Tests;

public sealed class RingPeekTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions());

    public void Dispose() => _eal.Dispose();

    private Ring<long> Create(RingSync sync) => Ring<long>.Create(_eal.Memory, "r", 8, Memory.AnyNode, sync, sync);

    [Theory, InlineData(RingSync.SingleThread), InlineData(RingSync.HeadTail)]
    public void EnqueueStart_NotFinished_IsInvisible(RingSync sync)
    {
        using Ring<long> ring = Create(sync);
        Assert.True(ring.TryEnqueueBulkStart(3));
        Assert.True(ring.IsEmpty);
        ring.EnqueueFinish([1, 2]);
        Assert.Equal(2, ring.Count);
        Assert.False(ring.TryEnqueueBulkStart(6));
        Assert.Equal(5, ring.EnqueueBurstStart(6));
        ring.EnqueueFinish([]);
        Assert.Equal(2, ring.Count);
        long[] items = new long[2];
        Assert.True(ring.TryDequeueBulk(items));
        Assert.Equal([1, 2], items);
    }

    [Theory, InlineData(RingSync.SingleThread), InlineData(RingSync.HeadTail)]
    public void DequeueStart_FinishedWithFewer_KeepsTheRest(RingSync sync)
    {
        using Ring<long> ring = Create(sync);
        ring.EnqueueBurst([1, 2, 3]);
        long[] items = new long[4];
        Assert.False(ring.TryDequeueBulkStart(items));
        Assert.Equal(3, ring.DequeueBurstStart(items));
        Assert.Equal([1, 2, 3, 0], items);
        Assert.Equal(3, ring.Count);
        ring.DequeueFinish(0);
        Assert.Equal(3, ring.DequeueBurstStart(items));
        ring.DequeueFinish(2);
        Assert.Equal(1, ring.Count);
        Assert.True(ring.TryDequeue(out long last));
        Assert.Equal(3, last);
    }

    [Theory, InlineData(RingSync.SingleThread), InlineData(RingSync.HeadTail)]
    public void ZeroCopy_RoundTheWrap_GivesTwoSpansAndKeepsOrder(RingSync sync)
    {
        using Ring<long> ring = Create(sync);
        ring.EnqueueBurst(new long[6]);
        ring.DequeueBurst(new long[6]);
        Assert.True(ring.TryEnqueueZeroCopyBulkStart(5, out Span<long> first, out Span<long> second));
        Assert.Equal((2, 3), (first.Length, second.Length));
        for (int i = 0; i < 5; i++)
            (i < 2 ? ref first[i] : ref second[i - 2]) = i;
        ring.EnqueueZeroCopyFinish(4);
        Assert.Equal(4, ring.Count);
        Assert.False(ring.TryDequeueZeroCopyBulkStart(5, out _, out _));
        Assert.Equal(4, ring.DequeueZeroCopyBurstStart(5, out first, out second));
        Assert.Equal([0, 1], first.ToArray());
        Assert.Equal([2, 3], second.ToArray());
        ring.DequeueZeroCopyFinish(3);
        Assert.True(ring.TryDequeue(out long last));
        Assert.Equal(3, last);
        Assert.Equal(7, ring.EnqueueZeroCopyBurstStart(100, out first, out second));
        Assert.Equal(7, first.Length + second.Length);
    }

    [Theory, InlineData(RingSync.SingleThread), InlineData(RingSync.HeadTail)]
    public void Finish_MoreThanStarted_Throws(RingSync sync)
    {
        using Ring<long> ring = Create(sync);
        Assert.Throws<DataplaneException>(() => ring.EnqueueFinish([1]));
        Assert.True(ring.TryEnqueueBulkStart(1));
        Assert.Throws<DataplaneException>(() => ring.EnqueueFinish([1, 2]));
        Assert.Throws<DataplaneException>(() => ring.DequeueFinish(1));
    }

    [Theory, InlineData(RingSync.MultiThread), InlineData(RingSync.RelaxedTail)]
    public void Start_ModeWithoutPeek_Throws(RingSync sync)
    {
        using Ring<long> ring = Create(sync);
        Assert.Throws<DataplaneException>(() => ring.TryEnqueueBulkStart(1));
        Assert.Throws<DataplaneException>(() => ring.DequeueBurstStart(new long[1]));
    }

    [Theory, InlineData(RingSync.SingleThread), InlineData(RingSync.HeadTail)]
    public void Start_NegativeCount_IsRefused(RingSync sync)
    {
        using Ring<long> ring = Create(sync);
        Assert.Throws<DataplaneException>(() => ring.EnqueueBurstStart(-1));
        Assert.Throws<DataplaneException>(() => ring.DequeueZeroCopyBurstStart(-1, out _, out _));
        Assert.True(ring.TryEnqueueBulk([1, 2]));
    }
}
