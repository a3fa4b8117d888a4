namespace Dataplane;

/// <content>
/// The same, with the mode in the name: no branch on it. Mp and Mc are for sides made
/// <see cref="RingSync.MultiThread"/>. Sp and Sc are for sides made <see cref="RingSync.SingleThread"/>, or
/// MultiThread while one thread is on that side. On other sides they corrupt the ring.
/// </content>
public sealed unsafe partial class Ring<T>
{
    /// <summary><see cref="TryEnqueue"/> for the only producer.</summary>
    /// <returns>False when it is full.</returns>
    public bool TryEnqueueSp(T item) => RingCore.EnqueueOne<StSync, T>(_ring, item);

    /// <summary><see cref="TryEnqueue"/> for one of many producers.</summary>
    /// <returns>False when it is full.</returns>
    public bool TryEnqueueMp(T item) => RingCore.EnqueueOne<MtSync, T>(_ring, item);

    /// <summary><see cref="TryEnqueueBulk(ReadOnlySpan{T})"/> for the only producer.</summary>
    /// <returns>False when they do not fit; none was taken.</returns>
    public bool TryEnqueueBulkSp(ReadOnlySpan<T> items) => RingCore.Enqueue<StSync, T>(
        _ring, ref First(items), (uint)items.Length, RingClaim.Bulk, out _) == items.Length;

    /// <summary><see cref="TryEnqueueBulk(ReadOnlySpan{T})"/> for one of many producers.</summary>
    /// <returns>False when they do not fit; none was taken.</returns>
    public bool TryEnqueueBulkMp(ReadOnlySpan<T> items) => RingCore.Enqueue<MtSync, T>(
        _ring, ref First(items), (uint)items.Length, RingClaim.Bulk, out _) == items.Length;

    /// <summary><see cref="EnqueueBurst(ReadOnlySpan{T})"/> for the only producer.</summary>
    /// <returns>How many; the caller keeps the rest.</returns>
    public int EnqueueBurstSp(ReadOnlySpan<T> items) => (int)RingCore.Enqueue<StSync, T>(
        _ring, ref First(items), (uint)items.Length, RingClaim.Burst, out _);

    /// <summary><see cref="EnqueueBurst(ReadOnlySpan{T})"/> for one of many producers.</summary>
    /// <returns>How many; the caller keeps the rest.</returns>
    public int EnqueueBurstMp(ReadOnlySpan<T> items) => (int)RingCore.Enqueue<MtSync, T>(
        _ring, ref First(items), (uint)items.Length, RingClaim.Burst, out _);

    /// <summary><see cref="TryDequeue"/> for the only consumer.</summary>
    /// <returns>False when it is empty; <paramref name="item"/> is then default.</returns>
    public bool TryDequeueSc(out T item) => RingCore.DequeueOne<StSync, T>(_ring, out item);

    /// <summary><see cref="TryDequeue"/> for one of many consumers.</summary>
    /// <returns>False when it is empty; <paramref name="item"/> is then default.</returns>
    public bool TryDequeueMc(out T item) => RingCore.DequeueOne<MtSync, T>(_ring, out item);

    /// <summary><see cref="TryDequeueBulk(Span{T})"/> for the only consumer.</summary>
    /// <returns>False when there are fewer; <paramref name="items"/> is then left alone.</returns>
    public bool TryDequeueBulkSc(Span<T> items) => RingCore.Dequeue<StSync, T>(
        _ring, ref First(items), (uint)items.Length, RingClaim.Bulk, out _) == items.Length;

    /// <summary><see cref="TryDequeueBulk(Span{T})"/> for one of many consumers.</summary>
    /// <returns>False when there are fewer; <paramref name="items"/> is then left alone.</returns>
    public bool TryDequeueBulkMc(Span<T> items) => RingCore.Dequeue<MtSync, T>(
        _ring, ref First(items), (uint)items.Length, RingClaim.Bulk, out _) == items.Length;

    /// <summary><see cref="DequeueBurst(Span{T})"/> for the only consumer.</summary>
    /// <returns>How many are now in <paramref name="items"/>, from the first.</returns>
    public int DequeueBurstSc(Span<T> items) => (int)RingCore.Dequeue<StSync, T>(
        _ring, ref First(items), (uint)items.Length, RingClaim.Burst, out _);

    /// <summary><see cref="DequeueBurst(Span{T})"/> for one of many consumers.</summary>
    /// <returns>How many are now in <paramref name="items"/>, from the first.</returns>
    public int DequeueBurstMc(Span<T> items) => (int)RingCore.Dequeue<MtSync, T>(
        _ring, ref First(items), (uint)items.Length, RingClaim.Burst, out _);
}
