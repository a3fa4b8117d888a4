using System.Text.Json;
using System.Text.Json.Serialization;

namespace Dataplane.Apps.Forward;

/// <summary>One port's counters since the start.</summary>
internal sealed record PortReport(string Name, string Driver, long RxPackets, long RxBytes, long TxPackets,
    long TxBytes, long RxMissed, long RxErrors, long RxNoMbuf, long TxErrors);

/// <summary>One lcore's share.</summary>
internal sealed record LcoreReport(int Lcore, string Cpus, long Packets, double BusyPercent, double CyclesPerPacket,
    long AllocatedBytes, long Sleeps, IReadOnlyList<StreamReport> Streams);

/// <summary>What came in by one receive queue, and where it went.</summary>
internal sealed record StreamReport(string RxPort, int Queue, string TxPort, long Received, long Generated, long Sent,
    long DroppedTxFull, long Consumed, StreamRecordReport? Record = null);

/// <summary>Where every packet the streams handled went.</summary>
internal sealed record PacketReport(long Received, long Generated, long Sent, long DroppedTxFull, long Consumed,
    long BadChecksum, long NoMbuf, long Unaccounted);

/// <summary>The whole run.</summary>
internal sealed record ForwardReport(string Mode, int Burst, double Seconds, IReadOnlyList<PortReport> Ports,
    IReadOnlyList<LcoreReport> Lcores, PacketReport Packets, int GcCollections, double GcPauseMs, long PoolLeaks,
    DemoReport? Demo, LatencyReport? Latency = null)
{
    /// <summary>True when every packet that came in or was made is known to have gone somewhere.</summary>
    public bool Accounted => Packets.Unaccounted == 0 && PoolLeaks == 0
        && Demo is null or { Lost: 0, OutOfOrder: 0, Corrupted: 0 };

    /// <summary>Writes it as JSON.</summary>
    public void Save(string path)
    {
        try
        {
            File.WriteAllText(path, JsonSerializer.Serialize(this, ReportJson.Default.ForwardReport) + "\n");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigException($"--json {path}", why: e.Message);
        }
    }
}

/// <summary>What the demo's far ends saw.</summary>
internal sealed record DemoReport(long Generated, long Checked, long Lost, long OutOfOrder, long Corrupted);

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(ForwardReport))]
internal sealed partial class ReportJson : JsonSerializerContext;
