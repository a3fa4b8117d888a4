using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Dataplane.Tests;

/// <summary>Counts of our applications against those of testpmd, tcpdump and the kernel over a veth pair.</summary>
public sealed class TestpmdTests
{
    [Fact]
    public void Forward_ReceivesFromTestpmd_CountsWhatItAndTheKernelCount()
    {
        Host.Require("dpdk-testpmd", "stdbuf");
        using var lab = new NetLab();
        (string ours, string theirs) = lab.AddVeth("i");
        using var forward = new ForwardProcess(["--no-huge", "-l", AppProcess.Lcores(1), "--vdev",
            $"net_af_packet0,iface={ours}"],
            "--forward-mode", "rxonly");
        long sent;
        using (var testpmd = new TestpmdProcess($"net_af_packet0,iface={theirs}", "txonly"))
        {
            Assert.True(testpmd.WaitFor("TX-packets", 1000), "testpmd sends nothing");
            sent = testpmd.Stop().Sent;
        }
        Assert.True(sent > 0);
        Assert.True(SpinWait.SpinUntil(() => IsQuiet(forward.Output), TimeSpan.FromSeconds(120)), forward.Output);
        JsonElement port = forward.Stop().GetProperty("ports")[0];
        Assert.Equal(sent, KernelCount(ours, "rx"));
        Assert.Equal(sent, port.Long("rxPackets") + port.Long("rxMissed"));
        Assert.Equal(64 * port.Long("rxPackets"), port.Long("rxBytes"));
    }

    [Fact]
    public void Throughput_SendsToTestpmd_WhichCountsTheSame()
    {
        Host.Require("dpdk-testpmd", "stdbuf");
        using var lab = new NetLab();
        (string ours, string theirs) = lab.AddVeth("i");
        using var testpmd = new TestpmdProcess($"net_af_packet0,iface={theirs}", "rxonly");
        long sent = Send(ours);
        Assert.True(testpmd.WaitFor("RX-packets", sent), $"testpmd did not receive {sent} packets");
        Assert.Equal(sent, testpmd.Stop().Received);
        Assert.Equal(sent, KernelCount(ours, "tx"));
    }

    [Fact]
    public void Throughput_SeenByTcpdump_WhichCountsTheSame()
    {
        Host.Require("tcpdump");
        using var lab = new NetLab();
        (string ours, string theirs) = lab.AddVeth("i");
        using var folder = new PcapFolder();
        using Process tcpdump = Host.Start("tcpdump", "-i", theirs, "-B", "65536", "-U", "-w", folder["seen"],
            "udp", "dst", "port", "9");
        string? line = tcpdump.StandardError.ReadLine();
        Assert.Contains("listening on", line, StringComparison.Ordinal);
        long sent = Send(ours);
        const int FileHeader = 24, RecordHeader = 16, Frame = 60;   // 64 bytes with the frame check sequence
        Assert.True(SpinWait.SpinUntil(() =>
            new FileInfo(folder["seen"]).Length >= FileHeader + sent * (RecordHeader + Frame), TimeSpan.FromMinutes(1)),
            $"tcpdump did not write {sent} packets");
        AppProcess.Signal(tcpdump, AppProcess.SigInt);
        string said = tcpdump.StandardError.ReadToEnd();
        Assert.Contains("0 packets dropped by kernel", said, StringComparison.Ordinal);
        Assert.Equal($"{sent}", Regex.Match(said, @"(\d+) packets? captured").Groups[1].Value);
    }

    /// <summary>Sends for a second, slowly enough for any receiver on a busy machine.</summary>
    private static long Send(string iface)
    {
        (AppResult result, JsonElement report) = AppProcess.RunWithReport("Throughput",
            ["--no-huge", "-l", AppProcess.Lcores(1), "--vdev", $"net_af_packet0,iface={iface}"],
            "--path", "sink", "--test", "rate", "--rate", "2000", "--trial", "1", "--frames", "64");
        Assert.True(result.Exit == 0, result.All);
        JsonElement frame = report.GetProperty("frames")[0];
        long sent = frame.GetProperty("best").Long("sent");
        Assert.True(sent > 0, result.All);
        return sent + frame.GetProperty("warmUp").Long("sent");
    }

    private static long KernelCount(string iface, string direction) =>
        long.Parse(File.ReadAllText($"/sys/class/net/{iface}/statistics/{direction}_packets"));

    private static bool IsQuiet(string output)
    {
        string[] last = [.. output.Split('\n').Where(line => line.Contains(" net_af_packet0 ",
            StringComparison.Ordinal)).TakeLast(3)];
        return last.Length == 3 && last.All(line => line.Contains("rx 0.000 pps", StringComparison.Ordinal));
    }
}
