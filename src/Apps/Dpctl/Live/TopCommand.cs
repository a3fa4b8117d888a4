using System.CommandLine;
using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Dataplane.Dpctl;

/// <summary><c>dpctl top</c>: what a running application does now.</summary>
internal static class TopCommand
{
    /// <summary>Options to name an application with.</summary>
    internal static (Option<string?> Prefix, Option<int?> Pid) AppOptions() => (
        new("--file-prefix", "-f") { Description = "The application's file prefix, as it was started with.",
            HelpName = "NAME" },
        new("--pid") { Description = "Its process, where several have one prefix.", HelpName = "N" });

    internal static Command Build(IAnsiConsole console, TextWriter output)
    {
        (Option<string?> prefix, Option<int?> pid) = AppOptions();
        Option<double> interval = NumberOption.Number("--interval", "Seconds between looks.", 1, 0.05, 86_400);
        Option<int> count = NumberOption.Whole("--count", "Looks, then end; 0: until interrupted.", 0, 0, int.MaxValue,
            "N", "-n");
        Option<bool> once = new("--once") { Description = "One look, printed as lines, over one interval." };
        Option<bool> json = new("--json") { Description = "Lines of JSON, one object for each look." };
        var command = new Command("top", "Show a running application: rates of ports and queues, drops by reason, load "
            + "of lcores, levels of pools and rings. Live on a terminal, lines into a pipe; ends when the application "
            + "does. DPDK's applications answer too.") { prefix, pid, interval, count, once, json };
        command.SetAction(result => Run(result.GetValue(prefix), result.GetValue(pid),
            TimeSpan.FromSeconds(result.GetValue(interval)), result.GetValue(once) ? 1 : result.GetValue(count),
            result.GetValue(json) ? TopFormat.Json : result.GetValue(once) ? TopFormat.Lines : TopFormat.Best, console,
            output));
        return command;
    }

    internal static int Run(string? prefix, int? pid, TimeSpan interval, int count, TopFormat format,
        IAnsiConsole console, TextWriter output)
    {
        using TelemetryClient client = TelemetryClient.Connect(prefix, pid);
        using var stop = new CancellationTokenSource();
        using var signals = new StopSignals(stop.Cancel);
        var sampler = new AppSampler(client);
        string title = TelemetryClient.Name(client.App);
        try
        {
            // At first it compiles its answers, which takes longer than asking does: rates would be off.
            _ = sampler.Read();
            if (format == TopFormat.Json)
                Loop(sampler, interval, count, stop.Token, (before, now) =>
                {
                    output.WriteLine(TopJson.Of(client.App, before, now).ToJsonString());
                    output.Flush();
                });
            else if (format == TopFormat.Lines || !console.Profile.Capabilities.Ansi)
            {
                output.WriteLine(title);
                Loop(sampler, interval, count, stop.Token, (before, now) => TopText.Print(before, now, output));
            }
            else
            {
                // Other verbs print lines that must not be broken; a table that is redrawn must fit.
                console.Profile.Width = Math.Max(Console.WindowWidth, 40);
                AppSample first = sampler.Read();
                console.Live(Tables(title, first, first)).Start(live => Loop(sampler, interval, count, stop.Token,
                    (before, now) =>
                    {
                        live.UpdateTarget(Tables(title, before, now));
                        live.Refresh();
                    }));
            }
        }
        catch (TelemetryEndedException e)
        {
            if (format != TopFormat.Json)
                output.WriteLine(e.What);
        }
        return CommandLine.Ok;
    }

    private static void Loop(AppSampler sampler, TimeSpan interval, int count, CancellationToken stop,
        Action<AppSample, AppSample> show)
    {
        AppSample before = sampler.Read();
        for (int i = 0; (count == 0 || i < count) && !stop.WaitHandle.WaitOne(interval); i++)
        {
            AppSample now = sampler.Read();
            show(before, now);
            before = now;
        }
    }

