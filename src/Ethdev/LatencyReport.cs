using System.Diagnostics.Metrics;

namespace Dataplane;

/// <summary>Rx-to-Tx latency, nanoseconds. All 0 while nothing was measured.</summary>
/// <param name="Samples">Packets measured.</param>
/// <param name="Min">The least.</param>
/// <param name="Average">The mean.</param>
/// <param name="Max">The greatest.</param>
/// <param name="Jitter">Mean difference between neighbours, RFC 3550 §6.4.1.</param>
/// <param name="P50">Half of all are not above it; right to 1.6 %, as the other percentiles.</param>
/// <param name="P99">99 % are not above it.</param>
/// <param name="P999">99.9 % are not above it.</param>
public sealed record LatencyReport(long Samples, double Min, double Average, double Max, double Jitter, double P50,
    double P99, double P999)
{
    internal static LatencyReport Of(LatencyHistogram cycles, ulong sum, double jitter)
    {
        double ns = Tsc.ToNanoseconds(1);
        return new(cycles.Count, cycles.Min * ns, cycles.Count == 0 ? 0 : sum * ns / cycles.Count, cycles.Max * ns,
            jitter * ns, cycles.Percentile(50) * ns, cycles.Percentile(99) * ns, cycles.Percentile(99.9) * ns);
    }

    /// <summary>The same for telemetry; the first five names are those of DPDK's latencystats.</summary>
    internal TelemetryDict Tell() => new()
    {
        { "min_latency_ns", (ulong)Min }, { "avg_latency_ns", (ulong)Average }, { "max_latency_ns", (ulong)Max },
        { "jitter_ns", (ulong)Jitter }, { "samples", Samples }, { "p50_latency_ns", (ulong)P50 },
        { "p99_latency_ns", (ulong)P99 }, { "p999_latency_ns", (ulong)P999 },
    };
}

/// <summary>The command <c>/ethdev/latency</c> and the meter's <c>dataplane.port.latency</c>.</summary>
internal sealed class LatencyTelemetry : IDisposable
{
    private readonly Meter _meter = new(Telemetry.MeterName, Eal.VersionText);
    private readonly IDisposable _command;

    internal LatencyTelemetry(Telemetry telemetry, LatencyStats stats, IReadOnlyList<Port> ports)
    {
        Port[] measured = [.. ports];
        _command = telemetry.Register("/ethdev/latency", (_, parameters) =>
            TelemetryParameters.Numbers(parameters, 1) is [uint id]
            && Array.Find(measured, port => port.Id == id) is { } port ? stats.Read(port).Tell() : null,
            "Returns Rx-to-Tx latency of packets sent by a port. Parameters: int port_id");
        _meter.CreateObservableGauge("dataplane.port.latency", () => measured.SelectMany(port =>
        {
            LatencyReport report = stats.Read(port);
            return ((string, double)[])[("min", report.Min), ("mean", report.Average), ("max", report.Max),
                ("jitter", report.Jitter), ("p50", report.P50), ("p99", report.P99), ("p99.9", report.P999)];
        }, (port, figure) => new Measurement<double>(figure.Item2, new("port", port.Name), new("stat", figure.Item1))),
            "ns", "From receipt to sending, of packets sent by the port");
    }

    public void Dispose()
    {
        _command.Dispose();
        _meter.Dispose();
    }
}
