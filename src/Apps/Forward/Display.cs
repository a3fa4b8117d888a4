using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Dataplane.Apps.Forward;

/// <summary>Shows rates while packets move: a live table on a terminal, a line a period elsewhere; a summary at the
/// end.</summary>
internal sealed class Display(Sampler sampler, ForwardOptions options)
{
    private static readonly string[] s_units = ["", "k", "M", "G", "T"];

    /// <summary>Runs until the wait says so or the duration is over.</summary>
    /// <param name="wait">Waits up to a time; returns true when asked to stop.</param>
    public void Run(Func<TimeSpan, bool> wait)
    {
        double until = options.DurationSeconds > 0 ? options.DurationSeconds : double.PositiveInfinity;
        Sample first = sampler.Read();
        if (options.StatsPeriodSeconds > 0 && !options.Plain && !Console.IsOutputRedirected
            && AnsiConsole.Profile.Capabilities.Ansi)
            AnsiConsole.Live(Table(first, first)).Start(live =>
                Loop(first, until, wait, (before, now) =>
                {
                    live.UpdateTarget(Table(before, now));
                    live.Refresh();
                }));
        else
            Loop(first, until, wait, PrintLine);
    }

    private void Loop(Sample first, double until, Func<TimeSpan, bool> wait, Action<Sample, Sample> show)
    {
        Sample before = first;
        double end = first.Seconds + until;
        while (true)
        {
            double period = options.StatsPeriodSeconds > 0 ? options.StatsPeriodSeconds : 3600;
            double pause = Math.Min(period, end - sampler.Seconds);
            // Rounded up: a wait handle knows whole milliseconds only, and the rest of one would be spun away.
            if (pause <= 0 || wait(TimeSpan.FromMilliseconds(Math.Ceiling(pause * 1000))))
                return;
            if (options.StatsPeriodSeconds <= 0)
                continue;
            Sample now = sampler.Read();
            show(before, now);
            before = now;
        }
    }

