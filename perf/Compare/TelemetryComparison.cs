using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace Dataplane.Perf.Compare;

/// <summary>
/// Forward between two null ports with its telemetry read twenty times a second, against the same without telemetry:
/// both sides are ours, and the ratio is what it costs the lcore to be watched.
/// </summary>
internal sealed class TelemetryComparison : IComparison
{
    private const double Seconds = 3;
    private static readonly string[] s_vdevs = ["net_null0", "net_null1"];
    private static readonly string[] s_questions =
        ["/ethdev/xstats,0", "/ethdev/xstats,1", "/eal/lcore/usage", "/mempool/list", "/forward/streams"];

    public IReadOnlyList<Row> Rows { get; } =
        [new("null to null io, telemetry on : off", "cycles/packet", true, 0.99, 1)];

    public string? Missing => null;

    public double[] Theirs() => [Cycles("--no-telemetry")];

    public double[] Ours()
    {
        string prefix = $"compare-{Environment.ProcessId}";
        using var stop = new CancellationTokenSource();
        Task<int> reader = Task.Run(() => Read(TelemetrySocket.RuntimeDirectory(prefix) + "/dpdk_telemetry.v2",
            stop.Token));
        double cycles = Cycles("--telemetry", "--file-prefix", prefix);
        stop.Cancel();
        return reader.Result > 0 ? [cycles] : throw new DataplaneException("nobody answered the telemetry's reader");
    }

    private static double Cycles(params string[] eal)
    {
        using JsonDocument report = Applications.Forward("1", s_vdevs, ["--burst", "32", "--mbcache", "250"], Seconds,
            eal);
        return report.RootElement.GetProperty("lcores")[0].GetProperty("cyclesPerPacket").GetDouble();
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
