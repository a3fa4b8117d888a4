using System.Diagnostics;

namespace Dataplane.Apps.Forward;

/// <summary>What the counters say at one moment.</summary>
internal sealed record Sample(double Seconds, PortStats[] Ports, bool[] LinkUp, LcoreUsage[] Usage,
    StreamCounters[] Lcores)
{
    /// <summary>All lcores together.</summary>
    public StreamCounters Total => Sampler.Sum(Lcores);
}

/// <summary>Reads the counters of ports and lcores from outside, without disturbing them.</summary>
internal sealed class Sampler(Eal eal, PortSetup setup, IReadOnlyList<ForwardLcore> lcores)
{
    private readonly Stopwatch _clock = Stopwatch.StartNew();

    /// <summary>Seconds since the sampler was made.</summary>
    public double Seconds => _clock.Elapsed.TotalSeconds;

    public IReadOnlyList<Port> Ports => setup.Ports;

    public IReadOnlyList<ForwardLcore> Lcores => lcores;

    /// <summary>Reads all counters now.</summary>
    public Sample Read() => new(
        Seconds,
        [.. setup.Ports.Select(port => port.GetStats())],
        [.. setup.Ports.Select(port => port.GetLink().Up)],
        [.. lcores.Select(work => eal.GetLcore(work.LcoreId).Usage)],
        [.. lcores.Select(work => Sum([.. work.Streams.Select(stream => stream.Counters)]))]);

    /// <summary>The summary, once the lcores have stopped.</summary>
    public ForwardReport Report(ForwardOptions options, Sample first, Sample last, int gcCollections, TimeSpan gcPause,
        DemoReport? demo)
    {
        StreamCounters total = last.Total;
        return new ForwardReport(options.Mode, options.Burst, last.Seconds - first.Seconds,
            [.. setup.Ports.Select((port, i) => Describe(port, last.Ports[i]))],
            [.. lcores.Select((work, i) => Describe(work, last.Usage[i].Since(first.Usage[i]), last.Lcores[i]))],
            new PacketReport((long)total.Received, (long)total.Generated, (long)total.Sent, (long)total.DroppedTxFull,
                (long)total.Consumed, (long)total.BadChecksum, (long)total.NoMbuf, total.Unaccounted),
            gcCollections, gcPause.TotalMilliseconds, 0, demo);
    }

    /// <summary>Adds counters up.</summary>
    public static StreamCounters Sum(ReadOnlySpan<StreamCounters> parts)
    {
        StreamCounters sum = default;
        foreach (ref readonly StreamCounters part in parts)
        {
            sum.Received += part.Received;
            sum.Generated += part.Generated;
            sum.Sent += part.Sent;
            sum.DroppedTxFull += part.DroppedTxFull;
            sum.Consumed += part.Consumed;
            sum.Held += part.Held;
            sum.NoMbuf += part.NoMbuf;
            sum.BadChecksum += part.BadChecksum;
        }
        return sum;
    }

    private static PortReport Describe(Port port, PortStats stats) => new(port.Name, port.Info.DriverName,
        (long)stats.RxPackets, (long)stats.RxBytes, (long)stats.TxPackets, (long)stats.TxBytes,
        (long)stats.RxMissed, (long)stats.RxErrors, (long)stats.RxNoMbuf, (long)stats.TxErrors);

    private LcoreReport Describe(ForwardLcore work, LcoreUsage usage, StreamCounters counters)
    {
        ulong packets = Handled(counters);
        return new LcoreReport(work.LcoreId, eal.GetLcore(work.LcoreId).Cpus.ToString(), (long)packets,
            usage.BusyPercent,
            packets == 0 ? 0 : (double)usage.BusyCycles / packets, work.AllocatedBytes, work.SleepCount,
            [.. work.Streams.Select(Describe)]);
    }

    private static StreamReport Describe(ForwardStream stream) => new(
        stream.Rx.Port.Name, stream.Rx.Index, stream.Tx.Port.Name,
        (long)stream.Counters.Received, (long)stream.Counters.Generated, (long)stream.Counters.Sent,
        (long)stream.Counters.DroppedTxFull, (long)stream.Counters.Consumed, stream.Record?.Report());

    /// <summary>Packets an lcore had in hand.</summary>
    public static ulong Handled(StreamCounters counters) => counters.Received + counters.Generated;
}