    private static Rows Tables(string title, AppSample before, AppSample now)
    {
        var parts = new List<IRenderable> { new Markup($"[bold]{Markup.Escape(title)}[/]") };
        Table ports = New("port", "rx pps", "rx bit/s", "tx pps", "tx bit/s", "missed", "rx err", "no mbuf", "tx err");
        Table queues = New("queue", "pps", "bit/s", "burst", "lost");
        double seconds = Math.Max(now.Seconds - before.Seconds, 1e-9);
        foreach (PortSample port in now.Ports)
        {
            PortSample was = before.Ports.FirstOrDefault(one => one.Id == port.Id) ?? port;
            double rate(ulong then, ulong at) => TopText.Rate(then, at, seconds);
            ports.AddRow(Markup.Escape(port.Name) + (port.Up ? "" : " [red]down[/]"),
                Scale.Of(rate(was.RxPackets, port.RxPackets)), Scale.Of(8 * rate(was.RxBytes, port.RxBytes)),
                Scale.Of(rate(was.TxPackets, port.TxPackets)), Scale.Of(8 * rate(was.TxBytes, port.TxBytes)),
                Scale.Count(port.RxMissed), Scale.Count(port.RxErrors), Scale.Count(port.RxNoMbuf),
                Scale.Count(port.TxErrors));
            foreach (QueueSample queue in port.Queues)
            {
                QueueSample old = was.Queues.FirstOrDefault(one => one.Name == queue.Name) ?? queue;
                queues.AddRow(Markup.Escape($"{port.Name} {queue.Name}"), Scale.Of(rate(old.Packets, queue.Packets)),
                    Scale.Of(8 * rate(old.Bytes, queue.Bytes)), TopText.Burst(old, queue), Scale.Count(queue.Lost));
            }
        }
        Table lcores = New("lcore", "busy", "cyc/pkt", "pps");
        foreach (LcoreSample lcore in now.Lcores)
        {
            (string busy, string cycles, string pps) = TopText.Load(before, lcore, seconds);
            lcores.AddRow(lcore.Id.ToString(CultureInfo.InvariantCulture), busy, cycles, pps);
        }
        Table levels = New("pool or ring", "in use", "of", "");
        foreach (LevelSample level in now.Pools.Concat(now.Rings))
            levels.AddRow(Markup.Escape(level.Name), Scale.Count(level.Used), Scale.Count(level.Size),
                TopText.Percent(level));
        Table drops = New("drops", "all", "a second");
        foreach ((string reason, ulong all) in now.Drops.Where(drop => drop.Value > 0))
            drops.AddRow(Markup.Escape(reason), Scale.Count(all),
                Scale.Of(TopText.Rate(before.Drops.GetValueOrDefault(reason), all, seconds)));
        // What does not fit the terminal is cut off at its end.
        parts.AddRange(((Table[])[ports, drops, lcores, queues, levels]).Where(table => table.Rows.Count > 0));
        return new Rows(parts);
    }

    private static Table New(params string[] columns)
    {
        Table table = new Table().Border(TableBorder.Rounded).AddColumns(columns);
        foreach (TableColumn column in table.Columns)
            column.NoWrap().Padding(0, 0, 1, 0);
        return table;
    }
}

/// <summary>How <c>dpctl top</c> shows it.</summary>
internal enum TopFormat
{
    /// <summary>A table on a terminal, else lines.</summary>
    Best,
    /// <summary>Lines for people.</summary>
    Lines,
    /// <summary>A JSON object a line.</summary>
    Json,
}

