using System.Globalization;
using System.Text.RegularExpressions;

namespace Dataplane.Perf.Compare;

/// <summary>
/// memif between two processes, 64-byte frames, bursts of 32: testpmd on CPU 0 is the same peer for both sides and its
/// counters are the figures; testpmd and Forward on CPU 1 take turns at the other end, in both roles.
/// </summary>
internal sealed class MemifComparison : IComparison
{
    private const double Seconds = 5;

    private static readonly (string Role, string Mode, string PeerMode)[] s_cases =
    [
        ("server", "rxonly", "txonly"), ("server", "txonly", "rxonly"),
        ("client", "rxonly", "txonly"), ("client", "txonly", "rxonly"),
    ];

    public IReadOnlyList<Row> Rows { get; } = [.. s_cases.Select(c => new Row(
        $"memif {c.Role}, {(c.Mode == "rxonly" ? "receive from" : "transmit to")} testpmd", "packets/s", false, 1.0,
        1.5))];

    public string? Missing => Dpdk.Find("dpdk-testpmd") == null ? "dpdk-testpmd (Debian's package dpdk)" : null;

    public double[] Theirs() => [.. s_cases.Select(c => Run(c.Role, c.PeerMode, (device, seconds) =>
        Testpmd(["-l", "0,1"], device, c.Mode, seconds)))];

    public double[] Ours() => [.. s_cases.Select(c => Run(c.Role, c.PeerMode, (device, seconds) =>
        Applications.Forward("1", [device], ["--forward-mode", c.Mode, "--port-topology", "loop", "--burst", "32",
            "--mbcache", "250"], seconds).Dispose()))];

    // A client of DPDK asks for its server once, so the server comes first and stays longer.
    private static double Run(string role, string peerMode, Action<string, double> side)
    {
        string socket = $"dp-compare-{Guid.NewGuid():N}", said = "";
        string ours = $"net_memif0,socket={socket},role={role}";
        string peers = $"net_memif0,socket={socket},role={(role == "server" ? "client" : "server")}";
        void Peer(double seconds) => said = Testpmd(["--lcores", "0@1,1@0"], peers, peerMode, seconds);
        Task server = Task.Run(() =>
        {
            if (role == "server")
                side(ours, Seconds + 5);
            else
                Peer(Seconds + 5);
        });
        while (!File.ReadAllText("/proc/net/unix").Contains(socket, StringComparison.Ordinal))
            if (server.Wait(20))
                throw new DataplaneException("the server ended too soon");
        if (role == "server")
            Peer(Seconds + 1);
        else
            side(ours, Seconds);
        server.Wait();
        string counter = peerMode == "rxonly" ? @"Rx-pps:\s+([0-9]+)" : @"Tx-pps:\s+([0-9]+)";
        double[] rates = [.. Regex.Matches(said, counter).Select(m => double.Parse(m.Groups[1].Value,
            CultureInfo.InvariantCulture)).Where(rate => rate > 0)];
        // Seconds in which one of them began or ended are left out.
        return rates.Length == 0 ? throw new DataplaneException("no packet moved", why: said)
            : Result.Median([.. rates.Where(rate => rate > rates.Max() / 2)]);
    }

    private static string Testpmd(string[] lcores, string device, string mode, double seconds)
    {
        string[] args = [.. lcores, "--no-pci", "--in-memory", "-m", "512", "--log-level", "5", "--vdev", device, "--",
            $"--forward-mode={mode}", "-a", "--burst=32", "--nb-cores=1", "--mbcache=250", "--port-topology=loop",
            "--txpkts=64", "--stats-period=1", "--no-flush-rx"];
        Dpdk.Run(Dpdk.Find("dpdk-testpmd")!, args, TimeSpan.FromMinutes(1), out string text,
            TimeSpan.FromSeconds(seconds));
        return text;
    }
}
