using System.Globalization;

namespace Dataplane.Dpctl;

/// <summary><c>dpctl replay</c>: from the file to the summary.</summary>
internal static class ReplayCommand
{
    internal static int Run(ReplayOptions options, string[]? ealArguments, TextWriter output, TextWriter error)
    {
        EalOptions eal = ealArguments == null ? DefaultsFor(options.Port) : EalOptions.Parse(ealArguments, out _);
        if (eal.Help)
        {
            output.WriteLine(EalOptions.HelpText);
            return CommandLine.Ok;
        }
        ReplayFile file = ReplayFile.Scan(options.File);
        Describe(file, output);
        if (options.CheckOnly)
            return CommandLine.Ok;
        using var run = new ReplayRun(eal, options, file);
        foreach (string warning in run.Warnings)
            error.WriteLine($"dpctl: {warning}");
        output.WriteLine($"replaying {options.Rate} to {run.Port.Name}, {Passes(options.Loop)}");
        run.Go((counters, before, at, seconds) => output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{at,6:F1} s  {run.Port.Name}  sent {Scale.Count(counters.Sent)}  "
            + $"{Scale.Of((counters.Sent - before.Sent) / seconds)}pps "
            + $"{Scale.Of((counters.SentBytes - before.Bytes) * 8 / seconds)}bit/s  refused "
            + $"{Scale.Count(counters.Refused)}")));
        return Summarize(run, options, output, error);
    }

    // Without EAL options: one lcore on the last CPU, away from most interrupts, and no PCI device but the one named.
    private static EalOptions DefaultsFor(string? port)
    {
        string allowed = File.ReadLines("/proc/self/status")
            .First(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal));
        CpuSet cpus = CpuSet.Parse(allowed[(allowed.IndexOf(':', StringComparison.Ordinal) + 1)..]);
        int last = cpus.Last();
        // The runtime's threads make room for it, as with taskset; those that they start do too.
        CpuSet lcore = CpuSet.Of(last);
        if (cpus.Except(lcore) is { Count: > 0 } rest)
            foreach (ForeignThread thread in ThreadAudit.Run(lcore, new HashSet<int>()))
                Affinity.TrySet(thread.Tid, rest);
        bool isPci = port != null && PciAddress.TryParse(port.Split(',')[0], out _);
        return new EalOptions
        {
            Lcores = [new LcoreAssignment(0, lcore)],
            NoPci = !isPci,
            Allow = isPci ? [port!] : [],
        };
    }

    private static string Passes(int loop) => loop == 0 ? "for ever" : loop == 1 ? "once" : $"{loop} times";

    private static void Describe(ReplayFile file, TextWriter output)
    {
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{file.Path}: {Scale.Count(file.Packets)} packets, {Scale.Count(file.Bytes)} bytes, up to {file.Longest}, "
            + $"in {file.Nanoseconds / 1e9:F6} s"));
        foreach ((ulong count, string what) in ((ulong, string)[])[
            (file.Skipped, "are no Ethernet frames and left out"),
            (file.CutShort, "were cut short when they were captured and are sent like that"),
            (file.Backwards, "have a stamp before that of their predecessor and follow it at once")])
            if (count > 0)
                output.WriteLine($"  {Scale.Count(count)} {what}");
    }

    private static int Summarize(ReplayRun run, ReplayOptions options, TextWriter output, TextWriter error)
    {
        ReplayCounters counters = run.Counters;
        double seconds = Math.Max(run.Seconds, 1e-9);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"\n{run.Port.Name}, {options.Rate}, {run.Seconds:F6} s: {Scale.Of(counters.Sent / seconds)}pps "
            + $"{Scale.Of(counters.SentBytes * 8 / seconds)}bit/s"));
        output.WriteLine($"  packets: read {Scale.Count(counters.Read)}, sent {Scale.Count(counters.Sent)}, dropped "
            + $"{Scale.Count(counters.Dropped)} (never taken), port errors {Scale.Count(run.PortErrors)} (taken, not "
            + $"sent); refused {Scale.Count(counters.Refused)} (queue full, offered again); came in "
            + Scale.Count(counters.Received));
        LatencyReport late = LatencyReport.Of(counters.Late, 0, 0);
        if (late.Samples > 0)
            output.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  departure error, us: p50 {late.P50 / 1e3:F2}, p99 {late.P99 / 1e3:F2}, p99.9 {late.P999 / 1e3:F2}, "
                + $"max {late.Max / 1e3:F2} (from when a packet was due until the port had taken it)"));
        if (run.GaveUp)
            error.WriteLine($"dpctl: gave up: {run.Port.Name} took nothing for {ReplayRun.PatienceSeconds} s"
                + (run.Port.GetLink().Up ? "" : "; its link is down"));
        if (run.EndedEarly)
            error.WriteLine($"dpctl: {options.File} became shorter while it was replayed");
        if (run.Interrupted)
            error.WriteLine($"dpctl: interrupted: {Scale.Count(counters.Sent)} "
                + (options.Loop == 0 ? "packets" : $"of {Scale.Count(run.Planned)} packets") + " were sent");
        bool accounted = counters.Read == counters.Sent + counters.Dropped && run.PoolLeaks == 0;
        output.WriteLine(accounted ? run.Interrupted ? "every packet that was read is accounted for"
            : "every packet accounted for" : $"NOT ACCOUNTED FOR: {counters.Read} read, "
            + $"{counters.Sent} sent, {counters.Dropped} dropped, {run.PoolLeaks} mbufs missing from the pool");
        return accounted && !run.GaveUp && !run.EndedEarly && !run.Interrupted && run.PortErrors == 0
            ? CommandLine.Ok : CommandLine.Failed;
    }
}
