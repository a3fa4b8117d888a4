using System.Diagnostics;

namespace Dataplane.Tests;

/// <summary><c>dpctl replay</c> as a user runs it, from file to file.</summary>
public sealed class DpctlReplayAppTests : IDisposable
{
    private readonly PcapFolder _folder = new();
    private readonly PcapRig _rig = new();

    public void Dispose()
    {
        _rig.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void Replay_ThreeTimesAtTopSpeed_WritesThePacketsThreeTimes()
    {
        List<TestPacket> packets = Write(500);
        AppResult result = Replay("--port", $"net_pcap0,tx_pcap={_folder["out"]}", "--top-speed", "--loop", "3");
        Assert.True(result.Exit == 0, result.All);
        Assert.Contains("every packet accounted for", result.Output, StringComparison.Ordinal);
        Assert.Contains("read 1,500, sent 1,500, dropped 0", result.Output, StringComparison.Ordinal);
        Assert.Equal(Enumerable.Repeat(packets, 3).SelectMany(p => p).Select(packet => packet.Bytes), Out());
    }

    [Fact]
    public void Replay_EalOptionsAndAMixedFile_SendsTheFramesAsThePortIsNamed()
    {
        // pcapng with an interface that is no Ethernet: left out, and read from disk while it is sent.
        byte[] frame = DriverRig.Expected(1, 90);
        File.WriteAllBytes(_folder["in"], new PcapBytes(false).Section().Interface().Interface(link: 101)
            .Enhanced(new(0, frame), 1000).Enhanced(new(1000, new byte[40]), 1000, number: 1)
            .Enhanced(new(2000, frame), 1000).ToArray());
        AppResult result = AppProcess.Run("Dpctl", "replay", "-l", AppProcess.Lcores(1), "--no-huge", "--vdev",
            $"net_pcap7,tx_pcap={_folder["out"]}", "--", _folder["in"], "--loop", "2", "--rate", "1Mpps");
        Assert.True(result.Exit == 0, result.All);
        Assert.Contains("1 are no Ethernet frames", result.Output, StringComparison.Ordinal);
        Assert.Equal(Enumerable.Repeat(frame, 4), Out());
    }

    [Fact]
    public void Replay_OriginalTimingAndRate_TakeTheTimeTheyShould()
    {
        Write(101, gap: 5_000_000);     // half a second
        (double Seconds, AppResult Result) run(params string[] more)
        {
            var clock = Stopwatch.StartNew();
            AppResult result = Replay(["--port", "net_null0", .. more]);
            return (clock.Elapsed.TotalSeconds, result);
        }
        (double seconds, AppResult result) = run();
        Assert.True(result.Exit == 0 && seconds >= 0.5, result.All);
        Assert.Matches(@"departure error, us: p50 [0-9.]+, p99 [0-9.]+, p99.9 [0-9.]+, max [0-9.]+", result.Output);
        Assert.Matches(@"with its original timing, 0\.[56]", result.Output);
        Assert.Matches(@"4 times as fast as it was, 0\.1[2-9]", run("--speed", "4").Result.Output);
        Assert.Matches(@"at 500 pps, 0\.[23]", run("--rate", "500pps").Result.Output);
        (_, result) = run("--loop", "0", "--duration", "0.3");
        Assert.True(result.Exit == 0, result.All);
        Assert.Contains("for ever", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Replay_Check_OnlySaysWhatIsInTheFile()
    {
        Write(10);
        AppResult result = AppProcess.Run("Dpctl", "replay", _folder["in"], "--check");
        Assert.True(result.Exit == 0, result.All);
        Assert.Contains("10 packets", result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("replaying", result.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("give one of --rate", "--rate", "1Mpps", "--top-speed")]
    [InlineData("--speed goes with", "--top-speed", "--speed", "2")]
    [InlineData("--rate 5", "--rate", "5")]
    [InlineData("--loop wants", "--loop", "-1")]
    [InlineData("such as 0.5, not 0,5", "--speed", "0,5")]
    [InlineData("it is not said where to send")]
    [InlineData("no driver for device 'net_nothing'", "--port", "net_nothing")]
    public void Replay_BadOption_SaysWhich(string words, params string[] own)
    {
        Write(3);
        AppResult result = Replay(own);
        Assert.True(result.Exit == 2, result.All);
        Assert.Contains(words, result.Errors, StringComparison.Ordinal);
        Assert.InRange(result.Errors.Split('\n').Length, 1, 8);
    }

    private AppResult Replay(params string[] own) => AppProcess.Run("Dpctl", ["replay", _folder["in"], .. own]);

    private List<TestPacket> Write(int count, ulong gap = 1000)
    {
        List<TestPacket> packets = [.. Enumerable.Range(0, count).Select(i => new TestPacket(7_000 + (ulong)i * gap,
            DriverRig.Expected((uint)i, i % 50 == 7 ? 9000 : 60 + i % 1400)))];
        File.WriteAllBytes(_folder["in"], PcapBytes.File(packets, new TestFormat(Nano: true)));
        return packets;
    }

    private IEnumerable<byte[]> Out() => _rig.Read($"rx_pcap={_folder["out"]}", out _).Select(packet => packet.Bytes);
}
