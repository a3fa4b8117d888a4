using Dataplane;
using Dataplane.Apps.Throughput;
using Dataplane.Apps.Watch;

try
{
    EalOptions ealOptions = EalOptions.Parse(args, out string[] own);
    if (ealOptions.Help || ealOptions.Version)
    {
        Console.WriteLine(ealOptions.Help ? EalOptions.HelpText
            : $"Dataplane {typeof(Eal).Assembly.GetName().Version}");
        if (ealOptions.Help)
            ThroughputOptions.Parse(["--help"], out _);
        return 0;
    }
    ThroughputOptions? options = ThroughputOptions.Parse(own, out int exitCode);
    if (options == null)
        return exitCode;
    return Run(ealOptions, options);
}
catch (DataplaneException e)
{
    Console.Error.WriteLine($"Throughput: {e.Message}");
    return 1;
}
catch (Exception e) when (e is IOException or UnauthorizedAccessException)
{
    Console.Error.WriteLine($"Throughput: cannot write the results: {e.Message}");
    return 1;
}

static int Run(EalOptions ealOptions, ThroughputOptions options)
{
    using Eal eal = Eal.Initialize(ealOptions);
    using PortList ports = PortList.Probe(eal, Dataplane.Pmd.Drivers.All);
    if (ports.Ports.Count == 0 && options.Path != TestPath.Pair)
        throw ports.NoPorts($"--path {options.Path.ToString().ToLowerInvariant()} wants at least "
            + $"{(options.Path is TestPath.Loop or TestPath.Sink ? 1 : 2)} ports, and there is none",
            "Throughput --vdev net_wire0 --vdev net_wire1");
    if (ports.Ports.Count == 0)
        foreach (string end in new[] { "net_wire0", "net_wire1" })
            ports.Attach(end);
    bool isLost = false;
    foreach (Port port in ports.Ports)
        port.Events += (lost, what) =>
        {
            // The kernel waits with an unplug or unbind until the port is closed, so go at once.
            if (what is not (PortEvent.Removed or PortEvent.ResetNeeded) || lost.Info.Pci == null || isLost)
                return;
            isLost = true;
            Console.Error.WriteLine($"Throughput: port {lost.Name} {(what == PortEvent.Removed
                ? "is being taken away (unplugged, unbound or removed)"
                : "reported an error it cannot go on after")}: stopping");
            eal.RequestStop();
        };
    Port[] used = [.. ports.Ports.Where(port => port.Owner == null)];    // a bond's members are the bond's
    using var bench = new Bench(eal, used, options);
    using IDisposable watched = Watcher.Start(eal, options.Watch, new ThroughputWatch(used, options));
    var frames = new List<FrameResult>();
    int collections = GC.CollectionCount(0);
    try
    {
        foreach (string frame in options.Frames)
        {
            Console.Error.WriteLine($"frame {frame} ...");
            frames.Add(bench.Measure(frame));
            eal.StopToken.ThrowIfCancellationRequested();
        }
    }
    catch (OperationCanceledException)
    {
        Console.Error.WriteLine("stopped: what was measured until now follows");
    }
    IReadOnlyDictionary<string, IReadOnlyDictionary<string, ulong>> counters = bench.Counters();
    bench.Stop();
    var report = new ThroughputReport(DateTime.UtcNow.ToString("yyyy-MM-dd"),
        options.Test.ToString().ToLowerInvariant(), options.Path.ToString().ToLowerInvariant(),
        [.. used.Select(port => port.Name)], options.Burst, options.TrialSeconds, options.LossPercent, frames,
            GC.CollectionCount(0) - collections, bench.PoolLeaks) { Counters = counters };
    ResultTable.Print(report);
    if (options.JsonPath != null)
        report.Save(options.JsonPath);
    if (options.SvgPath != null)
        File.WriteAllText(options.SvgPath, SvgChart.Draw(report));
    return report.PoolLeaks == 0 && frames.All(frame => frame.Best != null) && !isLost ? 0 : 2;
}
