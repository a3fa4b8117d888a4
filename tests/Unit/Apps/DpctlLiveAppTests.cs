using System.Diagnostics;
using System.Text.Json;
using Dataplane.Dpctl;

namespace Dataplane.Tests;

/// <summary><c>dpctl top</c> and <c>dpctl trace</c> of a running Forward.</summary>
public sealed class DpctlLiveAppTests : IDisposable
{
    private readonly string _prefix = $"live-{Guid.NewGuid():N}";
    private readonly List<Process> _apps = [];

    public void Dispose()
    {
        foreach (Process app in _apps)
        {
            if (!app.HasExited)
                app.Kill();
            app.Dispose();
        }
        // Those that were killed left theirs behind.
        string folder = TelemetrySocket.RuntimeDirectory(_prefix);
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void Top_RunningForward_ShowsItUntilItEnds()
    {
        Process forward = Forward(["net_null0", "net_null1"], "--forward-mode", "rxonly");
        AppResult once = Dpctl("top", "--once", "--interval", "0.5");
        Assert.True(once.Exit == 0, once.All);
        Assert.Contains($"{_prefix}: Forward, pid {forward.Id}, Dataplane ", once.Output, StringComparison.Ordinal);
        Assert.Matches(@"\nport net_null0: rx [0-9.]+ [kMG]pps [0-9.]+ [kMG]bit/s  tx 0 pps", once.Output);
        Assert.Matches(@"\n  queue rx0: [0-9.]+ [kMG]pps .* mean burst 32.0  lost 0", once.Output);
        Assert.Matches(@"\nlcore 0: busy [0-9]+ %  [0-9.]+ cycles/packet  [0-9.]+ [kMG]pps", once.Output);
        Assert.Matches(@"\npool forward_0: [0-9,]+ of [0-9,]+ in use", once.Output);
        Assert.Matches(@"\ndrops, forward: ended here: [0-9,]+, now [0-9.]+ [kMG]/s", once.Output);

        AppResult json = Dpctl("top", "--json", "--count", "2", "--interval", "0.1");
        Assert.True(json.Exit == 0, json.All);
        JsonElement[] looks = [.. json.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line =>
            JsonDocument.Parse(line).RootElement)];
        Assert.Equal(2, looks.Length);
        Assert.All(looks, look => Assert.Equal((forward.Id, 2), (look.GetProperty("pid").GetInt32(),
            look.GetProperty("ports").GetArrayLength())));
        Assert.All(looks, look => Assert.True(look.GetProperty("lcores")[0].GetProperty("pps").GetDouble() > 0));

        using Process top = AppProcess.Start("Dpctl", "top", "-f", _prefix, "--interval", "0.1");
        while (top.StandardOutput.ReadLine() is { } line && !line.StartsWith("drops", StringComparison.Ordinal))
        {
        }
        AppProcess.Signal(forward, AppProcess.SigInt);
        string rest = top.StandardOutput.ReadToEnd();
        Assert.True(top.WaitForExit(120_000));
        Assert.True(top.ExitCode == 0, rest);
        Assert.Contains("has ended", rest, StringComparison.Ordinal);
    }

