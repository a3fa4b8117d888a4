using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// Holds what a queue's bursts use and the control path may take away: a ring in memory shared with a peer or a
/// capture's reader, a bond's members. It is not taken away while a burst is in it, without a lock or a fence on the
/// data path. One thread at a time between <see cref="Enter"/> and <see cref="Leave"/>; <see cref="Set"/> on the
/// control path. docs/ordering.md, H0 and H1.
/// </summary>
internal struct RingHold<T> where T : class
{
    private T? _ring;
    private bool _inside;

    /// <summary>The ring there is. Control path.</summary>
    internal readonly T? Ring => Volatile.Read(in _ring);

    /// <summary>The ring, null while there is none; it stays whole until <see cref="Leave"/>. Data path.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal T? Enter()
    {
        // H0: H1's barrier orders these two for all threads: either this sees the ring gone, or H1 that we are in.
        Volatile.Write(ref _inside, true);
        return Volatile.Read(ref _ring);
    }

    /// <summary>The burst is over. Data path.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Leave() => Volatile.Write(ref _inside, false);

    /// <summary>Puts a ring in place, or null. When it returns, no burst is in the one before.</summary>
    internal void Set(T? ring)
    {
        T? before = _ring;
        Volatile.Write(ref _ring, ring);
        if (before == null)
            return;
        Interlocked.MemoryBarrierProcessWide();   // H1: pairs with H0
        for (var wait = new SpinWait(); Volatile.Read(ref _inside);)
            wait.SpinOnce();
    }
}
