namespace Dataplane;

/// <summary>The lcores to start with their roles, checked against each other and the machine.</summary>
internal sealed class LcorePlan
{
    private LcorePlan(List<(LcoreAssignment, LcoreRole)> lcores) => Lcores = lcores;

    /// <summary>By ascending id.</summary>
    internal IReadOnlyList<(LcoreAssignment Lcore, LcoreRole Role)> Lcores { get; }

    /// <exception cref="ConfigException">
    /// No lcore, an id twice or out of range, a CPU that is not online, a main lcore that is not listed or runs
    /// services.
    /// </exception>
    internal static LcorePlan Make(IReadOnlyList<LcoreAssignment> assignments, int? mainId,
        IReadOnlyList<int> serviceIds, CpuTopology topology)
    {
        var byId = new SortedDictionary<int, LcoreAssignment>();
        foreach (LcoreAssignment lcore in assignments)
        {
            CheckOne(lcore, topology);
            if (!byId.TryAdd(lcore.Id, lcore))
                throw new ConfigException($"lcore {lcore.Id} is listed twice");
        }
        foreach (int id in serviceIds)
            if (!byId.ContainsKey(id))
                throw new ConfigException($"service lcore {id} is not among the lcores", $"they are {Ids(byId.Keys)}",
                    $"add {id} to -l, or take it out of -S");
        int main = mainId ?? FirstMain(byId.Keys, serviceIds);
        if (!byId.ContainsKey(main))
            throw new ConfigException($"main lcore {main} is not among the lcores", $"they are {Ids(byId.Keys)}",
                "choose one of those with --main-lcore");
        if (serviceIds.Contains(main))
            throw new ConfigException($"lcore {main} cannot be both main and service lcore", fix: "take it out of -S");
        return new([.. byId.Values.Select(lcore => (lcore, lcore.Id == main ? LcoreRole.Main
            : serviceIds.Contains(lcore.Id) ? LcoreRole.Service : LcoreRole.Worker))]);
    }

    private static void CheckOne(LcoreAssignment lcore, CpuTopology topology)
    {
        if (lcore.Id is < 0 or >= Lcore.Max)
            throw new ConfigException($"lcore {lcore.Id}: ids go from 0 to {Lcore.Max - 1}",
                fix: $"give CPUs beyond that a lower id: -l {lcore.Id % Lcore.Max}@{lcore.Cpus}");
        if (lcore.Cpus.Count == 0)
            throw new ConfigException($"lcore {lcore.Id} has no CPU");
        foreach (int cpu in lcore.Cpus)
            _ = topology.GetCpu(cpu);
    }

    private static int FirstMain(IEnumerable<int> ids, IReadOnlyList<int> serviceIds)
    {
        foreach (int id in ids)
            if (!serviceIds.Contains(id))
                return id;
        throw new ConfigException("there is no lcore for the main role", "none is listed, or all of them run services",
            "list one more in -l");
    }

    private static CpuSet Ids(IEnumerable<int> ids) => CpuSet.Of([.. ids]);
}
