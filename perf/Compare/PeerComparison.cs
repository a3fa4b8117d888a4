using System.Globalization;
using System.Text.RegularExpressions;

namespace Dataplane.Perf.Compare;

/// <summary>
/// Two processes over shared memory, 64-byte frames, bursts of 32: testpmd on CPU 0 is the same peer for both sides and
/// its counters are the figures; testpmd and Forward on CPU 1 take turns at the other end, with the same device.
/// </summary>
/// <param name="cases">A row each.</param>
internal sealed class PeerComparison(params PeerCase[] cases) : IComparison
{
    private const double Seconds = 5;

    /// <summary>memif in both roles.</summary>
    public static PeerComparison Memif { get; } = new([.. from role in (string[])["server", "client"]
        from receives in (bool[])[true, false]
        select new PeerCase($"memif {role}", receives, role == "server",
            socket => $"net_memif0,socket={socket},role={role}",
            socket => $"net_memif0,socket={socket},role={(role == "server" ? "client" : "server")}")]);

    /// <summary>A back end, with DPDK's virtio_user before it.</summary>
    public static PeerComparison Vhost { get; } = new([.. from packed in (bool[])[false, true]
        from receives in (bool[])[true, false]
        select new PeerCase($"vhost {Layout(packed)}", receives, true, BackEnd, socket => FrontEnd(socket, packed))]);

    /// <summary>A front end, with DPDK's vhost behind it.</summary>
    public static PeerComparison VirtioUser { get; } = new([.. from packed in (bool[])[false, true]
        from receives in (bool[])[true, false]
        select new PeerCase($"virtio_user {Layout(packed)}", receives, false, socket => FrontEnd(socket, packed),
            BackEnd)]);

    public IReadOnlyList<Row> Rows { get; } = [.. cases.Select(c => new Row(
        $"{c.Name}, {(c.Receives ? "receive from" : "transmit to")} testpmd", "packets/s", false, 1.0, 1.5))];

    public string? Missing => Dpdk.Find("dpdk-testpmd") == null ? "dpdk-testpmd (Debian's package dpdk)" : null;

    public double[] Theirs() => [.. cases.Select(c => Run(c, (device, seconds) =>
        Testpmd(["-l", "0,1"], device, c.Mode, seconds)))];

    public double[] Ours() => [.. cases.Select(c => Run(c, (device, seconds) =>
        Applications.Forward("1", [device], ["--forward-mode", c.Mode, "--port-topology", "loop", "--burst", "32",
            "--mbcache", "250", "--no-offloads"], seconds).Dispose()))];

    private static string Layout(bool packed) => packed ? "packed" : "split";

    private static string BackEnd(string socket) => $"net_vhost0,iface={socket}";

    private static string FrontEnd(string socket, bool packed) =>
        $"net_virtio_user0,path={socket},packed_vq={(packed ? 1 : 0)},queue_size=256";

    // A client of DPDK asks for its server once, so the server comes first and stays longer.
    private static double Run(PeerCase one, Action<string, double> side)
    {
        string socket = Path.Combine(Path.GetTempPath(), $"dp-compare-{Guid.NewGuid():N}"), said = "";
        void Side(double seconds) => side(one.Device(socket), seconds);
        void Peer(double seconds) => said = Testpmd(["--lcores", "0@1,1@0"], one.Peer(socket), one.PeerMode, seconds);
        Task server = Task.Run(() =>
        {
            if (one.Listens)
                Side(Seconds + 5);
            else
                Peer(Seconds + 5);
        });
        while (!File.ReadAllText("/proc/net/unix").Contains(socket, StringComparison.Ordinal))
            if (server.Wait(20))
                throw new DataplaneException("the server ended too soon");
        if (one.Listens)
            Peer(Seconds + 1);
        else
            Side(Seconds);
        server.Wait();
        File.Delete(socket);   // where a program left it
        string counter = one.PeerMode == "rxonly" ? @"Rx-pps:\s+([0-9]+)" : @"Tx-pps:\s+([0-9]+)";
        double[] rates = [.. Regex.Matches(said, counter).Select(m => double.Parse(m.Groups[1].Value,
            CultureInfo.InvariantCulture)).Where(rate => rate > 0)];
        // Seconds in which one of them began or ended are left out.
        return rates.Length == 0 ? throw new DataplaneException("no packet moved", why: said)
            : Result.Median([.. rates.Where(rate => rate > rates.Max() / 2)]);
    }

    private static string Testpmd(string[] lcores, string device, string mode, double seconds)
    {
        string[] args = [.. lcores, "--no-pci", "--in-memory", "--single-file-segments", "-m", "512",
            "--log-level", "5", "--vdev", device, "--", $"--forward-mode={mode}", "-a",
            "--burst=32", "--nb-cores=1", "--mbcache=250", "--port-topology=loop", "--txpkts=64", "--stats-period=1",
            "--no-flush-rx"];
        Dpdk.Run(Dpdk.Find("dpdk-testpmd")!, args, TimeSpan.FromMinutes(1), out string text,
            TimeSpan.FromSeconds(seconds));
        return text;
    }
}

/// <summary>One row of a <see cref="PeerComparison"/>.</summary>
/// <param name="Name">What the row begins with.</param>
/// <param name="Receives">The measured end receives; else it transmits.</param>
/// <param name="Listens">The measured end listens, so it is started first.</param>
/// <param name="Device">Its device, for a socket's path.</param>
/// <param name="Peer">The peer's.</param>
internal sealed record PeerCase(string Name, bool Receives, bool Listens, Func<string, string> Device,
    Func<string, string> Peer)
{
    public string Mode => Receives ? "rxonly" : "txonly";

    public string PeerMode => Receives ? "txonly" : "rxonly";
}