    private void PrintLine(Sample before, Sample now)
    {
        double seconds = now.Seconds - before.Seconds;
        for (int i = 0; i < sampler.Ports.Count; i++)
        {
            PortRates rates = Rates(before.Ports[i], now.Ports[i], seconds);
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{now.Seconds,5:F1} s  {sampler.Ports[i].Name,-14} rx {Scale(rates.RxPps)}pps "
                + $"{Scale(rates.RxBps)}bit/s  tx {Scale(rates.TxPps)}pps {Scale(rates.TxBps)}bit/s  drops "
                + $"{Drops(before.Ports[i], now.Ports[i])}{(now.LinkUp[i] ? "" : "  link down")}"));
        }
        for (int i = 0; i < sampler.Lcores.Count; i++)
        {
            LcoreUsage usage = now.Usage[i].Since(before.Usage[i]);
            ulong packets = Sampler.Handled(now.Lcores[i]) - Sampler.Handled(before.Lcores[i]);
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"         lcore {sampler.Lcores[i].LcoreId,-8} {Scale(packets / seconds)}pps  busy "
                + $"{usage.BusyPercent:F0} %  {CyclesPerPacket(usage, packets)} cycles/packet"
                + $"  tx full {now.Lcores[i].DroppedTxFull - before.Lcores[i].DroppedTxFull}"));
        }
    }

    private IRenderable Table(Sample before, Sample now)
    {
        double seconds = Math.Max(now.Seconds - before.Seconds, 1e-9);
        Table ports = new Table().Border(TableBorder.Rounded).Title($"Forward  {options.Mode}  {now.Seconds:F0} s")
            .AddColumns("port", "rx pps", "rx bit/s", "tx pps", "tx bit/s", "missed", "rx err", "no mbuf",
            "tx err");
        for (int i = 0; i < sampler.Ports.Count; i++)
        {
            PortRates rates = Rates(before.Ports[i], now.Ports[i], seconds);
            PortStats all = now.Ports[i];
            string name = Markup.Escape(sampler.Ports[i].Name) + (now.LinkUp[i] ? "" : " [red]down[/]");
            ports.AddRow(name, Scale(rates.RxPps), Scale(rates.RxBps),
                Scale(rates.TxPps), Scale(rates.TxBps), Number(all.RxMissed), Number(all.RxErrors),
                Number(all.RxNoMbuf), Number(all.TxErrors));
        }
        Table lcores = new Table().Border(TableBorder.Rounded)
            .AddColumns("lcore", "pps", "busy", "cyc/pkt", "tx full", "consumed", "bad csum", "no mbuf");
        for (int i = 0; i < sampler.Lcores.Count; i++)
        {
            LcoreUsage usage = now.Usage[i].Since(before.Usage[i]);
            StreamCounters all = now.Lcores[i];
            ulong packets = Sampler.Handled(all) - Sampler.Handled(before.Lcores[i]);
            lcores.AddRow(Number((ulong)sampler.Lcores[i].LcoreId), Scale(packets / seconds),
                $"{usage.BusyPercent:F0} %", CyclesPerPacket(usage, packets), Number(all.DroppedTxFull),
                Number(all.Consumed), Number(all.BadChecksum), Number(all.NoMbuf));
        }
        foreach (TableColumn column in (TableColumn[])[.. ports.Columns, .. lcores.Columns])
            column.NoWrap().Padding(0, 0, 1, 0);
        return new Rows(ports, lcores);
    }

    /// <summary>The summary at the end, the same on a terminal and in a file.</summary>
    public static void PrintSummary(ForwardReport report, ForwardOptions options)
    {
        static string N(long number) => number.ToString("N0", CultureInfo.InvariantCulture);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"\n{report.Mode}, burst {report.Burst}, {report.Seconds:F2} s"));
        foreach (PortReport port in report.Ports)
            Console.WriteLine($"  port {port.Name,-14} rx {N(port.RxPackets),16}  tx {N(port.TxPackets),16}"
                + $"  missed {N(port.RxMissed)}  rx errors {N(port.RxErrors)}  no mbuf {N(port.RxNoMbuf)}  tx errors "
                + $"{N(port.TxErrors)}");
        foreach (LcoreReport lcore in report.Lcores)
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  lcore {lcore.Lcore} on CPU {lcore.Cpus}: {lcore.Packets / Math.Max(report.Seconds, 1e-9) / 1e6:F3} "
                + $"Mpps, busy {lcore.BusyPercent:F0} %, {lcore.CyclesPerPacket:F1} cycles/packet, "
                + $"{lcore.AllocatedBytes} bytes allocated")
                + (lcore.Sleeps > 0 ? $", slept {N(lcore.Sleeps)} times" : ""));
        foreach (StreamReport stream in report.Lcores.SelectMany(lcore => lcore.Streams))
            PrintRecord(stream, options);
        if (report.Latency is { } latency)
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  latency, ns: min {latency.Min:F0}, mean {latency.Average:F0}, max {latency.Max:F0}, jitter "
                + $"{latency.Jitter:F0}, p50 {latency.P50:F0}, p99 {latency.P99:F0}, p99.9 {latency.P999:F0} "
                + $"({latency.Samples:N0} packets)"));
        PacketReport p = report.Packets;
        Console.WriteLine($"  packets: received {N(p.Received)}, generated {N(p.Generated)}, sent {N(p.Sent)},"
            + $" dropped (transmit queue full) {N(p.DroppedTxFull)}, consumed {N(p.Consumed)}");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"  garbage collections: {report.GcCollections}, pause {report.GcPauseMs:F1} ms"));
        if (report.Demo is { } demo)
            Console.WriteLine($"  far ends: generated {N(demo.Generated)}, checked {N(demo.Checked)}, lost "
                + $"{N(demo.Lost)}, out of order {N(demo.OutOfOrder)}, corrupted {N(demo.Corrupted)}");
        if (p.Received + p.Generated == 0)
            Console.WriteLine("  no packet came in");
        Console.WriteLine(report.Accounted
            ? "every packet accounted for"
            : $"NOT ACCOUNTED FOR: {N(p.Unaccounted)} packets in the streams, {N(report.PoolLeaks)} mbufs missing from "
            + $"the pools");
    }

    private static void PrintRecord(StreamReport stream, ForwardOptions options)
    {
        if (stream.Record is not { } record)
            return;
        string name = $"  {stream.RxPort} queue {stream.Queue} to {stream.TxPort}: ";
        if (options.RecordCycles)
            Console.WriteLine(name + $"cycles/packet: receive {record.PerPacket(record.ReceiveCycles)}, mode "
                + $"{record.PerPacket(record.ModeCycles)}, send {record.PerPacket(record.SendCycles)} (TSC "
                + $"{Tsc.Description})");
        if (options.RecordBursts)
            Console.WriteLine(name + $"RX-bursts : {StreamRecordReport.Spread(record.ReceivedBursts)}  TX-bursts : "
                + StreamRecordReport.Spread(record.SentBursts));
    }

    private readonly record struct PortRates(double RxPps, double RxBps, double TxPps, double TxBps);

    private static PortRates Rates(PortStats before, PortStats now, double seconds) => new(
        (now.RxPackets - before.RxPackets) / seconds, (now.RxBytes - before.RxBytes) * 8 / seconds,
        (now.TxPackets - before.TxPackets) / seconds, (now.TxBytes - before.TxBytes) * 8 / seconds);

    private static ulong Drops(PortStats before, PortStats now) => now.RxMissed + now.RxErrors + now.RxNoMbuf
        + now.TxErrors
        - (before.RxMissed + before.RxErrors + before.RxNoMbuf + before.TxErrors);

    private static string CyclesPerPacket(LcoreUsage usage, ulong packets) =>
        packets == 0 ? "-" : ((double)usage.BusyCycles / packets).ToString("F1", CultureInfo.InvariantCulture);

    private static string Number(ulong number) => number.ToString("N0", CultureInfo.InvariantCulture);

    private static string Scale(double rate)
    {
        int unit = 0;
        for (; rate >= 1000 && unit < s_units.Length - 1; unit++)
            rate /= 1000;
        return rate.ToString(rate < 10 ? "F3" : rate < 100 ? "F2" : "F1", CultureInfo.InvariantCulture) + " "
            + s_units[unit];
    }
}
