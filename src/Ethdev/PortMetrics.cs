using System.Diagnostics.Metrics;

namespace Dataplane;

/// <summary>Ports and queues on the meter.</summary>
internal sealed class PortMetrics : IDisposable
{
    private readonly Func<Port[]> _ports;
    private readonly Meter _meter = new(Telemetry.MeterName, Eal.VersionText);

    /// <summary>Makes the instruments.</summary>
    /// <param name="ports">The ports there are now; any thread.</param>
    internal PortMetrics(Func<Port[]> ports)
    {
        _ports = ports;
        const string packet = "{packet}";
        _meter.CreateObservableCounter("dataplane.port.packets", () => Ports(stats => stats.RxPackets,
            stats => stats.TxPackets), packet, "Packets given to the application, or sent");
        _meter.CreateObservableCounter("dataplane.port.bytes", () => Ports(stats => stats.RxBytes,
            stats => stats.TxBytes), "By", "Their bytes, without frame check sequence");
        _meter.CreateObservableCounter("dataplane.port.drops", Drops, packet, "Packets lost at the port, by reason");
        _meter.CreateObservableUpDownCounter("dataplane.port.link", Links, "1", "1: the link is up");
        _meter.CreateObservableCounter("dataplane.queue.packets", () => Queues(stats => stats.Packets), packet,
            "Packets given to the application by the queue, or taken by it");
        _meter.CreateObservableCounter("dataplane.queue.bytes", () => Queues(stats => stats.Bytes), "By",
            "Their bytes");
        _meter.CreateObservableCounter("dataplane.queue.calls", () => Queues(stats => stats.Calls), "{call}",
            "Calls of the burst function");
    }

    /// <summary>Takes the instruments away.</summary>
    public void Dispose() => _meter.Dispose();

    private List<Measurement<long>> Ports(Func<PortStats, ulong> rx, Func<PortStats, ulong> tx) => Each((port, all) =>
    {
        PortStats stats = port.GetStats();
        all.Add(new((long)rx(stats), new("port", port.Name), new("direction", "rx")));
        all.Add(new((long)tx(stats), new("port", port.Name), new("direction", "tx")));
    });

    private List<Measurement<long>> Drops() => Each((port, all) =>
    {
        PortStats stats = port.GetStats();
        foreach ((string direction, string reason, ulong count) in ((string, string, ulong)[])[
            ("rx", "missed", stats.RxMissed), ("rx", "errors", stats.RxErrors), ("rx", "no_mbuf", stats.RxNoMbuf),
            ("tx", "errors", stats.TxErrors)])
            all.Add(new((long)count, new("port", port.Name), new("direction", direction), new("reason", reason)));
    });

    private List<Measurement<long>> Links() => Each((port, all) =>
        all.Add(new(port.GetLink().Up ? 1 : 0, new KeyValuePair<string, object?>("port", port.Name))));

    private List<Measurement<long>> Queues(Func<QueueStats, ulong> value) => Each((port, all) =>
    {
        for (int i = 0; i < port.RxQueues.Count; i++)
            all.Add(new((long)value(port.ReadRxStats(i)), new("port", port.Name), new("direction", "rx"),
                new("queue", i)));
        for (int i = 0; i < port.TxQueues.Count; i++)
            all.Add(new((long)value(port.ReadTxStats(i)), new("port", port.Name), new("direction", "tx"),
                new("queue", i)));
    });

    private List<Measurement<long>> Each(Action<Port, List<Measurement<long>>> add)
    {
        var all = new List<Measurement<long>>();
        foreach (Port port in _ports())
            lock (port.Gate)
                if (port.State != PortState.Closed)
                    add(port, all);
        return all;
    }
}
