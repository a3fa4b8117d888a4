using Dataplane.Apps.Watch;

namespace Dataplane.Apps.Forward;

/// <summary>What the dashboard and the meter show of a run; and the command <c>/forward/streams</c>.</summary>
internal sealed class ForwardWatch : IWatched
{
    private readonly IReadOnlyList<ForwardLcore> _work;
    private readonly LatencyStats? _latency;

    public ForwardWatch(Eal eal, ForwardOptions options, IReadOnlyList<Port> ports, IReadOnlyList<ForwardLcore> work,
        LatencyStats? latency)
    {
        (Mode, Ports, _work, _latency) = (options.Mode, ports, work, latency);
        Streams = [.. work.SelectMany(one => one.Streams.Select(stream => new WatchedStream(one.LcoreId,
            stream.Rx.Port.Name, stream.Rx.Index, stream.Tx.Port.Name, stream.Tx.Index)))];
        eal.Telemetry.Register("/forward/streams", (_, _) => Tell(),
            "Returns where packets of each stream went, its cycles and bursts. Takes no parameters");
    }

    public string App => "Forward";

    public string Mode { get; }

    public IReadOnlyList<Port> Ports { get; }

    public IReadOnlyList<WatchedStream> Streams { get; }

    public IReadOnlyList<WatchedDrop> Drops
    {
        get
        {
            StreamCounters all = Sampler.Sum([.. _work.SelectMany(one => one.Streams).Select(stream =>
                stream.Counters)]);
            return
            [
                new("forward: transmit queue full", all.DroppedTxFull), new("forward: ended here", all.Consumed),
                new("forward: no mbuf to make one", all.NoMbuf),
                new("forward: bad checksum (sent on)", all.BadChecksum),
            ];
        }
    }

    public LatencyReport? Latency => _latency?.Read();

    private TelemetryArray Tell()
    {
        var told = new TelemetryArray();
        foreach (ForwardLcore one in _work)
            foreach (ForwardStream stream in one.Streams)
                told.Add(Tell(one.LcoreId, stream));
        return told;
    }

    private static TelemetryDict Tell(int lcore, ForwardStream stream)
    {
        StreamCounters counters = stream.Counters;
        var told = new TelemetryDict
        {
            { "lcore", lcore }, { "rx_port", stream.Rx.Port.Id }, { "rx_queue", stream.Rx.Index },
            { "tx_port", stream.Tx.Port.Id }, { "tx_queue", stream.Tx.Index }, { "received", counters.Received },
            { "generated", counters.Generated }, { "sent", counters.Sent }, { "tx_full", counters.DroppedTxFull },
            { "consumed", counters.Consumed }, { "no_mbuf", counters.NoMbuf }, { "bad_checksum", counters.BadChecksum },
        };
        if (stream.Record?.Report() is { } record)
        {
            told.Add("rx_cycles", record.ReceiveCycles);
            told.Add("mode_cycles", record.ModeCycles);
            told.Add("tx_cycles", record.SendCycles);
            told.Add("rx_bursts", Tell(record.ReceivedBursts));
            told.Add("tx_bursts", Tell(record.SentBursts));
        }
        return told;
    }

    private static TelemetryDict Tell(IReadOnlyList<BurstSize> sizes)
    {
        var told = new TelemetryDict();
        foreach (BurstSize size in sizes)
            told.Add(size.Packets.ToString(System.Globalization.CultureInfo.InvariantCulture), size.Count);
        return told;
    }
}
