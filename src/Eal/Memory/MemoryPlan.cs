using System.Text;

namespace Dataplane;

/// <summary>Pages to take at start.</summary>
/// <param name="NumaNode">From this node.</param>
/// <param name="PageSizeBytes">Of this size.</param>
/// <param name="Pages">So many, at least 1.</param>
internal readonly record struct PageDemand(int NumaNode, nuint PageSizeBytes, long Pages);

/// <summary>Works out, before anything is mapped, which pages serve what was asked for.</summary>
internal static class MemoryPlan
{
    /// <summary>The hugepages that serve the request: on each node the largest pages that fit, then smaller
    /// ones.</summary>
    /// <exception cref="DataplaneException">Too few free; says have and need per node and size, and the
    /// command.</exception>
    internal static List<PageDemand> Compute(MemoryConfig config, IReadOnlyList<HugepagePool> pools)
    {
        SortedDictionary<int, ulong> wanted = config.NodeBytes != null
            ? PerNode(config.NodeBytes, pools)
            : Share(config, pools);
        var plan = new List<PageDemand>();
        bool short_ = false;
        foreach ((int node, ulong bytes) in wanted)
            short_ |= bytes > 0 && !TryFit(node, bytes, pools, plan);
        return short_ ? throw TooFew(wanted, pools) : plan;
    }

    /// <summary>Takes the largest pages that fit and rounds the rest up with the smallest that can hold it.</summary>
    internal static bool TryFit(int node, ulong bytes, IReadOnlyList<HugepagePool> pools, List<PageDemand> plan)
    {
        HugepagePool[] sizes = [.. pools.Where(p => p.NumaNode == node).OrderByDescending(p => p.PageSizeBytes)];
        long[] take = new long[sizes.Length];
        ulong rest = bytes;
        for (int i = 0; i < sizes.Length; i++)
        {
            take[i] = (long)Math.Min(rest / sizes[i].PageSizeBytes, (ulong)sizes[i].Free);
            rest -= (ulong)take[i] * sizes[i].PageSizeBytes;
        }
        for (int i = sizes.Length - 1; i >= 0 && rest > 0; i--)
        {
            if (take[i] == sizes[i].Free || sizes[i].PageSizeBytes < rest)
                continue;
            take[i]++;   // one larger page in place of the rest, and of the smaller ones taken for it
            Array.Clear(take, i + 1, take.Length - i - 1);
            rest = 0;
        }
        for (int i = 0; i < sizes.Length && rest == 0; i++)
            if (take[i] > 0)
                plan.Add(new(node, sizes[i].PageSizeBytes, take[i]));
        return rest == 0;
    }

    private static SortedDictionary<int, ulong> PerNode(IReadOnlyList<ulong> nodeBytes,
        IReadOnlyList<HugepagePool> pools)
    {
        var wanted = new SortedDictionary<int, ulong>();
        for (int node = 0; node < nodeBytes.Count; node++)
        {
            if (nodeBytes[node] > 0 && !pools.Any(pool => pool.NumaNode == node))
                throw new ConfigException($"--numa-mem asks for memory on node {node}",
                    why: "this machine has memory on node "
                    + string.Join(", ", pools.Select(p => p.NumaNode).Distinct()));
            wanted[node] = nodeBytes[node];
        }
        return wanted;
    }

    // As DPDK does: by the number of lcores on each node, what does not fit there on any other.
    private static SortedDictionary<int, ulong> Share(MemoryConfig config, IReadOnlyList<HugepagePool> pools)
    {
        var capacity = new SortedDictionary<int, ulong>();
        foreach (HugepagePool pool in pools)
            capacity[pool.NumaNode] = capacity.GetValueOrDefault(pool.NumaNode) + (ulong)pool.Free * pool.PageSizeBytes;
        ulong total = config.TotalBytes ?? 0;
        ulong rest = total;
        int lcores = config.LcoresByNode.Values.Sum();
        var wanted = new SortedDictionary<int, ulong>();
        foreach ((int node, ulong has) in capacity)
        {
            ulong share = lcores == 0 ? 0 : total * (ulong)config.LcoresByNode.GetValueOrDefault(node) / (ulong)lcores;
            wanted[node] = Math.Min(Math.Min(share, has), rest);
            rest -= wanted[node];
        }
        foreach ((int node, ulong has) in capacity)
        {
            ulong more = Math.Min(rest, has - wanted[node]);
            wanted[node] += more;
            rest -= more;
        }
        int first = wanted.Count == 0 ? 0 : wanted.MaxBy(pair => config.LcoresByNode.GetValueOrDefault(pair.Key)).Key;
        // too little everywhere: asked of one node, to name it
        wanted[first] = wanted.GetValueOrDefault(first) + rest;
        return wanted;
    }

    /// <summary>The one error: have and need for every node and page size, and commands that fix it.</summary>
    internal static DataplaneException TooFew(SortedDictionary<int, ulong> wanted, IReadOnlyList<HugepagePool> pools)
    {
        var why = new StringBuilder();
        var fix = new StringBuilder();
        foreach ((int node, ulong bytes) in wanted.Where(pair => pair.Value > 0))
        {
            why.Append(why.Length == 0 ? "" : "\n       ").Append($"node {node}: need {bytes >> 20} MB; ");
            why.AppendJoin(" or ", pools.Where(p => p.NumaNode == node).Select(p => Describe(p, bytes)));
            if (!TryFit(node, bytes, pools, []) && Smallest(node, pools) is { } pool)
                fix.Append(fix.Length == 0 ? "" : "\n       ").Append(Command(pool, bytes));
        }
        if (fix.Length == 0)
            return new("not enough free hugepages", why.Append("no hugepages in this kernel").ToString(),
                "start with --no-huge", "docs/setup/hugepages.md", Errno.ENOMEM);
        fix.Append("\n       or start with --no-huge to run on ordinary pages");
        return new("not enough free hugepages", why.ToString(), fix.ToString(), "docs/setup/hugepages.md",
            Errno.ENOMEM);
    }

    /// <summary>The command that makes <paramref name="bytes"/> free in a pool.</summary>
    internal static string Command(HugepagePool pool, ulong bytes) =>
        $"echo {pool.Total - pool.Free + Pages(bytes, pool)} | " +
        $"sudo tee {HugepagePool.ControlFile(pool.NumaNode, pool.PageSizeBytes)}";

    internal static HugepagePool? Smallest(int node, IReadOnlyList<HugepagePool> pools) =>
        pools.Where(p => p.NumaNode == node).OrderBy(p => p.PageSizeBytes).Cast<HugepagePool?>().FirstOrDefault();

    private static string Describe(HugepagePool pool, ulong bytes) =>
        $"{HugepagePool.SizeName(pool.PageSizeBytes)} pages: need {Pages(bytes, pool)}, have {pool.Free} free of "
        + $"{pool.Total}";

    private static long Pages(ulong bytes, HugepagePool pool) =>
        (long)((bytes + pool.PageSizeBytes - 1) / pool.PageSizeBytes);
}
