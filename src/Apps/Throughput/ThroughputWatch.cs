using Dataplane.Apps.Watch;

namespace Dataplane.Apps.Throughput;

/// <summary>What the dashboard and the meter show of a measurement: ports, lcores and pools. Losses and latency are of
/// single trials, and in its results.</summary>
internal sealed class ThroughputWatch(IReadOnlyList<Port> ports, ThroughputOptions options) : IWatched
{
    public string App => "Throughput";

    public string Mode => $"{options.Test}, {options.Path}".ToLowerInvariant();

    public IReadOnlyList<Port> Ports => ports;

    public IReadOnlyList<WatchedStream> Streams => [];

    public IReadOnlyList<WatchedDrop> Drops => [];

    public LatencyReport? Latency => null;
}
