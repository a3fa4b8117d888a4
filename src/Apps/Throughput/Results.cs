using System.Text.Json;
using System.Text.Json.Serialization;

namespace Dataplane.Apps.Throughput;

/// <summary>Times on the way in microseconds.</summary>
internal sealed record Latencies(double Min, double P50, double P90, double P99, double P999, double P9999, double Max)
{
    /// <summary>Reads them from a histogram of cycles.</summary>
    public static Latencies Of(LatencyHistogram histogram)
    {
        double us(ulong cycles) => Math.Round(Tsc.ToNanoseconds(cycles) / 1000, 3);
        return new Latencies(us(histogram.Min), us(histogram.Percentile(50)), us(histogram.Percentile(90)),
            us(histogram.Percentile(99)), us(histogram.Percentile(99.9)), us(histogram.Percentile(99.99)),
            us(histogram.Max));
    }
}

/// <summary>One trial at one rate. All directions added up.</summary>
/// <param name="OfferedPps">Rate asked for, packets per second; 0 for as fast as it goes.</param>
/// <param name="SentPps">Rate sent.</param>
/// <param name="Lost">Sent and never received.</param>
/// <param name="Latency">Of those received; null when none were.</param>
internal sealed record Trial(double OfferedPps, double Seconds, ulong Sent, ulong Received, ulong Lost,
    ulong OutOfOrder, ulong Duplicates, ulong Foreign, ulong Blocked, double SentPps, double SentBitsPerSecond,
    Latencies? Latency)
{
    /// <summary>What the receiving ports counted as dropped meanwhile: no descriptor or mbuf was free, or in error.
    /// </summary>
    public ulong Missed { get; init; }

    /// <summary>What the sending ports had taken and could not send.</summary>
    public ulong Unsent { get; init; }

    /// <summary>Whether it passes for the rate asked for: the load was really offered, and no more than allowed was
    /// lost.</summary>
    public bool Passes(double lossPercent) =>
        Sent > 0 && Lost <= Sent * lossPercent / 100 && Duplicates == 0
        && (OfferedPps == 0 || SentPps >= OfferedPps * 0.995);
}

/// <summary>What was found for one frame size.</summary>
/// <param name="Frame">64, ... 1518 with check sequence, or <c>imix</c>.</param>
/// <param name="Best">The trial at the highest rate that passed; null when none did.</param>
/// <param name="Trials">All of them, in order.</param>
/// <param name="WarmUp">What was sent before the first of them, for which nothing is claimed.</param>
internal sealed record FrameResult(string Frame, double MeanBytes, Trial? Best, IReadOnlyList<Trial> Trials,
    Trial? WarmUp = null);

/// <summary>The whole run.</summary>
internal sealed record ThroughputReport(string Date, string Test, string Path, IReadOnlyList<string> Ports, int Burst,
    double TrialSeconds, double LossPercent, IReadOnlyList<FrameResult> Frames, int GcCollections, long PoolLeaks)
{
    /// <summary>Every counter of every port at the end, over all that was sent.</summary>
    public IReadOnlyDictionary<string, IReadOnlyDictionary<string, ulong>> Counters { get; init; } =
        new Dictionary<string, IReadOnlyDictionary<string, ulong>>();

    /// <summary>Writes it as JSON.</summary>
    public void Save(string path) =>
        File.WriteAllText(path, JsonSerializer.Serialize(this, ResultsJson.Default.ThroughputReport) + "\n");
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(ThroughputReport))]
internal sealed partial class ResultsJson : JsonSerializerContext;
