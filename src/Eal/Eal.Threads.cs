using Microsoft.Extensions.Logging;

namespace Dataplane;

public sealed partial class Eal
{
    private readonly CpuSet _processCpus = Affinity.Get();
    private readonly Dictionary<Lcore, Thread> _foreign = [];   // guarded by itself

    /// <summary>CPUs of all lcores with a thread of their own.</summary>
    public CpuSet LcoreCpus { get; private set; } = CpuSet.Empty;

    /// <summary>
    /// Where control threads run: the CPUs of the thread that initialized, without those of lcores; where that leaves
    /// none, the main lcore's.
    /// </summary>
    public CpuSet ControlCpus => _processCpus.Except(LcoreCpus) is { Count: > 0 } rest ? rest : MainLcore.Cpus;

    /// <summary>Starts a background thread that stays on <see cref="ControlCpus"/>.</summary>
    /// <param name="name">Its name; the kernel keeps 15 characters of it.</param>
    /// <param name="body">What it runs. An exception that leaves it ends the process, as on any thread.</param>
    /// <exception cref="DataplaneException">It cannot run on those CPUs; <paramref name="body"/> was not
    /// called.</exception>
    public Thread StartControlThread(string name, Action body)
    {
        CpuSet cpus = ControlCpus;
        var pinned = new TaskCompletionSource();
        var thread = new Thread(() =>
        {
            try
            {
                Affinity.SetCurrent(cpus);
            }
            catch (DataplaneException e)
            {
                pinned.SetException(e);
                return;
            }
            pinned.SetResult();
            body();
        }) { Name = name, IsBackground = true };
        thread.Start();
        pinned.Task.GetAwaiter().GetResult();
        return thread;
    }

    /// <summary>
    /// Makes the calling thread an lcore of role <see cref="LcoreRole.Foreign"/>, with the lowest free id, so that it
    /// has caches in memory pools. It is not pinned. Does nothing more on a thread that is registered already.
    /// Unregister it before the environment is disposed: its id means nothing in another one.
    /// </summary>
    /// <exception cref="DataplaneException">It is an lcore of another environment, or no id is free.</exception>
    public Lcore RegisterThread()
    {
        if (Lcore.Current is { } current)
            return _lcores[current.Id] == current ? current : throw new DataplaneException(
                "this thread is an lcore of another environment already", fix: "unregister it there first",
                errno: Errno.EBUSY);
        lock (_foreign)
        {
            ReclaimDeadThreads();
            int id = Array.IndexOf(_lcores, null);
            if (id < 0)
                throw new DataplaneException($"cannot register a thread: all {Lcore.Max} lcore ids are in use",
                    fix: "unregister threads that need none", errno: Errno.ENOMEM);
            CpuSet cpus = Affinity.Get();
            var lcore = new Lcore(id, cpus, Topology.GetCpu(cpus.First).NumaNode, LcoreRole.Foreign, _blocks);
            _foreign.Add(lcore, Thread.CurrentThread);
            _lcores[id] = lcore;
            lcore.FollowStop(StopToken);
            Timers.Add(id);
            Lcore.SetCurrent(lcore);
            return lcore;
        }
    }

    /// <summary>Gives the calling thread's id back. Does nothing on a thread that is not registered here.</summary>
    public void UnregisterThread()
    {
        lock (_foreign)
            if (Lcore.Current is { } lcore && _foreign.Remove(lcore))
            {
                _lcores[lcore.Id] = null;
                Lcore.SetCurrent(null);
            }
    }

    /// <summary>Threads of this process which may run on lcores' CPUs, and so may stop one for a while.</summary>
    public IReadOnlyList<ForeignThread> AuditThreads() =>
        ThreadAudit.Run(LcoreCpus, Lcores.Select(lcore => lcore.Thread?.Tid ?? 0).ToHashSet());

    /// <summary>
    /// Moves every thread of the process that may run on an lcore's CPU to <see cref="ControlCpus"/>; threads they
    /// start stay there too. For applications that start what has threads of its own, such as a web server. Does
    /// nothing where the lcores leave no CPU.
    /// </summary>
    public void ConfineThreads()
    {
        if (_processCpus.Except(LcoreCpus).Count == 0)
            return;
        foreach (ForeignThread thread in AuditThreads())
            Affinity.TrySet(thread.Tid, ControlCpus);
    }

    // Ids of threads that ended without giving theirs back.
    private void ReclaimDeadThreads()
    {
        foreach ((Lcore lcore, Thread thread) in _foreign.ToArray())
            if (!thread.IsAlive && _foreign.Remove(lcore))
                _lcores[lcore.Id] = null;
    }

    // Where every CPU is an lcore's there is no better place for those threads: worth knowing, not worth a warning.
    private void ReportOverlap()
    {
        IReadOnlyList<ForeignThread> threads = AuditThreads();
        if (threads.Count == 0)
            return;
        bool avoidable = _processCpus.Except(LcoreCpus).Count > 0;
        LogOverlap(_logger, avoidable ? LogLevel.Warning : LogLevel.Debug, threads.Count, LcoreCpus,
            string.Join(", ", threads.Select(thread => thread.Name).Distinct()),
            avoidable
                ? $"start the process with taskset -c {_processCpus.Except(LcoreCpus)}; lcores leave it themselves"
                : "give lcores fewer CPUs than the process has");
    }

    [LoggerMessage("{Count} other threads may run on the lcores' CPUs {Cpus}: {Names}. To keep them off: {Fix}")]
    private static partial void LogOverlap(ILogger logger, LogLevel level, int count, CpuSet cpus, string names,
        string fix);
}
