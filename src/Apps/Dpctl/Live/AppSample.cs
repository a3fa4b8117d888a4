using System.Diagnostics;
using System.Text.Json;

namespace Dataplane.Dpctl;

/// <summary>What a running application tells of itself at one moment.</summary>
internal sealed record AppSample(double Seconds, IReadOnlyList<PortSample> Ports, IReadOnlyList<LcoreSample> Lcores,
    IReadOnlyList<LevelSample> Pools, IReadOnlyList<LevelSample> Rings, IReadOnlyDictionary<string, ulong> Drops);

/// <summary>A port's counters, all since its start.</summary>
internal sealed record PortSample(uint Id, string Name, bool Up, ulong RxPackets, ulong RxBytes, ulong TxPackets,
    ulong TxBytes, ulong RxMissed, ulong RxErrors, ulong RxNoMbuf, ulong TxErrors, IReadOnlyList<QueueSample> Queues);

/// <summary>A queue's counters; <see cref="Name"/> is <c>rx0</c>, <c>tx3</c>.</summary>
internal sealed record QueueSample(string Name, ulong Packets, ulong Bytes, ulong Lost, ulong Calls);

/// <summary>An lcore's cycles in loops, and the packets of the streams it polls where the application tells.</summary>
internal sealed record LcoreSample(long Id, ulong TotalCycles, ulong BusyCycles, ulong? Packets);

/// <summary>A pool's or a ring's level.</summary>
internal sealed record LevelSample(string Name, ulong Size, ulong Used);

/// <summary>Asks for samples. What an application does not have (DPDK's have other counters of queues) is left
/// out.</summary>
internal sealed class AppSampler(TelemetryClient client)
{
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly Dictionary<uint, string> _names = [];

    /// <summary>Everything now.</summary>
    /// <exception cref="TelemetryEndedException">The application has ended.</exception>
    internal AppSample Read()
    {
        PortSample[] ports = [.. client.Ask("/ethdev/list").Numbers().Select(id => Port((uint)id))
            .OfType<PortSample>()];
        return new(_clock.Elapsed.TotalSeconds, ports, Lcores(), Levels("/mempool", "size", info => info.Number("size")
            - Math.Min(info.Number("size"), info.Number("common_pool_count") + info.Number("total_cache_count"))),
            Levels("/ring", "capacity", info => info.Number("used_count")), Drops(ports));
    }

    private PortSample? Port(uint id)
    {
        JsonElement? stats = client.Ask($"/ethdev/stats,{id}");
        if (stats == null)
            return null;    // closed meanwhile
        if (!_names.TryGetValue(id, out string? name))
            _names[id] = name = client.Ask($"/ethdev/info,{id}").Text("name") ?? $"port {id}";
        return new(id, name, client.Ask($"/ethdev/link_status,{id}").Text("status") == "UP", stats.Number("ipackets"),
            stats.Number("ibytes"), stats.Number("opackets"), stats.Number("obytes"), stats.Number("imissed"),
            stats.Number("ierrors"), stats.Number("rx_nombuf"), stats.Number("oerrors"),
            Queues(client.Ask($"/ethdev/xstats,{id}")));
    }

    private static List<QueueSample> Queues(JsonElement? xstats)
    {
        var queues = new List<QueueSample>();
        foreach (string direction in (string[])["rx", "tx"])
            for (int i = 0; xstats is { ValueKind: JsonValueKind.Object } all
                && all.TryGetProperty($"{direction}_q{i}_packets", out _); i++)
            {
                ulong count(string what) => xstats.Number($"{direction}_q{i}_{what}");
                queues.Add(new($"{direction}{i}", count("packets"), count("bytes"),
                    count("errors") + count("missed") + count("dropped"), count("calls")));
            }
        return queues;
    }

    private LcoreSample[] Lcores()
    {
        JsonElement? usage = client.Ask("/eal/lcore/usage");
        long[] ids = usage.Numbers("lcore_ids"), total = usage.Numbers("total_cycles"),
            busy = usage.Numbers("busy_cycles");
        var packets = new Dictionary<long, ulong>();
        foreach (JsonElement? stream in client.Ask("/forward/streams").List().Select(one => (JsonElement?)one))
        {
            var lcore = (long)stream.Number("lcore");
            packets[lcore] = packets.GetValueOrDefault(lcore) + stream.Number("received") + stream.Number("generated");
        }
        return [.. ids.Take(Math.Min(total.Length, busy.Length)).Select((id, i) => new LcoreSample(id, (ulong)total[i],
            (ulong)busy[i], packets.TryGetValue(id, out ulong count) ? count : null))];
    }

    private LevelSample[] Levels(string what, string size, Func<JsonElement?, ulong> used) =>
    [
        .. client.Ask(what + "/list").Texts().Select(name =>
            (Name: name, Info: client.Ask($"{what}/info,{name}"))).Where(one => one.Info.Number(size) > 0)
            .Select(one => new LevelSample(one.Name, one.Info.Number(size), used(one.Info))),
    ];

    private Dictionary<string, ulong> Drops(PortSample[] ports)
    {
        var drops = new Dictionary<string, ulong>();
        foreach (PortSample port in ports)
            foreach ((string reason, ulong count) in ((string, ulong)[])[
                ("receive: nobody polled in time", port.RxMissed), ("receive: bad packet", port.RxErrors),
                ("receive: no mbuf", port.RxNoMbuf), ("transmit: refused", port.TxErrors)])
                drops[reason] = drops.GetValueOrDefault(reason) + count;
        if (client.Ask("/dataplane/drops") is { ValueKind: JsonValueKind.Object } own)
            foreach (JsonProperty one in own.EnumerateObject())
                drops[JsonReads.Printable(one.Name)] = ((JsonElement?)own).Number(one.Name);
        return drops;
    }
}
