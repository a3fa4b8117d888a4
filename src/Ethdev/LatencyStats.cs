using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// How long packets stay in this process: from the burst that received them to the burst that offers them to a
/// transmit queue. Made of queue callbacks: ports that are not measured pay nothing for it. As DPDK's latencystats.
/// </summary>
/// <remarks>
/// Each packet carries the TSC of its receipt in the dynamic mbuf field <see cref="FieldName"/>. One that is offered
/// twice, because the queue was full, is counted the first time. What is made here and not received is not counted.
/// </remarks>
public sealed class LatencyStats : IDisposable
{
    /// <summary>The dynamic field's and the flag's name.</summary>
    public const string FieldName = "dataplane_latency_stamp";

    private readonly List<(RxQueue Queue, RxCallback Callback)> _receivers = [];
    private readonly List<(TxQueue Queue, Meter Meter)> _senders = [];
    private readonly LatencyTelemetry? _told;

    /// <summary>Starts measuring between all queues of started ports. Control path.</summary>
    /// <param name="memory">The environment's.</param>
    /// <param name="ports">Packets received by any are measured when they are sent by any.</param>
    /// <exception cref="ConfigException">No room for the field in mbufs.</exception>
    public LatencyStats(Memory memory, IReadOnlyList<Port> ports)
    {
        MbufField<ulong> field = MbufDynamic.RegisterField<ulong>(memory, FieldName);
        MbufFlags flag = MbufDynamic.RegisterFlag(memory, FieldName);
        for (int i = 0; i < ports.Count; i++)
        {
            for (int queue = 0; queue < ports[i].RxQueues.Count; queue++)
            {
                var stamper = new Stamper(field, flag);
                ports[i].RxQueues[queue].AddCallback(stamper, first: true);
                _receivers.Add((ports[i].RxQueues[queue], stamper));
            }
            for (int queue = 0; queue < ports[i].TxQueues.Count; queue++)
            {
                var meter = new Meter(field, flag);
                ports[i].TxQueues[queue].AddCallback(meter);
                _senders.Add((ports[i].TxQueues[queue], meter));
            }
        }
        if (memory.Telemetry is { } telemetry)
            _told = new LatencyTelemetry(telemetry, this, ports);
    }

    /// <summary>What was measured at the transmit queues of a port. Any thread.</summary>
    /// <param name="port">Null: all of them.</param>
    public LatencyReport Read(Port? port = null)
    {
        var all = new LatencyHistogram();
        ulong sum = 0;
        double jitter = 0;
        int counting = 0;
        for (int i = 0; i < _senders.Count; i++)
        {
            if (port != null && _senders[i].Queue.Port != port)
                continue;
            Meter meter = _senders[i].Meter;
            all.Merge(meter.Histogram);
            sum += Volatile.Read(ref meter.Sum);
            if (meter.Histogram.Count == 0)
                continue;
            jitter += Volatile.Read(ref meter.Jitter);
            counting++;
        }
        return LatencyReport.Of(all, sum, counting == 0 ? 0 : jitter / counting);
    }

    /// <summary>Stops measuring. The last report stays.</summary>
    public void Dispose()
    {
        _told?.Dispose();
        for (int i = 0; i < _receivers.Count; i++)
            _receivers[i].Queue.RemoveCallback(_receivers[i].Callback);
        for (int i = 0; i < _senders.Count; i++)
            _senders[i].Queue.RemoveCallback(_senders[i].Meter);
    }

    private sealed class Stamper(MbufField<ulong> field, MbufFlags flag) : RxCallback
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public override int OnReceived(RxQueue queue, Span<Mbuf> burst, int received)
        {
            ulong now = Tsc.Read();
            for (int i = 0; i < received; i++)
            {
                field.Of(burst[i]) = now;
                burst[i].Flags |= flag;
            }
            return received;
        }
    }

    private sealed class Meter(MbufField<ulong> field, MbufFlags flag) : TxCallback
    {
        private ulong _last;

        internal LatencyHistogram Histogram { get; } = new();

        /// <summary>Cycles of all packets, and the mean difference of neighbours by RFC 3550 §6.4.1.</summary>
        internal ulong Sum;
        internal double Jitter;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public override void OnOffered(TxQueue queue, ReadOnlySpan<Mbuf> packets)
        {
            ulong now = Tsc.Read();
            for (int i = 0; i < packets.Length; i++)
            {
                Mbuf packet = packets[i];
                if ((packet.Flags & flag) == 0)
                    continue;
                packet.Flags &= ~flag;
                ulong stamp = field.Of(packet);
                ulong cycles = now > stamp ? now - stamp : 0;   // two CPUs' counters may differ by a few
                if (Histogram.Count > 0)
                    Jitter += (Math.Abs((double)cycles - _last) - Jitter) / 16;
                _last = cycles;
                Sum += cycles;
                Histogram.Add(cycles);
            }
        }
    }
}
