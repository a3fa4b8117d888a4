using System.Diagnostics;
using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>Packets that are not ours: between two NICs of the kernel's, each in a namespace of its own, whose only
/// way leads through Forward on two bound NICs. What one side sent is what every counter on the way says.</summary>
[Guest(Machines.Intel612)]
public sealed class OutsidePacketTests : IDisposable
{
    private const string Left = "198.51.100.1", Right = "198.51.100.2";    // RFC 5737
    private readonly ITestOutputHelper _output;
    private readonly NetLab _lab = new();
    private readonly (string Kernel, string Bound) _left = Guest.Pair("igb");
    private readonly (string Bound, string Kernel) _right = Guest.Pair("e1000e");
    private readonly string _leftSpace, _rightSpace, _leftLink, _rightLink;

    public OutsidePacketTests(ITestOutputHelper output)
    {
        _output = output;
        Host.Require("ping", "iperf3");
        Dpctl("unbind");
        (_leftSpace, _leftLink) = Place("left", _left.Kernel, Left);
        (_rightSpace, _rightLink) = Place("right", _right.Kernel, Right);
    }

    public void Dispose()
    {
        Host.TryRun("ip", "-n", _leftSpace, "link", "set", _leftLink, "netns", "1");
        Host.TryRun("ip", "-n", _rightSpace, "link", "set", _rightLink, "netns", "1");
        _lab.Dispose();
        Dpctl("bind");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Forward_BetweenTheKernelsNics_CarriesPingAndIperf3(bool rxInterrupts)
    {
        string json = Path.GetTempFileName();
        using Process forward = AppProcess.Start("Forward", ["-l", "1", "-m", "64", "--iommu-backend", "iommufd",
            "-a", _left.Bound, "-a", _right.Bound, "--", "--json", json, "--duration", "120",
            .. (string[])(rxInterrupts ? ["--rx-interrupts"] : [])]);
        WaitForLinks(forward);

        (long Rx, long Tx, string Mac) left0 = Count(_leftSpace, _leftLink), right0 = Count(_rightSpace, _rightLink);
        string ping = Host.Run("ip", "netns", "exec", _leftSpace, "ping", "-q", "-c", "20", "-i", "0.05", "-W", "30",
            Right);
        _output.WriteLine(ping);
        Assert.Contains("20 received, 0% packet loss", ping, StringComparison.Ordinal);
        // No ARP in its own time, so that counting ends with the traffic.
        Keep(_leftSpace, _leftLink, Right, right0.Mac);
        Keep(_rightSpace, _rightLink, Left, left0.Mac);
        RunIperf3();

        (long Rx, long Tx, string Mac) left = default, right = default;
        Assert.True(SpinWait.SpinUntil(() =>
        {
            (left, right) = (Count(_leftSpace, _leftLink), Count(_rightSpace, _rightLink));
            return left.Tx - left0.Tx == right.Rx - right0.Rx && right.Tx - right0.Tx == left.Rx - left0.Rx;
        }, TimeSpan.FromMinutes(1)), $"left {left0} to {left}, right {right0} to {right}");
        AppProcess.Signal(forward, AppProcess.SigInt);
        AppResult result = AppProcess.End(forward);
        _output.WriteLine(result.All);
        _output.WriteLine($"left  sent {left.Tx - left0.Tx}, received {left.Rx - left0.Rx}");
        _output.WriteLine($"right sent {right.Tx - right0.Tx}, received {right.Rx - right0.Rx}");
        JsonElement report = JsonDocument.Parse(File.ReadAllText(json)).RootElement;
        (result, report).AssertAccounted();
        JsonElement[] ports = [.. report.GetProperty("ports").EnumerateArray()];
        Assert.Equal((left.Tx - left0.Tx, left.Rx - left0.Rx),
            (ports[0].Long("rxPackets"), ports[0].Long("txPackets")));
        Assert.Equal((right.Tx - right0.Tx, right.Rx - right0.Rx),
            (ports[1].Long("rxPackets"), ports[1].Long("txPackets")));
        Assert.Equal(rxInterrupts, report.Sum("lcores", "sleeps") > 0);
    }

    private void RunIperf3()
    {
        using Process server = NetLab.StartIperfServer(_rightSpace);
        string client = Host.Run("ip", "netns", "exec", _leftSpace, "iperf3", "-c", Right, "-n", "2M", "-w", "64K",
            "-J");
        server.WaitForExit();
        JsonElement end = JsonDocument.Parse(client).RootElement.GetProperty("end");
        JsonElement sent = end.GetProperty("sum_sent"), received = end.GetProperty("sum_received");
        _output.WriteLine($"iperf3: sent {sent.Long("bytes")} bytes, received {received.Long("bytes")}, "
            + $"{received.GetProperty("bits_per_second").GetDouble() / 1e6:F2} Mbit/s, "
            + $"{sent.Long("retransmits")} sent again");
        // What the last segments hold counts no more: the client has said the end by then.
        Assert.InRange(received.Long("bytes"), 1 << 20, sent.Long("bytes"));
    }

    /// <summary>Moves a NIC of the kernel's into a quiet namespace of its own.</summary>
    private (string Space, string Link) Place(string side, string nic, string address)
    {
        string link = Path.GetFileName(Directory.GetDirectories($"/sys/bus/pci/devices/{nic}/net").Single());
        string space = _lab.AddNamespace(side);
        foreach (string which in (string[])["all", "default"])
            Host.Run("ip", "netns", "exec", space, "sysctl", "-qw", $"net.ipv6.conf.{which}.disable_ipv6=1");
        NetLab.Place(link, space, address + "/24");
        return (space, link);
    }

    private void WaitForLinks(Process forward)
    {
        var up = new HashSet<string>();
        while (up.Count < 2 && forward.StandardOutput.ReadLine() is { } line)
            foreach (string port in (string[])[_left.Bound, _right.Bound])
                if (line.Contains(port + " ", StringComparison.Ordinal))
                    _ = line.Contains("link down", StringComparison.Ordinal) ? up.Remove(port) : up.Add(port);
        Assert.True(up.Count == 2, up.Count < 2 ? AppProcess.End(forward).All : "");
        Assert.True(SpinWait.SpinUntil(() => IsUp(_leftSpace, _leftLink) && IsUp(_rightSpace, _rightLink),
            TimeSpan.FromMinutes(1)), "the kernel's NICs have no link");
    }

    private static bool IsUp(string space, string link) =>
        Show(space, link).GetProperty("operstate").GetString() == "UP";

    private static (long Rx, long Tx, string Mac) Count(string space, string link)
    {
        JsonElement shown = Show(space, link), counts = shown.GetProperty("stats64");
        return (counts.GetProperty("rx").Long("packets"), counts.GetProperty("tx").Long("packets"),
            shown.GetProperty("address").GetString()!);
    }

    private static JsonElement Show(string space, string link) =>
        JsonDocument.Parse(Host.Run("ip", "-n", space, "-s", "-j", "link", "show", link)).RootElement[0];

    private static void Keep(string space, string link, string address, string mac) =>
        Host.Run("ip", "-n", space, "neigh", "replace", address, "lladdr", mac, "dev", link, "nud", "permanent");

    private void Dpctl(string verb)
    {
        AppResult result = AppProcess.Run("Dpctl", verb, _left.Kernel, _right.Kernel);
        Assert.True(result.Exit == 0, result.All);
    }
}
