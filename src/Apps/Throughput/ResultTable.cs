using System.Globalization;
using Spectre.Console;

namespace Dataplane.Apps.Throughput;

/// <summary>The results for people.</summary>
internal static class ResultTable
{
    /// <summary>Prints a row per frame size.</summary>
    public static void Print(ThroughputReport report)
    {
        Console.WriteLine($"{report.Test}, {report.Path}, {string.Join(" ", report.Ports)}, bursts of {report.Burst}");
        Table table = new Table().Border(Console.IsOutputRedirected ? TableBorder.Ascii2 : TableBorder.Rounded)
            .AddColumns("frame", "Mpps", "Gbit/s", "lost", "p50 µs", "p90", "p99", "p99.9", "p99.99", "max", "order",
            "trials");
        foreach (TableColumn column in table.Columns)
            column.RightAligned().NoWrap();
        foreach (FrameResult frame in report.Frames)
            table.AddRow(Cells(frame));
        if (AnsiConsole.Profile.Width < 120)
            AnsiConsole.Profile.Width = 120;
        AnsiConsole.Write(table);
    }

    private static string[] Cells(FrameResult frame)
    {
        if (frame.Best is not { } best)
            return [frame.Frame, "none", "", N(frame.Trials[^1].Lost), "", "", "", "", "", "", "",
                N((ulong)frame.Trials.Count)];
        Latencies? l = best.Latency;
        static string us(double? time) => time is { } t ? t.ToString(t < 10 ? "F2" : "F1", CultureInfo.InvariantCulture)
            : "-";
        return [frame.Frame, F(best.SentPps / 1e6), F(best.SentBitsPerSecond / 1e9), N(best.Lost), us(l?.P50),
            us(l?.P90), us(l?.P99), us(l?.P999), us(l?.P9999), us(l?.Max),
            best.OutOfOrder + best.Duplicates == 0 ? "ok" : $"{best.OutOfOrder} late, {best.Duplicates} twice",
            N((ulong)frame.Trials.Count)];
    }

    private static string F(double number) => number.ToString("F3", CultureInfo.InvariantCulture);

    private static string N(ulong number) => number.ToString("N0", CultureInfo.InvariantCulture);
}
