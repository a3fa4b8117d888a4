using System.Text.Json.Nodes;

namespace Dataplane.Dpctl;

/// <summary>What <c>dpctl top</c> shows as JSON: rates of the interval, counts since the application's start. What it
/// does not tell is null.</summary>
internal static class TopJson
{
    internal static JsonObject Of(RunningApp app, AppSample before, AppSample now)
    {
        double seconds = Math.Max(now.Seconds - before.Seconds, 1e-9);
        return new JsonObject
        {
            ["app"] = app.Name, ["pid"] = app.Pid, ["version"] = app.Version, ["seconds"] = seconds,
            ["ports"] = Array(now.Ports.Select(port => Of(port,
                before.Ports.FirstOrDefault(one => one.Id == port.Id) ?? port, seconds))),
            ["lcores"] = Array(now.Lcores.Select(lcore => Of(lcore, before, seconds))),
            ["pools"] = Array(now.Pools.Select(Of)),
            ["rings"] = Array(now.Rings.Select(Of)),
            ["drops"] = Array(now.Drops.Select(drop => new JsonObject
            {
                ["reason"] = drop.Key, ["count"] = drop.Value,
                ["perSecond"] = TopText.Rate(before.Drops.GetValueOrDefault(drop.Key), drop.Value, seconds),
            })),
        };
    }

    private static JsonObject Of(PortSample now, PortSample before, double seconds) => new()
    {
        ["id"] = now.Id, ["name"] = now.Name, ["up"] = now.Up,
        ["rxPps"] = TopText.Rate(before.RxPackets, now.RxPackets, seconds),
        ["rxBitsPerSecond"] = 8 * TopText.Rate(before.RxBytes, now.RxBytes, seconds),
        ["txPps"] = TopText.Rate(before.TxPackets, now.TxPackets, seconds),
        ["txBitsPerSecond"] = 8 * TopText.Rate(before.TxBytes, now.TxBytes, seconds),
        ["rxPackets"] = now.RxPackets, ["rxBytes"] = now.RxBytes,
        ["txPackets"] = now.TxPackets, ["txBytes"] = now.TxBytes,
        ["rxMissed"] = now.RxMissed, ["rxErrors"] = now.RxErrors, ["rxNoMbuf"] = now.RxNoMbuf,
        ["txErrors"] = now.TxErrors,
        ["queues"] = Array(now.Queues.Select(queue => Of(queue,
            before.Queues.FirstOrDefault(one => one.Name == queue.Name) ?? queue, seconds))),
    };

    private static JsonObject Of(QueueSample now, QueueSample before, double seconds) => new()
    {
        ["name"] = now.Name, ["pps"] = TopText.Rate(before.Packets, now.Packets, seconds),
        ["bitsPerSecond"] = 8 * TopText.Rate(before.Bytes, now.Bytes, seconds),
        ["meanBurst"] = TopText.MeanBurst(before, now), ["lost"] = now.Lost,
    };

    private static JsonObject Of(LcoreSample lcore, AppSample before, double seconds)
    {
        (double? busy, double? cycles, double? pps) = TopText.LoadOf(before, lcore, seconds);
        return new() { ["id"] = lcore.Id, ["busyPercent"] = busy, ["cyclesPerPacket"] = cycles, ["pps"] = pps };
    }

    private static JsonObject Of(LevelSample level) =>
        new() { ["name"] = level.Name, ["used"] = level.Used, ["size"] = level.Size };

    private static JsonArray Array(IEnumerable<JsonObject> objects) => new([.. objects]);
}
