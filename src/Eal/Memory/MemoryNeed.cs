namespace Dataplane;

/// <summary>What a start needs, worked out before anything is taken.</summary>
/// <param name="Kinds">Node and page size of every memseg list there shall be.</param>
/// <param name="AtStart">Pages to take at start.</param>
/// <param name="OnlyOrdinaryFree">Hugepages would have served, but none is free.</param>
internal sealed record MemoryNeed(IReadOnlyList<(int Node, nuint PageSize)> Kinds, IReadOnlyList<PageDemand> AtStart,
    bool OnlyOrdinaryFree)
{
    /// <summary>The most that one list has to hold at start.</summary>
    internal nuint LargestListBytes => AtStart.Select(d => (nuint)d.Pages * d.PageSizeBytes).DefaultIfEmpty().Max();

    /// <exception cref="DataplaneException">The machine has not got it: have, need and the command that fixes
    /// it.</exception>
    internal static MemoryNeed Compute(MemoryConfig config, PageSource source)
    {
        int[] nodes = MemoryNodes.WithMemory(config.Sys);
        var ordinary = nodes.Select(node => (node, PageSource.OrdinaryPageSize));
        if (config.NoHuge)
            return new([.. ordinary], OrdinaryMemory.Plan(config, nodes), false);

        HugepagePool[] pools = [.. HugepagePool.ReadAll(config.Sys)
            .Where(pool => source.OnlyHugepageSize == 0 || pool.PageSizeBytes == source.OnlyHugepageSize)];
        var huge = pools.Select(pool => (pool.NumaNode, pool.PageSizeBytes));
        if (config.AmountGiven)
            return new([.. huge], MemoryPlan.Compute(config, pools), false);

        bool none = pools.All(pool => pool.Free == 0);
        if (!config.PhysicalAddresses)
            return new([.. huge, .. ordinary], [], none);
        if (none)   // the kernel may move ordinary pages, so they have no physical address that holds
            throw MemoryPlan.TooFew(new() { [nodes[0]] = MemoryConfig.DefaultOrdinaryBytes }, pools);
        return new([.. huge], [], false);
    }
}
