using System.Runtime.CompilerServices;

namespace Dataplane.Pmd;

/// <summary>The ring of a queue, which the control path may take away between two bursts, and what became of those
/// before it.</summary>
internal sealed class VhostGate
{
    private RingHold<VhostRing> _hold;
    private ulong _brokenBefore;

    /// <summary>Rings that were broken so far.</summary>
    internal ulong Broken => _brokenBefore + (_hold.Ring is { Fault: not VhostFault.None } ? 1u : 0);

    /// <inheritdoc cref="RingHold{T}.Ring"/>
    internal VhostRing? Ring => _hold.Ring;

    /// <inheritdoc cref="RingHold{T}.Enter"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal VhostRing? Enter() => _hold.Enter();

    /// <inheritdoc cref="RingHold{T}.Leave"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Leave() => _hold.Leave();

    /// <inheritdoc cref="RingHold{T}.Set"/>
    /// <remarks>Control path, one thread at a time.</remarks>
    internal void Set(VhostRing? ring)
    {
        VhostRing? before = _hold.Ring;
        _hold.Set(ring);
        _brokenBefore += before is { Fault: not VhostFault.None } ? 1u : 0;
    }
}
