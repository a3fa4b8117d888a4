using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Dataplane.Perf.Compare;

/// <summary>
/// af_packet on one end of a veth pair, 64-byte frames. Transmit: how many the kernel counts in at the other end.
/// Receive: how many arrive while the same sender (Forward, txonly, on the other CPU) feeds both sides in turn.
/// </summary>
internal sealed class AfPacketComparison : IComparison
{
    private const string Near = "dpcmp0", Far = "dpcmp1";
    private const double Seconds = 3;
    private static readonly string[] s_near = [$"net_af_packet0,iface={Near}"];

    public IReadOnlyList<Row> Rows { get; } =
    [
        new("af_packet on veth, transmit", "packets/s", false, 1.0, 1.2),
        new("af_packet on veth, receive", "packets/s", false, 1.0, 1.2),
    ];

    public string? Missing => Dpdk.Find("dpdk-testpmd") == null ? "dpdk-testpmd (Debian's package dpdk)"
        : Environment.UserName != "root" ? "root, to make a veth pair" : null;

    public double[] Theirs()
    {
        using var pair = new VethPair();
        double transmit = CountAtFarEnd(() => Testpmd("txonly", Seconds + 1));
        double receive = WithSender(() =>
        {
            MatchCollection rates = Regex.Matches(Testpmd("rxonly", Seconds + 2), @"Rx-pps:\s+([0-9]+)");
            return Result.Median([.. rates.Select(m => double.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture))
                .Where(r => r > 0)]);
        });
        return [transmit, receive];
    }

    public double[] Ours()
    {
        using var pair = new VethPair();
        double transmit = CountAtFarEnd(() => Applications.Forward("1", s_near,
            ["--forward-mode", "txonly", "--port-topology", "loop"], Seconds + 1).Dispose());
        double receive = WithSender(() =>
        {
            using JsonDocument report = Applications.Forward("1", s_near, ["--forward-mode", "rxonly"], Seconds);
            JsonElement root = report.RootElement;
            return root.GetProperty("ports")[0].GetProperty("rxPackets").GetDouble() / root.GetProperty("seconds")
                .GetDouble();
        });
        return [transmit, receive];
    }

    private static string Testpmd(string mode, double seconds) =>
        Dpdk.Program(Dpdk.Find("dpdk-testpmd")!, "0,1", s_near,
        [$"--forward-mode={mode}", "-a", "--burst=32", "--nb-cores=1", "--port-topology=loop", "--txpkts=64",
            "--stats-period=1"],
        TimeSpan.FromSeconds(seconds));

    /// <summary>Packets per second the kernel counts at the far end, in the busiest second while <paramref
    /// name="send"/> runs.</summary>
    private static double CountAtFarEnd(Action send)
    {
        var rates = new List<double>();
        Task sending = Task.Run(send);
        var clock = Stopwatch.StartNew();
        double before = 0, count = Received();
        while (!sending.Wait(500))
        {
            double now = clock.Elapsed.TotalSeconds, next = Received();
            rates.Add((next - count) / (now - before));
            (before, count) = (now, next);
        }
        // Starting and stopping are not sending: half-seconds far below the best are left out.
        return Result.Median([.. rates.Where(rate => rate > rates.Max() / 2)]);
    }

    private static double Received() => double.Parse(
        File.ReadAllText($"/sys/class/net/{Far}/statistics/rx_packets"), CultureInfo.InvariantCulture);

    private static double WithSender(Func<double> receive)
    {
        Task sender = Task.Run(() => Applications.Forward("0", [$"net_af_packet1,iface={Far}"],
            ["--forward-mode", "txonly", "--port-topology", "loop"], Seconds + 5).Dispose());
        if (sender.Wait(1500))
            throw new DataplaneException("the sender ended too soon");
        double rate = receive();
        sender.Wait();
        return rate > 0 ? rate : throw new DataplaneException("nothing was received");
    }

    /// <summary>Two joined kernel interfaces without IPv6, which would add packets of its own.</summary>
    private sealed class VethPair : IDisposable
    {
        public VethPair()
        {
            Dispose();
            Ip("link", "add", Near, "type", "veth", "peer", "name", Far);
            foreach (string end in (string[])[Near, Far])
            {
                File.WriteAllText($"/proc/sys/net/ipv6/conf/{end}/disable_ipv6", "1");
                Ip("link", "set", end, "up", "promisc", "on");
            }
        }

        public void Dispose()
        {
            if (Directory.Exists($"/sys/class/net/{Near}"))
                Ip("link", "del", Near);
        }

        private static void Ip(params string[] args)
        {
            if (Dpdk.Run("ip", args, TimeSpan.FromSeconds(10), out string text) != 0)
                throw new DataplaneException($"ip {string.Join(' ', args)}", why: text);
        }
    }
}