/// <summary>The same as lines, and the figures all share.</summary>
internal static class TopText
{
    internal static void Print(AppSample before, AppSample now, TextWriter output)
    {
        double seconds = Math.Max(now.Seconds - before.Seconds, 1e-9);
        foreach (PortSample port in now.Ports)
        {
            PortSample was = before.Ports.FirstOrDefault(one => one.Id == port.Id) ?? port;
            output.WriteLine($"port {port.Name}{(port.Up ? "" : " (link down)")}: rx "
                + $"{Scale.Of(Rate(was.RxPackets, port.RxPackets, seconds))}pps "
                + $"{Scale.Of(8 * Rate(was.RxBytes, port.RxBytes, seconds))}bit/s  tx "
                + $"{Scale.Of(Rate(was.TxPackets, port.TxPackets, seconds))}pps "
                + $"{Scale.Of(8 * Rate(was.TxBytes, port.TxBytes, seconds))}bit/s  missed "
                + $"{Scale.Count(port.RxMissed)}  rx errors {Scale.Count(port.RxErrors)}  no mbuf "
                + $"{Scale.Count(port.RxNoMbuf)}  tx errors {Scale.Count(port.TxErrors)}");
            foreach (QueueSample queue in port.Queues)
            {
                QueueSample old = was.Queues.FirstOrDefault(one => one.Name == queue.Name) ?? queue;
                output.WriteLine($"  queue {queue.Name}: {Scale.Of(Rate(old.Packets, queue.Packets, seconds))}pps "
                    + $"{Scale.Of(8 * Rate(old.Bytes, queue.Bytes, seconds))}bit/s  mean burst {Burst(old, queue)}  "
                    + $"lost {Scale.Count(queue.Lost)}");
            }
        }
        foreach (LcoreSample lcore in now.Lcores)
        {
            (string busy, string cycles, string pps) = Load(before, lcore, seconds);
            output.WriteLine($"lcore {lcore.Id}: busy {busy}  {cycles} cycles/packet  {pps}pps");
        }
        foreach ((string kind, IReadOnlyList<LevelSample> levels) in ((string, IReadOnlyList<LevelSample>)[])[
            ("pool", now.Pools), ("ring", now.Rings)])
            foreach (LevelSample level in levels)
                output.WriteLine($"{kind} {level.Name}: {Scale.Count(level.Used)} of {Scale.Count(level.Size)} in use "
                    + $"({Percent(level)})");
        foreach ((string reason, ulong all) in now.Drops.Where(drop => drop.Value > 0))
            output.WriteLine($"drops, {reason}: {Scale.Count(all)}, now "
                + $"{Scale.Of(Rate(before.Drops.GetValueOrDefault(reason), all, seconds))}/s");
    }

    /// <summary>A second's share; counters that were set back count from 0.</summary>
    internal static double Rate(ulong before, ulong now, double seconds) => Since(before, now) / seconds;

    internal static string Burst(QueueSample before, QueueSample now) =>
        MeanBurst(before, now)?.ToString("F1", CultureInfo.InvariantCulture) ?? "-";

    /// <summary>Packets per call; null where nobody called.</summary>
    internal static double? MeanBurst(QueueSample before, QueueSample now)
    {
        ulong calls = Since(before.Calls, now.Calls);
        return calls == 0 ? null : (double)Since(before.Packets, now.Packets) / calls;
    }

    internal static (string Busy, string CyclesPerPacket, string Pps) Load(AppSample before, LcoreSample now,
        double seconds)
    {
        (double? busy, double? cycles, double? pps) = LoadOf(before, now, seconds);
        return (busy == null ? "-" : string.Create(CultureInfo.InvariantCulture, $"{busy:F0} %"),
            cycles?.ToString("F1", CultureInfo.InvariantCulture) ?? "-", pps == null ? "- " : Scale.Of(pps.Value));
    }

    /// <summary>Per cent, cycles and packets a second; null where the application does not tell, or nothing was
    /// done.</summary>
    internal static (double? BusyPercent, double? CyclesPerPacket, double? Pps) LoadOf(AppSample before,
        LcoreSample now, double seconds)
    {
        LcoreSample was = before.Lcores.FirstOrDefault(one => one.Id == now.Id) ?? now;
        ulong total = Since(was.TotalCycles, now.TotalCycles), busy = Since(was.BusyCycles, now.BusyCycles);
        ulong? packets = now.Packets is { } count ? Since(was.Packets ?? 0, count) : null;
        return (total == 0 ? null : 100.0 * busy / total, packets is null or 0 ? null : (double)busy / packets.Value,
            packets / seconds);
    }

    internal static string Percent(LevelSample level) => string.Create(CultureInfo.InvariantCulture,
        $"{100.0 * level.Used / Math.Max(level.Size, 1):F0} %");

    private static ulong Since(ulong before, ulong now) => now >= before ? now - before : now;
}
