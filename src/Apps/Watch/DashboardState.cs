using System.Diagnostics;
using System.Text.Json;

namespace Dataplane.Apps.Watch;

/// <summary>Everything the page shows, as JSON: totals, from which the page makes rates.</summary>
internal static class DashboardState
{
    /// <summary>Reads it all now.</summary>
    public static byte[] Write(Eal eal, IWatched watched)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("app", watched.App);
            json.WriteString("mode", watched.Mode);
            json.WriteString("version", Eal.VersionText);
            json.WriteNumber("pid", Environment.ProcessId);
            json.WriteNumber("seconds", Stopwatch.GetTimestamp() / (double)Stopwatch.Frequency);
            json.WriteNumber("gcPauseMs", Eal.GcPauseTotal.TotalMilliseconds);
            WritePorts(json, watched.Ports);
            WriteLcores(json, eal);
            WriteLevels(json, eal.Memory);
            WriteStreams(json, watched.Streams);
            WriteDrops(json, watched);
            WriteLatency(json, watched.Latency);
            json.WriteEndObject();
        }
        return buffer.ToArray();
    }

    private static void WritePorts(Utf8JsonWriter json, IReadOnlyList<Port> ports)
    {
        json.WriteStartArray("ports");
        foreach (Port port in ports)
            lock (port.Gate)
                if (port.State != PortState.Closed)
                    WritePort(json, port);
        json.WriteEndArray();
    }

    private static void WritePort(Utf8JsonWriter json, Port port)
    {
        PortStats stats = port.GetStats();
        LinkStatus link = port.GetLink();
        json.WriteStartObject();
        json.WriteNumber("id", port.Id);
        json.WriteString("name", port.Name);
        json.WriteString("driver", port.Info.DriverName);
        json.WriteString("mac", port.MacAddress.ToString());
        json.WriteString("link", link.ToString());
        json.WriteBoolean("up", link.Up);
        json.WriteNumber("rxPackets", stats.RxPackets);
        json.WriteNumber("txPackets", stats.TxPackets);
        json.WriteNumber("rxBytes", stats.RxBytes);
        json.WriteNumber("txBytes", stats.TxBytes);
        json.WriteStartArray("rxQueues");
        for (int i = 0; i < port.RxQueues.Count; i++)
            WriteQueue(json, port.ReadRxStats(i));
        json.WriteEndArray();
        json.WriteStartArray("txQueues");
        for (int i = 0; i < port.TxQueues.Count; i++)
            WriteQueue(json, port.ReadTxStats(i));
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteQueue(Utf8JsonWriter json, QueueStats stats)
    {
        json.WriteStartObject();
        json.WriteNumber("packets", stats.Packets);
        json.WriteNumber("bytes", stats.Bytes);
        json.WriteEndObject();
    }

    private static void WriteLcores(Utf8JsonWriter json, Eal eal)
    {
        json.WriteStartArray("lcores");
        foreach (Lcore lcore in eal.Lcores)
        {
            LcoreUsage usage = lcore.Usage;
            json.WriteStartObject();
            json.WriteNumber("id", lcore.Id);
            json.WriteString("cpus", lcore.Cpus.ToString());
            json.WriteString("role", lcore.Role.ToString());
            json.WriteNumber("busy", usage.BusyCycles);
            json.WriteNumber("idle", usage.IdleCycles);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private static void WriteLevels(Utf8JsonWriter json, Memory memory)
    {
        json.WriteStartArray("pools");
        foreach ((string name, uint size, uint available) in memory.ReadZones(zones =>
            MempoolTelemetry.PoolsOf(zones).Select(MempoolTelemetry.LevelOf).ToArray()))
            WriteLevel(json, name, size, size - available);
        json.WriteEndArray();
        json.WriteStartArray("rings");
        foreach ((string name, uint capacity, uint used) in memory.ReadZones(zones =>
            RingTelemetry.RingsOf(zones).Select(RingTelemetry.LevelOf).ToArray()))
            WriteLevel(json, name, capacity, used);
        json.WriteEndArray();
    }

    private static void WriteLevel(Utf8JsonWriter json, string name, uint size, uint used)
    {
        json.WriteStartObject();
        json.WriteString("name", name);
        json.WriteNumber("size", size);
        json.WriteNumber("used", used);
        json.WriteEndObject();
    }

    private static void WriteStreams(Utf8JsonWriter json, IReadOnlyList<WatchedStream> streams)
    {
        json.WriteStartArray("streams");
        foreach (WatchedStream stream in streams)
        {
            json.WriteStartObject();
            json.WriteNumber("lcore", stream.Lcore);
            json.WriteString("from", stream.From);
            json.WriteNumber("fromQueue", stream.FromQueue);
            json.WriteString("to", stream.To);
            json.WriteNumber("toQueue", stream.ToQueue);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private static void WriteDrops(Utf8JsonWriter json, IWatched watched)
    {
        PortStats all = default;
        foreach (Port port in watched.Ports)
            lock (port.Gate)
            {
                if (port.State == PortState.Closed)
                    continue;
                PortStats one = port.GetStats();
                all = all with
                {
                    RxMissed = all.RxMissed + one.RxMissed, RxErrors = all.RxErrors + one.RxErrors,
                    TxErrors = all.TxErrors + one.TxErrors, RxNoMbuf = all.RxNoMbuf + one.RxNoMbuf,
                };
            }
        json.WriteStartObject("drops");
        json.WriteNumber("receive: nobody polled in time", all.RxMissed);
        json.WriteNumber("receive: bad packet", all.RxErrors);
        json.WriteNumber("receive: no mbuf", all.RxNoMbuf);
        json.WriteNumber("transmit: refused", all.TxErrors);
        foreach (WatchedDrop drop in watched.Drops)
            json.WriteNumber(drop.Reason, drop.Packets);
        json.WriteEndObject();
    }

    private static void WriteLatency(Utf8JsonWriter json, LatencyReport? latency)
    {
        if (latency == null)
            return;
        json.WriteStartObject("latency");
        json.WriteNumber("samples", latency.Samples);
        json.WriteNumber("min", latency.Min);
        json.WriteNumber("mean", latency.Average);
        json.WriteNumber("max", latency.Max);
        json.WriteNumber("jitter", latency.Jitter);
        json.WriteNumber("p50", latency.P50);
        json.WriteNumber("p99", latency.P99);
        json.WriteEndObject();
    }
}
