namespace Dataplane.Perf.Compare;

/// <summary>
/// What only a process of its own can have or not have: many short runs of Forward between null ports, with and without
/// in turn. The same code lies at other addresses in each process and runs a tenth faster or slower for it, so that two
/// long runs say nothing, and the medians of many short ones do.
/// </summary>
internal static class ShortRuns
{
    private const int Pairs = 8;
    private const double Seconds = 0.5;

    /// <summary>Medians of cycles per packet.</summary>
    /// <param name="options">More options of the EAL, with and without.</param>
    /// <param name="watch">Told a file prefix and when to end, while a run with it goes on.</param>
    public static (double With, double Without) Measure(Func<bool, string[]> options,
        Action<string, CancellationToken> watch)
    {
        double[] with = new double[Pairs], without = new double[Pairs];
        for (int i = 0; i < Pairs; i++)
        {
            if (i % 2 == 0)
                without[i] = Cycles(options(false));
            with[i] = Watched(options(true), watch);
            if (i % 2 != 0)
                without[i] = Cycles(options(false));
        }
        return (Result.Median(with), Result.Median(without));
    }

    private static double Watched(string[] options, Action<string, CancellationToken> watch)
    {
        string prefix = $"compare-{Environment.ProcessId}-{Guid.NewGuid():N}";
        using var stop = new CancellationTokenSource();
        Task watching = Task.Run(() => watch(prefix, stop.Token));
        double cycles = Cycles(["--telemetry", "--file-prefix", prefix, .. options]);
        stop.Cancel();
        watching.GetAwaiter().GetResult();
        return cycles;
    }

    private static double Cycles(string[] options) => Applications.Forward("1", ["net_null0", "net_null1"], ["--burst",
        "32", "--mbcache", "250"], Seconds, options).RootElement.GetProperty("lcores")[0].GetProperty("cyclesPerPacket")
        .GetDouble();
}
