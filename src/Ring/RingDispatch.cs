using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>The same operations for whoever knows the mode only from the header: mempools and <c>Ring</c>.</summary>
internal static unsafe class RingDispatch
{
    /// <summary>Appends in the mode the ring was made with. See <see cref="RingCore.Enqueue"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint Enqueue<T>(RingHeader* ring, ref T items, uint count, RingClaim claim, out uint free)
        where T : unmanaged => ring->ProducerSync switch
        {
            RingSync.SingleThread => Enqueue<StSync, T>(ring, ref items, count, claim, out free),
            RingSync.MultiThread => Enqueue<MtSync, T>(ring, ref items, count, claim, out free),
            RingSync.RelaxedTail => Enqueue<RtsSync, T>(ring, ref items, count, claim, out free),
            _ => Enqueue<HtsSync, T>(ring, ref items, count, claim, out free),
        };

    /// <summary>Takes off in the mode the ring was made with. See <see cref="RingCore.Dequeue"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint Dequeue<T>(RingHeader* ring, ref T items, uint count, RingClaim claim, out uint available)
        where T : unmanaged => ring->ConsumerSync switch
        {
            RingSync.SingleThread => Dequeue<StSync, T>(ring, ref items, count, claim, out available),
            RingSync.MultiThread => Dequeue<MtSync, T>(ring, ref items, count, claim, out available),
            RingSync.RelaxedTail => Dequeue<RtsSync, T>(ring, ref items, count, claim, out available),
            _ => Dequeue<HtsSync, T>(ring, ref items, count, claim, out available),
        };

    /// <summary>Appends one element in the mode the ring was made with. See <see
    /// cref="RingCore.EnqueueOne"/>.</summary>
    internal static bool EnqueueOne<T>(RingHeader* ring, T item) where T : unmanaged => ring->ProducerSync switch
    {
        RingSync.SingleThread => RingCore.EnqueueOne<StSync, T>(ring, item),
        RingSync.MultiThread => RingCore.EnqueueOne<MtSync, T>(ring, item),
        RingSync.RelaxedTail => RingCore.EnqueueOne<RtsSync, T>(ring, item),
        _ => RingCore.EnqueueOne<HtsSync, T>(ring, item),
    };

    /// <summary>Takes one element off in the mode the ring was made with. See <see
    /// cref="RingCore.DequeueOne"/>.</summary>
    internal static bool DequeueOne<T>(RingHeader* ring, out T item) where T : unmanaged => ring->ConsumerSync switch
    {
        RingSync.SingleThread => RingCore.DequeueOne<StSync, T>(ring, out item),
        RingSync.MultiThread => RingCore.DequeueOne<MtSync, T>(ring, out item),
        RingSync.RelaxedTail => RingCore.DequeueOne<RtsSync, T>(ring, out item),
        _ => RingCore.DequeueOne<HtsSync, T>(ring, out item),
    };

    // One body per mode and element, called, not inlined: four of them in a caller would be a lot of code for one
    // branch.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static uint Enqueue<TSync, T>(RingHeader* ring, ref T items, uint count, RingClaim claim, out uint free)
        where TSync : struct, IRingSync where T : unmanaged =>
        RingCore.Enqueue<TSync, T>(ring, ref items, count, claim, out free);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static uint Dequeue<TSync, T>(RingHeader* ring, ref T items, uint count, RingClaim claim, out uint left)
        where TSync : struct, IRingSync where T : unmanaged =>
        RingCore.Dequeue<TSync, T>(ring, ref items, count, claim, out left);
}
