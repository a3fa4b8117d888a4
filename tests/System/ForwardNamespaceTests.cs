using System.Text.Json;
using System.Text.RegularExpressions;

namespace Dataplane.Tests;

/// <summary>Two network namespaces that see each other only through Forward.</summary>
public sealed class ForwardNamespaceTests
{
    private const string LeftAddress = "198.51.100.1", RightAddress = "198.51.100.2";   // RFC 5737

    [Fact]
    public void AfPacket_Iperf3AndFloodPing_CrossAndAreAccountedFor()
    {
        Host.Require("ping", "iperf3");
        using var lab = new NetLab();
        (string left, string right) = (lab.AddNamespace("left"), lab.AddNamespace("right"));
        (string nearLeft, string farLeft) = lab.AddVeth("l");
        (string nearRight, string farRight) = lab.AddVeth("r");
        NetLab.Place(farLeft, left, LeftAddress + "/24");
        NetLab.Place(farRight, right, RightAddress + "/24");
        using var forward = new ForwardProcess(["--no-huge", "-l", "0", "--vdev", $"net_af_packet0,iface={nearLeft}",
            "--vdev", $"net_af_packet1,iface={nearRight}"]);
        CrossAndCount(forward, left, right);
    }

    [Fact]
    public void Tap_Iperf3AndFloodPing_CrossAndAreAccountedFor()
    {
        Host.Require("ping", "iperf3");
        using var lab = new NetLab();
        (string left, string right) = (lab.AddNamespace("left"), lab.AddNamespace("right"));
        (string leftTap, string rightTap) = (lab.NewLink("tl"), lab.NewLink("tr"));
        using var forward = new ForwardProcess(["--no-huge", "-l", "0", "--vdev", $"net_tap0,iface={leftTap}",
            "--vdev", $"net_tap1,iface={rightTap}"]);
        NetLab.Place(leftTap, left, LeftAddress + "/24");
        NetLab.Place(rightTap, right, RightAddress + "/24");
        CrossAndCount(forward, left, right);
    }

    [Fact]
    public void RxInterrupts_PingsFarApart_SleepsBetweenThem()
    {
        Host.Require("ping");
        using var lab = new NetLab();
        (string left, string right) = (lab.AddNamespace("left"), lab.AddNamespace("right"));
        (string near, string far) = lab.AddVeth("l");
        string tap = lab.NewLink("tr");
        NetLab.Place(far, left, LeftAddress + "/24");
        using var forward = new ForwardProcess(["--no-huge", "-l", "0", "--vdev", $"net_af_packet0,iface={near}",
            "--vdev", $"net_tap0,iface={tap}"], "--rx-interrupts");
        NetLab.Place(tap, right, RightAddress + "/24");
        string ping = Host.Run("ip", "netns", "exec", left, "ping", "-i", "0.05", "-c", "40", "-q", RightAddress);
        Assert.Contains(" 0% packet loss", ping, StringComparison.Ordinal);
        JsonElement lcore = forward.Stop().GetProperty("lcores")[0];
        Assert.InRange(lcore.GetProperty("sleeps").GetInt64(), 40, long.MaxValue);
        Assert.InRange(lcore.GetProperty("busyPercent").GetDouble(), 0, 50);
        Assert.Equal(0, lcore.GetProperty("allocatedBytes").GetInt64());
    }

    private static void CrossAndCount(ForwardProcess forward, string left, string right)
    {
        string ping = NetLab.FloodPing(left, RightAddress, 5000);
        using System.Diagnostics.Process server = NetLab.StartIperfServer(right);
        string client = Host.Run("ip", "netns", "exec", left, "iperf3", "-c", RightAddress, "-t", "10", "-J");
        JsonElement received = JsonDocument.Parse(client).RootElement.GetProperty("end").GetProperty("sum_received");
        Assert.True(received.GetProperty("seconds").GetDouble() > 9, client);
        double bits = received.GetProperty("bits_per_second").GetDouble();
        TestContext.Current.TestOutputHelper?.WriteLine($"iperf3: {bits / 1e6:F0} Mbit/s; {Loss(ping)}");
        Assert.True(bits > 1e6, client);

        JsonElement report = forward.Stop();
        JsonElement packets = report.GetProperty("packets");
        Assert.Equal(0, packets.GetProperty("unaccounted").GetInt64());
        Assert.True(packets.GetProperty("received").GetInt64() > 10_000);
        long ports(string counter) => report.GetProperty("ports").EnumerateArray()
            .Sum(p => p.GetProperty(counter).GetInt64());
        Assert.Equal(packets.GetProperty("received").GetInt64(), ports("rxPackets"));
        Assert.Equal(packets.GetProperty("sent").GetInt64(), ports("txPackets") + ports("txErrors"));
        Assert.Equal(0, report.GetProperty("lcores")[0].GetProperty("allocatedBytes").GetInt64());
    }

    private static string Loss(string ping) => Regex.Match(ping, "[0-9.]+% packet loss").Value;
}
