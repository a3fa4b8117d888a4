namespace Dataplane.Dpctl;

/// <summary>What doctor asks of the CPUs.</summary>
internal static class CpuChecks
{
    private const string Cpus = "/sys/devices/system/cpu";

    internal static Finding Count(Host host)
    {
        CpuSet online = host.ReadCpus($"{Cpus}/online");
        return online.Count != 1 ? new("cpus", Status.Ok, $"{online.Count} online: {online}")
            : new("cpus", Status.Fail, "only one is online: a poll loop on it starves everything else",
                "give the machine at least two");
    }

    internal static Finding Isolation(Host host)
    {
        CpuSet isolated = host.ReadCpus($"{Cpus}/isolated");
        return isolated.Count > 0 ? new("isolation", Status.Ok, $"CPUs {isolated} are kept free of other threads")
            : new("isolation", Status.Warn, "no CPU is isolated: other threads interrupt poll loops", BootFix(host));
    }

    internal static Finding Ticks(Host host)
    {
        CpuSet isolated = host.ReadCpus($"{Cpus}/isolated");
        CpuSet quiet = host.ReadCpus($"{Cpus}/nohz_full");
        CpuSet ticking = isolated.Except(quiet);
        if (ticking.Count == 0)
            return quiet.Count > 0 ? new("ticks", Status.Ok, $"CPUs {quiet} run without the timer tick")
                : new("ticks", Status.Warn, "every CPU takes the timer tick, 100 to 1000 times a second",
                BootFix(host));
        return new("ticks", Status.Warn, $"isolated CPUs {ticking} still take the timer tick",
            BootParameters.Fix(host, $"nohz_full={isolated} rcu_nocbs={isolated}"));
    }

    internal static Finding Interrupts(Host host)
    {
        CpuSet isolated = host.ReadCpus($"{Cpus}/isolated");
        string[] irqs = host.List("/proc/irq").Where(irq => int.TryParse(irq, out _)
            && host.ReadCpus($"/proc/irq/{irq}/effective_affinity_list").Intersect(isolated).Count > 0).ToArray();
        if (irqs.Length == 0)
            return new("irqs", Status.Ok, isolated.Count == 0 ? "no isolated CPU to keep free"
                : "none on isolated CPUs");
        CpuSet others = host.ReadCpus($"{Cpus}/online").Except(isolated);
        return new("irqs", Status.Warn, $"isolated CPUs serve interrupts {string.Join(", ", irqs)}",
            $"for i in {string.Join(' ', irqs)}; do echo {others} | sudo tee /proc/irq/$i/smp_affinity_list; done");
    }

    internal static Finding Governor(Host host)
    {
        ILookup<string, string> governors = host.List(Cpus, "cpu*").Select(cpu =>
                (Cpu: cpu, Governor: host.Read($"{Cpus}/{cpu}/cpufreq/scaling_governor")))
            .Where(pair => pair.Governor != null).ToLookup(pair => pair.Governor!, pair => pair.Cpu);
        if (governors.Count == 0)
            return new("governor", Status.Ok, "the kernel does not change the clock here");
        if (governors.All(group => group.Key == "performance"))
            return new("governor", Status.Ok, "performance");
        return new("governor", Status.Warn, "not every CPU runs at full clock: "
            + string.Join(", ", governors.Select(group => $"{group.Key} on {group.Count()}")),
            $"echo performance | sudo tee {Cpus}/cpu*/cpufreq/scaling_governor");
    }

    internal static Finding Smt(Host host)
    {
        if (host.Read($"{Cpus}/smt/active") != "1")
            return new("smt", Status.Ok, "one thread per core");
        return new("smt", Status.Warn, "two threads share each core: two lcores on one core get half of it each",
            $"give lcores one thread of each core: -l {FirstThreads(host)}");
    }

    private static CpuSet FirstThreads(Host host) => CpuSet.Of(host.ReadCpus($"{Cpus}/online")
        .Select(cpu => host.ReadCpus($"{Cpus}/cpu{cpu}/topology/thread_siblings_list").First)
        .Where(first => first >= 0).Distinct().ToArray());

    // All CPUs but the first core, which keeps the rest of the system.
    private static string BootFix(Host host)
    {
        CpuSet online = host.ReadCpus($"{Cpus}/online");
        CpuSet kept = host.ReadCpus($"{Cpus}/cpu{Math.Max(0, online.First)}/topology/thread_siblings_list")
            .Union(online.Count > 0 ? CpuSet.Of(online.First) : CpuSet.Empty);
        CpuSet free = online.Except(kept);
        return free.Count == 0 ? "needs a machine with a second core"
            : BootParameters.Fix(host, $"isolcpus=managed_irq,domain,{free} nohz_full={free} rcu_nocbs={free}");
    }
}