    [Fact]
    public void Top_SeveralOrNone_SaysWhichThereAre()
    {
        AppResult none = Dpctl("top", "--once");
        Assert.True(none.Exit == 2, none.All);
        Assert.Contains("there is no such application", none.Errors, StringComparison.Ordinal);
        int[] pids = [Forward(["net_null0"]).Id, Forward(["net_null0"]).Id];
        AppResult both = Dpctl("top", "--once");
        Assert.True(both.Exit == 2, both.All);
        Assert.All(pids, pid => Assert.Contains($"pid {pid}, Dataplane", both.Errors, StringComparison.Ordinal));
        AppResult one = Dpctl("top", "--once", "--interval", "0.1", "--pid", $"{pids[1]}");
        Assert.True(one.Exit == 0, one.All);
        Assert.Contains($"pid {pids[1]}", one.Output, StringComparison.Ordinal);
        AppResult first = AppProcess.Run("Dpctl", "top", "-f", _prefix + ":1", "--once", "--interval", "0.1");
        Assert.True(first.Exit == 0, first.All);
        Assert.StartsWith($"{_prefix}:1: Forward, pid ", first.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("io", @"received by net_null0 queue 0 on lcore 0  \+\d+ offered to net_null1 queue 0  \+\d+ sent by "
        + @"net_null1 queue 0  = \d+ cycles, \d+ ns")]
    [InlineData("rxonly", @"received by net_null0 queue 0 on lcore 0  \+\d+ DROPPED: the mode sends nothing  = ")]
    [InlineData("icmpecho", @"received by net_null0 queue 0 on lcore 0  \+\d+ DROPPED: nothing to answer  = ")]
    [InlineData("noisy", @"received by net_null0 queue 0 on lcore 0  \+\d+ held in the FIFO  \+\d+ offered to "
        + @"net_null1 queue 0  \+\d+ sent by net_null1 queue 0  = ")]
    public void Trace_Mode_TellsEveryPacketsWay(string mode, string way)
    {
        Process forward = Forward(["net_null0", "net_null1"], mode == "noisy" ? ["--forward-mode", mode,
            "--noisy-tx-sw-buffer-size", "64"] : ["--forward-mode", mode]);
        AppResult trace = Dpctl("trace", "-c", "40", "-i", "net_null0", "--wait", "100");
        Assert.True(trace.Exit == 0, trace.All);
        string[] lines = trace.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(80, lines.Length);
        for (int i = 0; i < 40; i++)
        {
            Assert.Matches($@"^#{i + 1}  .*, 64 bytes$", lines[2 * i]);
            Assert.Matches("^    " + way, lines[2 * i + 1]);
        }
        End(forward);
    }

    [Fact]
    public void Trace_QueueThatTakesAFew_TellsSentRefusedAndDropped()
    {
        // 0 and 1, 2 and 3: what the null ports make goes into a cable that carries ten a second. More than it holds,
        // so that it overflows also where the forwarder had to wait for its CPU.
        Process forward = Forward(["net_null0", "net_wire0,pps=10", "net_null1", "net_wire1,pps=10"]);
        AppResult trace = Dpctl("trace", "-c", "1000", "-i", "0", "--wait", "100");
        Assert.True(trace.Exit == 0, trace.All);
        Assert.Matches(@"offered to net_wire0 queue 0  \+\d+ refused: queue full by net_wire0 queue 0  \+\d+ DROPPED: "
            + "transmit queue full  = ", trace.Output);
        End(forward);
    }

    [Fact]
    public void Trace_Filter_FollowsThoseAlone()
    {
        Assert.SkipUnless(Native.Pcap.IsInstalled, "needs libpcap: sudo apt install libpcap0.8");
        Process forward = Forward(["net_null0", "net_null1"]);
        AppResult all = Dpctl("trace", "-c", "3", "--filter", "len = 64", "--wait", "100");
        Assert.True(all.Exit == 0 && all.Output.Contains("#3 ", StringComparison.Ordinal), all.All);
        AppResult none = Dpctl("trace", "-c", "3", "-i", "1", "--filter", "len > 64", "--wait", "0.3");
        Assert.True(none.Exit == 2 && none.Errors.Contains("0 of 3 packets", StringComparison.Ordinal), none.All);
        AppResult wrong = Dpctl("trace", "--filter", "porta 80");
        Assert.True(wrong.Exit == 2 && wrong.Errors.Contains("porta 80", StringComparison.Ordinal), wrong.All);
        End(forward);
    }

    [Fact]
    public void Trace_NothingComes_SaysHowManyDid()
    {
        Process forward = Forward(["net_ring0"]);
        AppResult trace = Dpctl("trace", "-c", "5", "--wait", "0.3");
        Assert.True(trace.Exit == 2, trace.All);
        Assert.Contains("0 of 5 packets came", trace.Errors, StringComparison.Ordinal);
        End(forward);
    }

    /// <summary>A Forward whose streams answer.</summary>
    private Process Forward(string[] vdevs, params string[] own)
    {
        Process app = AppProcess.Start("Forward", ["--no-huge", "-l", AppProcess.Lcores(1), "--file-prefix", _prefix,
            .. vdevs.SelectMany(vdev => (string[])["--vdev", vdev]), "--", "--stats-period", "0", .. own]);
        _apps.Add(app);
        Assert.True(SpinWait.SpinUntil(() => app.HasExited || IsRunning(app.Id), TimeSpan.FromMinutes(2)));
        if (app.HasExited)
            Assert.Fail(app.StandardError.ReadToEnd());
        return app;
    }

    private static bool IsRunning(int pid)
    {
        RunningApp? found = TelemetryClient.FindAll().FirstOrDefault(app => app.Pid == pid);
        using TelemetryClient? client = found == null ? null : TelemetryClient.TryConnect(found.Prefix, found.Path);
        if (client?.Ask("/eal/lcore/usage") is { } usage)
            return ((JsonElement?)usage).Numbers("total_cycles").Any(cycles => cycles > 0);
        Thread.Sleep(20);
        return false;
    }

    /// <summary>Every packet must still be accounted for.</summary>
    private static void End(Process forward)
    {
        AppProcess.Signal(forward, AppProcess.SigInt);
        string output = forward.StandardOutput.ReadToEnd();
        Assert.True(forward.WaitForExit(120_000));
        Assert.True(forward.ExitCode == 0, output);
        Assert.Contains(" 0 bytes allocated", output, StringComparison.Ordinal);
    }

    private AppResult Dpctl(string verb, params string[] more) =>
        AppProcess.Run("Dpctl", [verb, "-f", _prefix, .. more]);
}
