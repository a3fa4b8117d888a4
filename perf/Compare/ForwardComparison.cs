using System.Text.Json;

namespace Dataplane.Perf.Compare;

/// <summary>
/// testpmd and Forward between two null ports, one lcore, bursts of 32, the same cache: busy cycles per packet received
/// and sent on, as testpmd's --record-core-cycles counts them.
/// </summary>
internal sealed class ForwardComparison : IComparison
{
    private const double Seconds = 3;
    private static readonly string[] s_modes = ["io", "macswap"];
    private static readonly string[] s_vdevs = ["net_null0", "net_null1"];

    public IReadOnlyList<Row> Rows { get; } =
        [.. s_modes.Select(mode => new Row($"null to null {mode}, burst 32", "cycles/packet", true, 2, 3))];

    public string? Missing => Dpdk.Find("dpdk-testpmd") == null ? "dpdk-testpmd (Debian's package dpdk)" : null;

    public double[] Theirs() => [.. s_modes.Select(Theirs)];

    public double[] Ours() => [.. s_modes.Select(Ours)];

    // testpmd forwards on the lcores behind the main one; ours is told to use the same CPU.
    private static double Theirs(string mode)
    {
        string text = Dpdk.Program(Dpdk.Find("dpdk-testpmd")!, "0,1", s_vdevs,
            [$"--forward-mode={mode}", "-a", "--burst=32", "--nb-cores=1", "--mbcache=250", "--record-core-cycles"],
            TimeSpan.FromSeconds(Seconds + 1));
        return Dpdk.Number(text, @"CPU cycles/packet=([0-9.]+)");
    }

    private static double Ours(string mode)
    {
        using JsonDocument report = Applications.Forward("1", s_vdevs,
            ["--forward-mode", mode, "--burst", "32", "--mbcache", "250"], Seconds);
        return report.RootElement.GetProperty("lcores")[0].GetProperty("cyclesPerPacket").GetDouble();
    }
}
