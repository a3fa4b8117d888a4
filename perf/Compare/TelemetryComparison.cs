using System.Net.Sockets;
using System.Text;

namespace Dataplane.Perf.Compare;

/// <summary>
/// What it costs the lcore to be watched, Forward between two null ports, both sides ours: its telemetry read twenty
/// times a second, now and then in one process; and processes in turn with telemetry, read like that, and without.
/// </summary>
internal sealed class TelemetryComparison(bool oneProcess) : IComparison
{
    private static readonly string[] s_questions =
        ["/ethdev/xstats,0", "/ethdev/xstats,1", "/eal/lcore/usage", "/mempool/list", "/forward/streams"];

    private double _alone;

    public IReadOnlyList<Row> Rows { get; } = [new(oneProcess ? "null to null io, telemetry read : not read"
        : "null to null io, telemetry on : off", "cycles/packet", true, 0.99, 1)];

    public string? Missing => null;

    public double[] Ours()
    {
        double watched;
        if (oneProcess)
        {
            using WatchedForward forward = new(["net_null0", "net_null1"], "--burst", "32", "--mbcache", "250");
            (watched, _alone) = forward.Measure(() => new Reader(forward.Path));
        }
        else
            (watched, _alone) = ShortRuns.Measure(on => on ? [] : ["--no-telemetry"], (prefix, stop) =>
            {
                using var reader = new Reader(TelemetrySocket.RuntimeDirectory(prefix) + "/dpdk_telemetry.v2");
                stop.WaitHandle.WaitOne();
            });
        return [watched];
    }

    public double[] Theirs() => [_alone];

    /// <summary>Asks twenty times a second, from its making to its end.</summary>
    private sealed class Reader : IDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly Task<int> _task;

        public Reader(string path) => _task = Task.Run(() => Read(path, _stop.Token));

        public void Dispose()
        {
            _stop.Cancel();
            if (_task.Result == 0)
                throw new DataplaneException("nobody answered the telemetry's reader");
            _stop.Dispose();
        }

        private static int Read(string path, CancellationToken stop)
        {
            int answers = 0;
            byte[] buffer = new byte[16384];
            while (!stop.WaitHandle.WaitOne(50))
            {
                using var client = new Socket(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
                try
                {
                    client.Connect(new UnixDomainSocketEndPoint(path));
                    client.Receive(buffer);
                    foreach (string question in s_questions)
                    {
                        client.Send(Encoding.ASCII.GetBytes(question));
                        if (client.Receive(buffer) > 0)
                            answers++;
                    }
                }
                catch (SocketException)
                {
                    // not there yet, or no more
                }
            }
            return answers;
        }
    }
}
