namespace Dataplane;

/// <content>
/// Peek and zero copy: a start, then a finish by the same thread. Between them the side is closed to others (HTS: they
/// wait; ST: there are none). Sides made <see cref="RingSync.SingleThread"/> or <see cref="RingSync.HeadTail"/> only;
/// others throw, and so does a negative count. A start of 0 elements (bulk that does not fit, nothing there, or nothing
/// asked for) must have no finish: the side was not closed, and the finish would open it under another thread.
/// </content>
public sealed unsafe partial class Ring<T>
{
    /// <summary>Reserves room for <paramref name="count"/> elements or none.</summary>
    /// <returns>False when they do not fit.</returns>
    public bool TryEnqueueBulkStart(int count) => EnqueueStart(count, RingClaim.Bulk, out _) == count;

    /// <summary>Reserves room for up to <paramref name="count"/> elements.</summary>
    /// <returns>For how many.</returns>
    public int EnqueueBurstStart(int count) => EnqueueStart(count, RingClaim.Burst, out _);

    /// <summary>Appends what fits the room reserved. Fewer than reserved, also none, gives the rest of it
    /// back.</summary>
    /// <exception cref="DataplaneException">More than was reserved.</exception>
    public void EnqueueFinish(ReadOnlySpan<T> items)
    {
        uint head = RingPeek.Started(&_ring->Producer, (uint)items.Length, ProducerSync);
        if (items.Length > 0)
            RingCore.CopyIn(_ring, head, ref First(items), (uint)items.Length);
        RingPeek.Finish(ProducerSync, &_ring->Producer, (uint)items.Length);
    }

    /// <summary>Copies out the oldest elements, as many as <paramref name="items"/> holds or none, and leaves them
    /// in.</summary>
    /// <returns>False when there are fewer.</returns>
    public bool TryDequeueBulkStart(Span<T> items) => DequeueStart(items, RingClaim.Bulk) == items.Length;

    /// <summary>Copies out the oldest elements, as many as there are and fit, and leaves them in.</summary>
    /// <returns>How many.</returns>
    public int DequeueBurstStart(Span<T> items) => DequeueStart(items, RingClaim.Burst);

    /// <summary>Takes off the first <paramref name="count"/> of the elements seen; the others stay.</summary>
    /// <param name="count">0 to what the start returned.</param>
    /// <exception cref="DataplaneException">More than that.</exception>
    public void DequeueFinish(int count) => RingPeek.Finish(ConsumerSync, &_ring->Consumer, (uint)count);

    /// <summary>Gives out <paramref name="count"/> slots to write in place, or none.</summary>
    /// <param name="count">Slots wanted.</param>
    /// <param name="first">The first of them; valid until the finish.</param>
    /// <param name="second">Those after the wrap, most often empty.</param>
    /// <returns>False when they do not fit.</returns>
    public bool TryEnqueueZeroCopyBulkStart(int count, out Span<T> first, out Span<T> second) =>
        EnqueueZeroCopyStart(count, RingClaim.Bulk, out first, out second) == count;

    /// <summary>Gives out up to <paramref name="count"/> slots to write in place.</summary>
    /// <param name="count">Slots wanted.</param>
    /// <param name="first">The first of them; valid until the finish.</param>
    /// <param name="second">Those after the wrap, most often empty.</param>
    /// <returns>How many.</returns>
    public int EnqueueZeroCopyBurstStart(int count, out Span<T> first, out Span<T> second) =>
        EnqueueZeroCopyStart(count, RingClaim.Burst, out first, out second);

    /// <summary>Appends the first <paramref name="count"/> slots given out; the others stay free.</summary>
    /// <param name="count">0 to what the start returned.</param>
    /// <exception cref="DataplaneException">More than that.</exception>
    public void EnqueueZeroCopyFinish(int count) => RingPeek.Finish(ProducerSync, &_ring->Producer, (uint)count);

    /// <summary>Gives out the <paramref name="count"/> oldest elements to read in place, or none.</summary>
    /// <param name="count">Elements wanted.</param>
    /// <param name="first">The oldest; valid until the finish.</param>
    /// <param name="second">Those after the wrap, most often empty.</param>
    /// <returns>False when there are fewer.</returns>
    public bool TryDequeueZeroCopyBulkStart(int count, out Span<T> first, out Span<T> second) =>
        DequeueZeroCopyStart(count, RingClaim.Bulk, out first, out second) == count;

    /// <summary>Gives out up to <paramref name="count"/> of the oldest elements to read in place.</summary>
    /// <param name="count">Elements wanted.</param>
    /// <param name="first">The oldest; valid until the finish.</param>
    /// <param name="second">Those after the wrap, most often empty.</param>
    /// <returns>How many.</returns>
    public int DequeueZeroCopyBurstStart(int count, out Span<T> first, out Span<T> second) =>
        DequeueZeroCopyStart(count, RingClaim.Burst, out first, out second);

    /// <summary>Takes off the first <paramref name="count"/> of the elements given out; the others stay.</summary>
    /// <param name="count">0 to what the start returned.</param>
    /// <exception cref="DataplaneException">More than that.</exception>
    public void DequeueZeroCopyFinish(int count) => DequeueFinish(count);

    private int EnqueueStart(int count, RingClaim claim, out uint head) => (int)RingPeek.Start(ProducerSync,
        &_ring->Producer, &_ring->Consumer, _ring->Capacity, (uint)count, claim, out head, out _);

    private int EnqueueZeroCopyStart(int count, RingClaim claim, out Span<T> first, out Span<T> second)
    {
        count = EnqueueStart(count, claim, out uint head);
        Slots(head, count, out first, out second);
        return count;
    }

    private int DequeueStart(Span<T> items, RingClaim claim)
    {
        int count = DequeueStart(items.Length, claim, out uint head);
        if (count > 0)
            RingCore.CopyOut(_ring, head, ref First(items), (uint)count);
        return count;
    }

    private int DequeueStart(int count, RingClaim claim, out uint head) => (int)RingPeek.Start(ConsumerSync,
        &_ring->Consumer, &_ring->Producer, 0, (uint)count, claim, out head, out _);

    private int DequeueZeroCopyStart(int count, RingClaim claim, out Span<T> first, out Span<T> second)
    {
        count = DequeueStart(count, claim, out uint head);
        Slots(head, count, out first, out second);
        return count;
    }

    private void Slots(uint head, int count, out Span<T> first, out Span<T> second)
    {
        int slot = (int)(head & _ring->Mask), untilWrap = Math.Min(count, Size - slot);
        var slots = (T*)RingHeader.Slots(_ring);
        first = new Span<T>(slots + slot, untilWrap);
        second = new Span<T>(slots, count - untilWrap);
    }
}
