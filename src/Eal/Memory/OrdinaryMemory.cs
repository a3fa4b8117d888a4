using System.Globalization;

namespace Dataplane;

/// <summary>How much ordinary memory there is to take. Asking first turns a visit of the OOM killer into an
/// error.</summary>
internal static class OrdinaryMemory
{
    /// <summary>What the kernel thinks it can give without swapping, bytes.</summary>
    internal static nuint AvailableBytes()
    {
        foreach (string line in File.ReadLines("/proc/meminfo"))
            if (line.StartsWith("MemAvailable:", StringComparison.Ordinal))
                return nuint.Parse(line.AsSpan("MemAvailable:".Length, line.Length - "MemAvailable:".Length - 2).Trim(),
                    CultureInfo.InvariantCulture) << 10;
        return nuint.MaxValue;
    }

    /// <summary>Ordinary pages that serve what was asked for at start.</summary>
    /// <exception cref="DataplaneException">The machine has not got that much.</exception>
    internal static List<PageDemand> Plan(MemoryConfig config, int[] nodes)
    {
        var plan = new List<PageDemand>();
        ulong total = 0;
        for (int i = 0; i < nodes.Length; i++)
        {
            ulong bytes = Share(config, nodes, i);
            long pages = (long)((bytes + PageSource.OrdinaryPageSize - 1) / PageSource.OrdinaryPageSize);
            if (pages > 0)
                plan.Add(new(nodes[i], PageSource.OrdinaryPageSize, pages));
            total += bytes;
        }
        nuint available = AvailableBytes();
        if (total > available)
            throw new DataplaneException($"not enough memory: need {total >> 20} MB of ordinary pages",
                why: $"{available >> 20} MB are available (MemAvailable in /proc/meminfo)",
                fix: "ask for less with -m, or stop something", errno: Errno.ENOMEM);
        return plan;
    }

    private static ulong Share(MemoryConfig config, int[] nodes, int index)
    {
        if (config.NodeBytes != null)
            return nodes[index] < config.NodeBytes.Count ? config.NodeBytes[nodes[index]] : 0;
        ulong total = config.TotalBytes ?? MemoryConfig.DefaultOrdinaryBytes;
        ulong lcores = (ulong)nodes.Sum(node => config.LcoresByNode.GetValueOrDefault(node));
        if (lcores == 0)
            return index == 0 ? total : 0;
        return total * (ulong)config.LcoresByNode.GetValueOrDefault(nodes[index]) / lcores;
    }
}
