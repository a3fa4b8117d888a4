using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

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
        Assert.DoesNotContain("other threads may run on the lcores' CPUs", result.All, StringComparison.Ordinal);
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
        // A busy machine may take longer, never shorter.
        void AtLeast(double least, string timing, AppResult result)
        {
            Match match = Regex.Match(result.Output, timing + @", ([0-9.]+) s:");
            Assert.True(match.Success, result.All);
            Assert.InRange(double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture), least, 600);
        }
        AtLeast(0.5, "with its original timing", result);
        AtLeast(0.125, "4 times as fast as it was", run("--speed", "4").Result);
        AtLeast(0.2, "at 500 pps", run("--rate", "500pps").Result);
        (_, result) = run("--loop", "0", "--duration", "0.3");
        Assert.True(result.Exit == 0, result.All);
        Assert.Contains("for ever", result.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1, "--loop", "5")]
    [InlineData(1, "--loop", "0", "--duration", "3600")]
    [InlineData(0, "--loop", "0")]
    public void Replay_Interrupted_SaysSoUnlessItWouldNeverEnd(int isFailure, params string[] own)
    {
        Write(1000);
        using Process replay = AppProcess.Start("Dpctl", ["replay", _folder["in"], "--port", "net_null0", "--rate",
            "100pps", "--stats-period", "0.1", .. own]);
        while (replay.StandardOutput.ReadLine() is { } line && !line.Contains(" s  net_null0  sent ",
            StringComparison.Ordinal))
        {
        }
        AppProcess.Signal(replay, AppProcess.SigInt);
        string rest = replay.StandardOutput.ReadToEnd() + replay.StandardError.ReadToEnd();
        Assert.True(replay.WaitForExit(120_000));
        Assert.True(replay.ExitCode == 2 * isFailure, rest);
        Assert.Equal(isFailure == 1, rest.Contains("dpctl: interrupted: ", StringComparison.Ordinal));
        Assert.Equal(isFailure == 0, rest.Contains("every packet accounted for", StringComparison.Ordinal));
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
