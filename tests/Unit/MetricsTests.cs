using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Diagnostics.Tracing;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>The meter, by the ways its listeners read it.</summary>
public sealed class MetricsTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions
    {
        NoHuge = true, NoPci = true, NoTelemetry = true, Lcores = [new(0, Affinity.Get())], Vdevs = ["net_null0"],
    });

    public void Dispose() => _eal.Dispose();

    [Fact]
    public void Instruments_AreObservableAndTellTheCounters()
    {
        using Mempool pool = Mempool.CreateMbufPool(_eal.Memory, $"m{_eal.GetHashCode()}", 511, cacheSize: 0);
        using Ring<long> ring = Ring<long>.Create(_eal.Memory, $"r{_eal.GetHashCode()}", 64);
        using PortList ports = PortList.Probe(_eal, Drivers.All);
        Port port = ports.Ports[0];
        port.Start(new PortConfig(), pool);
        var burst = new Mbuf[32];
        Assert.Equal(32, port.RxQueues[0].RxBurst(burst));
        Assert.Equal(16, port.TxQueues[0].TxBurst(burst.AsSpan(0, 16)));
        Assert.True(ring.TryEnqueue(1));
        var seen = new Dictionary<string, List<double>>();
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, it) =>
        {
            if (instrument.Meter.Name != Telemetry.MeterName)
                return;
            Assert.True(instrument.IsObservable, instrument.Name);
            it.EnableMeasurementEvents(instrument);
        };
        void Take<T>(Instrument instrument, T value, ReadOnlySpan<KeyValuePair<string, object?>> tags, object? state)
            where T : struct
        {
            string name = instrument.Name + ":" + string.Join(',', tags.ToArray().Select(tag => tag.Value));
            if (!seen.TryGetValue(name, out List<double>? values))
                seen[name] = values = [];
            values.Add(Convert.ToDouble(value));
        }
        listener.SetMeasurementEventCallback<long>(Take);
        listener.SetMeasurementEventCallback<double>(Take);
        listener.Start();
        listener.RecordObservableInstruments();
        // Other tests' environments publish beside this one, with ports of the same name.
        Assert.Contains(32, seen["dataplane.port.packets:net_null0,rx"]);
        Assert.Contains(16, seen["dataplane.port.packets:net_null0,tx"]);
        Assert.Contains(32 * 64, seen["dataplane.port.bytes:net_null0,rx"]);
        Assert.Contains(32, seen["dataplane.queue.packets:net_null0,rx,0"]);
        Assert.Contains(1, seen["dataplane.queue.calls:net_null0,tx,0"]);
        Assert.Contains(0, seen["dataplane.port.drops:net_null0,rx,missed"]);
        Assert.Contains(1, seen["dataplane.port.link:net_null0"]);
        Assert.Equal([16], seen[$"dataplane.mempool.objects:{pool.Name},used"]);
        Assert.Equal([1], seen[$"dataplane.ring.elements:{ring.Name},used"]);
        Assert.Contains("dataplane.gc.pause:", seen.Keys);
        Assert.Contains("dataplane.heap.bytes:0,busy", seen.Keys);
        Assert.Contains("dataplane.lcore.cycles:0,busy", seen.Keys);
        Mbuf.FreeBulk(burst.AsSpan(16));
        ports.Dispose();
        seen.Clear();
        listener.RecordObservableInstruments();
        Assert.Equal([0], seen[$"dataplane.mempool.objects:{pool.Name},used"]);
    }

    /// <summary>What dotnet-counters does over the diagnostics port, done in the process.</summary>
    [Fact]
    public void Instruments_AreSeenByTheRuntimesEventSource()
    {
        using PortList ports = PortList.Probe(_eal, Drivers.All);
        using var listener = new CounterListener();
        Assert.True(SpinWait.SpinUntil(() => listener.Seen.ContainsKey("dataplane.lcore.cycles")
            && listener.Seen.ContainsKey("dataplane.port.packets"), TimeSpan.FromSeconds(60)),
            string.Join(' ', listener.Seen.Keys));
    }

    private sealed class CounterListener : EventListener
    {
        internal ConcurrentDictionary<string, string> Seen { get; } = new();

        protected override void OnEventSourceCreated(EventSource source)
        {
            if (source.Name == "System.Diagnostics.Metrics")
                EnableEvents(source, EventLevel.Informational, (EventKeywords)2, new Dictionary<string, string?>
                {
                    ["SessionId"] = "unit", ["Metrics"] = Telemetry.MeterName, ["RefreshInterval"] = "0.2",
                    ["MaxTimeSeries"] = "1000", ["MaxHistograms"] = "10",
                });
        }

        protected override void OnEventWritten(EventWrittenEventArgs data)
        {
            if (data.EventName!.EndsWith("ValuePublished", StringComparison.Ordinal)
                && data.Payload?[1] as string == Telemetry.MeterName)
                Seen[(string)data.Payload[3]!] = data.EventName;
        }
    }
}
