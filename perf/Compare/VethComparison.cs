using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Dataplane.Perf.Compare;

/// <summary>
/// A driver on one end of a veth pair, 64-byte frames. Transmit: how many the kernel counts in at the other end.
/// Receive and forward: how many arrive, or go back, while the same sender (Forward, txonly, over af_packet on the
/// other CPU) feeds both sides in turn.
/// </summary>
/// <param name="driver">Its name, the same on both sides.</param>
/// <param name="label">What rows are called.</param>
/// <param name="forwards">With a row for forwarding.</param>
/// <remarks>
/// Not in the kernel's general path: DPDK 22.11's driver asks for native mode and takes no other.
/// </remarks>
internal sealed class VethComparison(string driver, string label, bool forwards) : IComparison
{
    private const string Pair = VethPair.Near, Far = VethPair.Far;
    private const double Seconds = 3;

    private readonly string[] _device = [$"{driver}0,iface={Pair}"];

    // Rings of one size; af_packet's are the device's arguments, alike on both sides.
    private readonly string[] _ours = driver == "net_af_xdp" ? ["--rxd", "2048", "--txd", "2048"] : [];
    private readonly string[] _theirs = driver == "net_af_xdp" ? ["--rxd=2048", "--txd=2048"] : [];

    public IReadOnlyList<Row> Rows { get; } =
    [
        new(label + ", transmit", "packets/s", false, 1.0, 1.2),
        new(label + ", receive", "packets/s", false, 1.0, 1.2),
        .. forwards ? (Row[])[new(label + ", forward", "packets/s", false, 1.0, 1.2)] : [],
    ];

    public string? Missing => Dpdk.Find("dpdk-testpmd") == null ? "dpdk-testpmd (Debian's package dpdk)"
        : Environment.UserName != "root" ? "root, to make a veth pair" : null;

    public double[] Theirs()
    {
        using var pair = new VethPair();
        var figures = new List<double>
        {
            CountAtFarEnd(() => Testpmd("txonly", Seconds + 1)),
            WithSender(() => TestpmdRate("rxonly", "Rx")),
        };
        if (forwards)
            figures.Add(WithSender(() => TestpmdRate("io", "Tx")));
        return [.. figures];
    }

    public double[] Ours()
    {
        using var pair = new VethPair();
        var figures = new List<double>
        {
            CountAtFarEnd(() => Forward("txonly", Seconds + 1).Dispose()),
            WithSender(() => ForwardRate("rxonly", "rxPackets")),
        };
        if (forwards)
            figures.Add(WithSender(() => ForwardRate("io", "txPackets")));
        return [.. figures];
    }

    private JsonDocument Forward(string mode, double seconds) => Applications.Forward("1", _device,
        ["--forward-mode", mode, "--port-topology", "loop", .. _ours], seconds);

    private double ForwardRate(string mode, string counter)
    {
        using JsonDocument report = Forward(mode, Seconds);
        JsonElement root = report.RootElement;
        return root.GetProperty("ports")[0].GetProperty(counter).GetDouble() / root.GetProperty("seconds").GetDouble();
    }

    private double TestpmdRate(string mode, string direction)
    {
        MatchCollection rates = Regex.Matches(Testpmd(mode, Seconds + 2), direction + @"-pps:\s+([0-9]+)");
        return Result.Median([.. rates.Select(m => double.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture))
            .Where(r => r > 0)]);
    }

    private string Testpmd(string mode, double seconds) =>
        Dpdk.Program(Dpdk.Find("dpdk-testpmd")!, "0,1", _device,
        [$"--forward-mode={mode}", "-a", "--burst=32", "--nb-cores=1", "--port-topology=loop", "--txpkts=64",
            "--stats-period=1", .. _theirs],
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
}
