using Dataplane.Native;

namespace Dataplane.Perf.Compare;

/// <summary>
/// Forward with a capture that looks at every packet as it comes and as it goes and takes none, against the same
/// process without: both sides are ours. Between null ports, where forwarding costs five cycles and the two looks are
/// all there is to see, and over a kernel's interface, where a packet costs what it does in practice.
/// </summary>
internal sealed class CaptureComparison(string label, bool onVeth) : IComparison
{
    private double _alone;

    public IReadOnlyList<Row> Rows { get; } = [new(label, "cycles/packet", true, 0.99, 1)];

    public string? Missing => onVeth && Environment.UserName != "root" ? "root, to make a veth pair" : null;

    public double[] Ours()
    {
        using VethPair? pair = onVeth ? new VethPair() : null;
        using WatchedForward forward = onVeth ? new([$"net_af_packet0,iface={VethPair.Near}"], "--forward-mode",
            "txonly", "--port-topology", "loop") : new(["net_null0", "net_null1"], "--burst", "32", "--mbcache", "250");
        (double attached, _alone) = forward.Measure(() => new Attached(forward.Prefix));
        return [attached];
    }

    public double[] Theirs() => [_alone];

    /// <summary>A capture of all ports, both ways.</summary>
    internal sealed class Attached : IDisposable
    {
        private readonly ControlConnection _connection;
        private readonly CaptureReader _reader;

        /// <summary>Returns when packets go by it.</summary>
        public Attached(string prefix)
        {
            // ip[9] of an IPv4 packet is 255, which none is
            sock_filter[] none =
            [
                new() { code = Filter.BPF_LD | Filter.BPF_H | Filter.BPF_ABS, k = 12 },
                new() { code = Filter.BPF_JMP | Filter.BPF_JEQ | Filter.BPF_K, k = 0x800, jf = 3 },
                new() { code = Filter.BPF_LD | Filter.BPF_B | Filter.BPF_ABS, k = 23 },
                new() { code = Filter.BPF_JMP | Filter.BPF_JEQ | Filter.BPF_K, k = 255, jf = 1 },
                new() { code = Filter.BPF_RET | Filter.BPF_K, k = 96 },
                new() { code = Filter.BPF_RET | Filter.BPF_K },
            ];
            _connection = ControlConnection.Find(prefix, null);
            _reader = CaptureReader.Attach(_connection, new CaptureRequest
            {
                Port = CaptureRequest.All, Queue = CaptureRequest.All, SnapLength = 96,
                Direction = CaptureDirection.Receive | CaptureDirection.Transmit, RingBytes = 1 << 20,
            }, none);
            WaitUntilSeen();
        }

        public void Dispose()
        {
            ulong seen = Seen();
            _connection.Dispose();
            // The application takes its taps away when it hears of that.
            for (ulong before = seen; (seen = Seen()) != before; before = seen)
                Thread.Sleep(5);
            _reader.Dispose();
        }

        private void WaitUntilSeen()
        {
            while (Seen() == 0)
                if (_connection.IsGone())
                    throw new DataplaneException("nothing went by the capture");
                else
                    Thread.Yield();
        }

        private ulong Seen() => Enumerable.Range(0, _reader.Rings.Count).Aggregate(0ul, (sum, ring) =>
            sum + _reader.Counts(ring).Seen);
    }
}

/// <summary>Forward between null ports after a capture came and went, which must leave nothing, against the same
/// process before it.</summary>
internal sealed class CaptureGoneComparison : IComparison
{
    private double _never;

    public IReadOnlyList<Row> Rows { get; } =
        [new("null to null io, capture gone again : never there", "cycles/packet", true, 0.99, 1)];

    public string? Missing => null;

    public double[] Ours()
    {
        using WatchedForward forward = new(["net_null0", "net_null1"], "--burst", "32", "--mbcache", "250");
        (double gone, _never) = forward.Measure(() => new CaptureComparison.Attached(forward.Prefix).Dispose());
        return [gone];
    }

    public double[] Theirs() => [_never];
}
