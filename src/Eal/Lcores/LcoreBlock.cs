using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>
/// An lcore's own cache lines: its stop flag and its accounting. Written by the lcore, but for the flag.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = SizeBytes)]
internal struct LcoreBlock
{
    /// <summary>Two cache lines: the adjacent-line prefetcher pairs them.</summary>
    internal const int SizeBytes = 128;

    [FieldOffset(0)] internal int Stop;
    [FieldOffset(4)] internal uint PollTick;
    [FieldOffset(8)] internal ulong BusyCycles;
    [FieldOffset(16)] internal ulong IdleCycles;
    [FieldOffset(24)] internal ulong BusyLoops;
    [FieldOffset(32)] internal ulong IdleLoops;
}

/// <summary>Where an lcore's cycles went since it was started. A snapshot, never torn within a field.</summary>
/// <param name="BusyCycles">TSC cycles in loops that did work.</param>
/// <param name="IdleCycles">TSC cycles in loops that found nothing to do.</param>
/// <param name="BusyLoops">Loops that did work.</param>
/// <param name="IdleLoops">Loops that found nothing to do.</param>
public readonly record struct LcoreUsage(ulong BusyCycles, ulong IdleCycles, ulong BusyLoops, ulong IdleLoops)
{
    /// <summary>All loops.</summary>
    public ulong Loops => BusyLoops + IdleLoops;

    /// <summary>Share of the counted cycles that did work, 0 to 100; 0 when nothing was counted.</summary>
    public double BusyPercent =>
        BusyCycles + IdleCycles == 0 ? 0 : 100.0 * BusyCycles / ((double)BusyCycles + IdleCycles);

    /// <summary>What was added since <paramref name="earlier"/>.</summary>
    public LcoreUsage Since(LcoreUsage earlier) => new(BusyCycles - earlier.BusyCycles,
        IdleCycles - earlier.IdleCycles, BusyLoops - earlier.BusyLoops, IdleLoops - earlier.IdleLoops);
}
