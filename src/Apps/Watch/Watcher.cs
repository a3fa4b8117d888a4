using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;

namespace Dataplane.Apps.Watch;

/// <summary>Starts what the options ask for. Where they ask for nothing, nothing of it is even loaded.</summary>
public sealed class Watcher : IDisposable
{
    private readonly List<IDisposable> _parts = [];

    private Watcher()
    {
    }

    /// <summary>Starts it on control threads; no thread of it stays on an lcore's CPU where there is another.</summary>
    /// <returns>Dispose it before the ports.</returns>
    /// <exception cref="ConfigException">The address cannot be served.</exception>
    public static IDisposable Start(Eal eal, WatchOptions options, IWatched watched)
    {
        var watcher = new Watcher();
        watcher._parts.Add(Drops(watched));
        watcher._parts.Add(eal.Telemetry.Register("/dataplane/drops", (_, _) => TellDrops(watched),
            "Returns packets the application dropped, by reason. Takes no parameters"));
        if (options.Dashboard == null && options.Otlp == null)
            return watcher;
        Exception? failure = null;
        eal.ConfineThreads();
        // Threads inherit the CPUs of those that start them, so nothing of this is started here.
        Thread starter = eal.StartControlThread("dp-watch", () =>
        {
            try
            {
                if (options.Otlp != null)
                    watcher._parts.Add(StartOtlp(options.Otlp, watched.App));
                if (options.Dashboard != null)
                    watcher._parts.Add(StartDashboard(eal, options.Dashboard, watched));
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        starter.Join();
        eal.ConfineThreads();
        if (failure == null)
            return watcher;
        watcher.Dispose();
        throw failure as DataplaneException ?? new DataplaneException(
            "the dashboard or OpenTelemetry cannot be started", failure.Message, inner: failure);
    }

    /// <summary>Ends serving; metrics not sent yet are sent.</summary>
    public void Dispose()
    {
        foreach (IDisposable part in Enumerable.Reverse(_parts))
            part.Dispose();
        _parts.Clear();
    }

    private static TelemetryDict TellDrops(IWatched watched)
    {
        var told = new TelemetryDict();
        foreach (WatchedDrop drop in watched.Drops)
            told.Add(drop.Reason, drop.Packets);
        return told;
    }

    private static Meter Drops(IWatched watched)
    {
        var meter = new Meter(Telemetry.MeterName, Eal.VersionText);
        meter.CreateObservableCounter("dataplane.application.drops", () => watched.Drops.Select(drop =>
            new Measurement<long>((long)drop.Packets, new KeyValuePair<string, object?>("reason", drop.Reason))),
            "{packet}", "Packets the application dropped, by reason");
        return meter;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static IDisposable StartOtlp(Uri url, string app) => new OtlpSender(url, app);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static IDisposable StartDashboard(Eal eal, System.Net.IPEndPoint address, IWatched watched)
    {
        var server = new DashboardServer(eal, address, watched,
            Environment.GetEnvironmentVariable("DATAPLANE_DASHBOARD_TOKEN"));
        Console.WriteLine($"dashboard: {server.Url}");
        return server;
    }
}
