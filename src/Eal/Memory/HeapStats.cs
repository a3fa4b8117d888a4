namespace Dataplane;

/// <summary>One node's heap at one moment.</summary>
/// <param name="NumaNode">The node.</param>
/// <param name="HugepageBytes">Taken from hugepages.</param>
/// <param name="OrdinaryBytes">Taken from ordinary pages.</param>
/// <param name="BusyBytes">In blocks, their 64-byte headers included.</param>
/// <param name="BusyCount">Blocks.</param>
/// <param name="FreeBytes">Free; with <paramref name="BusyBytes"/> all there is.</param>
/// <param name="FreeCount">Free pieces.</param>
/// <param name="LargestFreeBytes">The largest block one could get without growing.</param>
/// <param name="Allocations">Blocks ever given.</param>
/// <param name="Frees">Blocks ever given back.</param>
public readonly record struct HeapStats(int NumaNode, nuint HugepageBytes, nuint OrdinaryBytes, nuint BusyBytes,
    nuint BusyCount, nuint FreeBytes, nuint FreeCount, nuint LargestFreeBytes, ulong Allocations, ulong Frees);
