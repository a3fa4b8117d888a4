namespace Dataplane;

/// <content>Enqueue and dequeue in the mode the ring was made with.</content>
public sealed unsafe partial class Ring<T>
{
    /// <summary>Appends one element.</summary>
    /// <returns>False when it is full.</returns>
    public bool TryEnqueue(T item) => RingDispatch.EnqueueOne(_ring, item);

    /// <summary>Takes the oldest element.</summary>
    /// <returns>False when it is empty; <paramref name="item"/> is then default.</returns>
    public bool TryDequeue(out T item) => RingDispatch.DequeueOne(_ring, out item);

    /// <summary>Appends all of <paramref name="items"/> or none.</summary>
    /// <returns>False when they do not fit; none was taken.</returns>
    public bool TryEnqueueBulk(ReadOnlySpan<T> items) =>
        RingDispatch.Enqueue(_ring, ref First(items), (uint)items.Length, RingClaim.Bulk, out _) == items.Length;

    /// <summary>Appends all of <paramref name="items"/> or none.</summary>
    /// <param name="items">What to append.</param>
    /// <param name="free">Elements that fit after this. It looks at the consumers' line, which costs.</param>
    /// <returns>False when they do not fit; none was taken.</returns>
    public bool TryEnqueueBulk(ReadOnlySpan<T> items, out int free)
    {
        uint done = RingDispatch.Enqueue(_ring, ref First(items), (uint)items.Length,
            RingClaim.Bulk | RingClaim.Fresh, out uint left);
        free = (int)left;
        return done == items.Length;
    }

    /// <summary>Appends as many as fit, from the first.</summary>
    /// <returns>How many; the caller keeps the rest.</returns>
    public int EnqueueBurst(ReadOnlySpan<T> items) =>
        (int)RingDispatch.Enqueue(_ring, ref First(items), (uint)items.Length, RingClaim.Burst, out _);

    /// <summary>Appends as many as fit, from the first.</summary>
    /// <param name="items">What to append.</param>
    /// <param name="free">Elements that fit after this. It looks at the consumers' line, which costs.</param>
    /// <returns>How many; the caller keeps the rest.</returns>
    public int EnqueueBurst(ReadOnlySpan<T> items, out int free)
    {
        uint done = RingDispatch.Enqueue(_ring, ref First(items), (uint)items.Length, RingClaim.Fresh, out uint left);
        free = (int)left;
        return (int)done;
    }

    /// <summary>Takes as many as <paramref name="items"/> holds, or none.</summary>
    /// <returns>False when there are fewer; <paramref name="items"/> is then left alone.</returns>
    public bool TryDequeueBulk(Span<T> items) =>
        RingDispatch.Dequeue(_ring, ref First(items), (uint)items.Length, RingClaim.Bulk, out _) == items.Length;

    /// <summary>Takes as many as <paramref name="items"/> holds, or none.</summary>
    /// <param name="items">Where to put them.</param>
    /// <param name="available">Elements still in it after this. It looks at the producers' line, which costs.</param>
    /// <returns>False when there are fewer; <paramref name="items"/> is then left alone.</returns>
    public bool TryDequeueBulk(Span<T> items, out int available)
    {
        uint done = RingDispatch.Dequeue(_ring, ref First(items), (uint)items.Length,
            RingClaim.Bulk | RingClaim.Fresh, out uint left);
        available = (int)left;
        return done == items.Length;
    }

    /// <summary>Takes as many as there are, up to the length of <paramref name="items"/>.</summary>
    /// <returns>How many are now in it, from the first.</returns>
    public int DequeueBurst(Span<T> items) =>
        (int)RingDispatch.Dequeue(_ring, ref First(items), (uint)items.Length, RingClaim.Burst, out _);

    /// <summary>Takes as many as there are, up to the length of <paramref name="items"/>.</summary>
    /// <param name="items">Where to put them.</param>
    /// <param name="available">Elements still in it after this. It looks at the producers' line, which costs.</param>
    /// <returns>How many are now in it, from the first.</returns>
    public int DequeueBurst(Span<T> items, out int available)
    {
        uint done = RingDispatch.Dequeue(_ring, ref First(items), (uint)items.Length, RingClaim.Fresh, out uint left);
        available = (int)left;
        return (int)done;
    }
}
