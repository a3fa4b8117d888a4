using System.Runtime.CompilerServices;

namespace Dataplane.Pmd;

/// <summary>
/// The ring of a queue, which the control path may take away between two bursts. A burst is between
/// <see cref="Enter"/> and <see cref="Leave"/>.
/// </summary>
/// <remarks>
/// G0 a burst says that it runs, then reads the ring; G1 the control path takes the ring away, then has every thread of
/// the process pass a barrier, then waits until no burst runs. The barrier stands in for a fence in each burst: either
/// the burst sees no ring, or it is waited for. See docs/ordering.md.
/// </remarks>
internal sealed class VhostGate
{
    private VhostRing? _ring;
    private bool _inside;
    private ulong _brokenBefore;

    /// <summary>Rings that were broken so far.</summary>
    internal ulong Broken => _brokenBefore + (Volatile.Read(ref _ring) is { Fault: not VhostFault.None } ? 1u : 0);

    /// <summary>The ring, null where there is none. Data path.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal VhostRing? Enter()
    {
        Volatile.Write(ref _inside, true);    // G0
        return Volatile.Read(ref _ring);
    }

    /// <summary>The burst is over. Data path.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Leave() => Volatile.Write(ref _inside, false);

    /// <summary>Puts a ring in place, or null. Control path, one thread at a time.</summary>
    /// <remarks>When it returns, no burst uses the one before.</remarks>
    internal void Set(VhostRing? ring)
    {
        VhostRing? before = _ring;
        Volatile.Write(ref _ring, ring);      // G1
        if (before == null)
            return;
        Interlocked.MemoryBarrierProcessWide();
        var spin = new SpinWait();
        while (Volatile.Read(ref _inside))
            spin.SpinOnce();
        _brokenBefore += before.Fault != VhostFault.None ? 1u : 0;
    }
}
