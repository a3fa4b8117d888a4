using Dataplane.Native;

namespace Dataplane.Perf.Compare;

/// <summary>
/// Forward between two null ports with a capture, against the same without: both sides are ours. Once with a capture
/// that came and went at the start, which must leave nothing, and once with one that looks at every packet twice, as it
/// comes and as it goes, and takes none: some ten cycles each time, of the five that forwarding costs here.
/// </summary>
internal sealed class CaptureComparison(bool stays) : IComparison
{
    private const double Seconds = 3;
    private static readonly string[] s_vdevs = ["net_null0", "net_null1"];

    public IReadOnlyList<Row> Rows { get; } = [new(stays ? "null to null io, capture attached : detached"
        : "null to null io, capture gone again : never there", "cycles/packet", true, 0.99, 1)];

    public string? Missing => null;

    public double[] Theirs() => [Cycles("compare-never")];

    public double[] Ours()
    {
        string prefix = $"compare-{Environment.ProcessId}";
        using var stop = new CancellationTokenSource();
        Task<ulong> reader = Task.Run(() => Capture(prefix, stop.Token));
        double cycles = Cycles(prefix);
        stop.Cancel();
        return reader.Result > 0 ? [cycles] : throw new DataplaneException("nothing went by the capture");
    }

    private static double Cycles(string prefix) => Applications.Forward("1", s_vdevs, ["--burst", "32", "--mbcache",
        "250"], Seconds, "--telemetry", "--file-prefix", prefix).RootElement.GetProperty("lcores")[0]
        .GetProperty("cyclesPerPacket").GetDouble();

    /// <summary>Attaches as soon as the application is there.</summary>
    /// <returns>Packets that it saw.</returns>
    private ulong Capture(string prefix, CancellationToken stop)
    {
        // ip[9] of an IPv4 packet is 255, which none is
        sock_filter[] none =
        [
            new() { code = Filter.BPF_LD | Filter.BPF_H | Filter.BPF_ABS, k = 12 },
            new() { code = Filter.BPF_JMP | Filter.BPF_JEQ | Filter.BPF_K, k = 0x800, jf = 3 },
            new() { code = Filter.BPF_LD | Filter.BPF_B | Filter.BPF_ABS, k = 23 },
            new() { code = Filter.BPF_JMP | Filter.BPF_JEQ | Filter.BPF_K, k = 255, jf = 1 },
            new() { code = Filter.BPF_RET | Filter.BPF_K, k = 96 }, new() { code = Filter.BPF_RET | Filter.BPF_K },
        ];
        while (!stop.WaitHandle.WaitOne(20))
        {
            try
            {
                using var connection = ControlConnection.Find(prefix, null);
                using CaptureReader reader = CaptureReader.Attach(connection, new CaptureRequest
                {
                    Port = CaptureRequest.All, Queue = CaptureRequest.All, SnapLength = 96,
                    Direction = CaptureDirection.Receive | CaptureDirection.Transmit, RingBytes = 1 << 20,
                }, none);
                while (reader.Counts(0).Seen == 0 && !stop.IsCancellationRequested)
                    Thread.Yield();
                if (stays)
                    stop.WaitHandle.WaitOne();
                return reader.Counts(0).Seen;
            }
            catch (DataplaneException)
            {
                // not there yet
            }
        }
        return 0;
    }
}
