namespace Dataplane;

public sealed partial class Eal
{
    // Pinned by the GC rather than native: a handle that outlives the EAL then stays harmless.
    private readonly LcoreBlock[] _blocks = GC.AllocateArray<LcoreBlock>(Lcore.Max + 1, pinned: true);

    private void StartLcores()
    {
        LcorePlan plan = LcorePlan.Make(Assignments, Options.MainLcore, Options.ServiceLcores, Topology);
        LcoreCpus = plan.Lcores.Aggregate(CpuSet.Empty, (all, lcore) => all.Union(lcore.Lcore.Cpus));
        foreach ((LcoreAssignment lcore, LcoreRole role) in plan.Lcores)
        {
            int node = Topology.GetCpu(lcore.Cpus.First).NumaNode;
            var made = new Lcore(lcore.Id, lcore.Cpus, node, role, _blocks);
            made.Thread = new LcoreThread(made);
            _lcores[lcore.Id] = made;
            Timers.Add(lcore.Id);
            if (role == LcoreRole.Main)
                MainLcore = made;
            made.Thread.Start();
        }
        foreach (Lcore lcore in Lcores)
            lcore.Thread!.WaitPinned();
        foreach (Lcore lcore in Lcores.Where(lcore => lcore.Role == LcoreRole.Service))
            lcore.Thread!.Launch(new LcoreJob<ServiceWorker>(new(Services.AddLcore(lcore))), CancellationToken.None);
        ReportOverlap();
    }

    private IReadOnlyList<LcoreAssignment> Assignments => Options.Lcores ?? [.. DefaultLcores(_processCpus)];

    // What -m is shared out by.
    private Dictionary<int, int> LcoresByNode() => Assignments.Where(lcore => lcore.Cpus.Count > 0)
        .CountBy(lcore => Topology.GetCpu(lcore.Cpus.First).NumaNode).ToDictionary();

    private static IEnumerable<LcoreAssignment> DefaultLcores(CpuSet cpus) =>
        cpus.Where(cpu => cpu < Lcore.Max).Select(cpu => new LcoreAssignment(cpu, CpuSet.Of(cpu)));

    // Services last: workers may need them until they end.
    private void EndLcores()
    {
        RequestStop();
        foreach (Lcore lcore in Launchable)
            EndWorker(lcore);
        Services.Stop();
        foreach (Lcore lcore in Lcores.Where(lcore => lcore.Role == LcoreRole.Service))
            EndWorker(lcore);
        foreach (Lcore lcore in Lcores)
            lcore.Thread?.Exit();
    }

    private static void EndWorker(Lcore lcore)
    {
        if (!lcore.Thread!.WaitIdle(s_stopTimeout))
            throw new DataplaneException($"what runs on {lcore} does not stop",
                $"it did not return within {s_stopTimeout.TotalSeconds} s of being asked to",
                "test lcore.StopRequested in its loop; then call Dispose again", errno: Errno.EBUSY);
    }
}
