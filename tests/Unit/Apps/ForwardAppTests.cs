using System.Diagnostics;
using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>Forward as a user runs it, on ports that need no rights.</summary>
public sealed class ForwardAppTests
{
    private static readonly string[] s_null = ["net_null0", "net_null1"], s_wire = ["net_wire0", "net_wire1"];

    private static string[] Eal(int lcores, params string[] vdevs) =>
        ["--no-huge", "-l", AppProcess.Lcores(lcores), .. vdevs.SelectMany(vdev => (string[])["--vdev", vdev])];

    private static (AppResult Result, JsonElement Report) Forward(string[] eal, params string[] own) =>
        AppProcess.RunWithReport("Forward", eal, ["--duration", own.Contains("--rxq") ? "2" : "0.5", "--stats-period",
            "0.1", .. own]);

    private static AppResult Fail(string[] eal, params string[] own) =>
        AppProcess.Run("Forward", [.. eal, "--", "--duration", "0.1", .. own]);

    [Fact]
    public void Demo_NoArguments_EveryPacketArrivesInOrder()
    {
        AppResult result = AppProcess.Run("Forward");
        Assert.True(result.Exit == 0, result.All);
        Assert.Contains("every packet accounted for", result.Output, StringComparison.Ordinal);
        // One line a second, five seconds long; fewer where the machine is busy.
        Assert.InRange(result.Output.Split('\n').Count(line => line.Contains(" s  net_wire1 ")), 1, 5);
        Assert.Matches(@"far ends: generated [1-9][0-9,]+, checked [1-9][0-9,]+, lost 0, out of order 0, corrupted 0",
            result.Output);
    }

    [Fact]
    public void Demo_OptionsOfItsOwn_AreHeeded()
    {
        AppResult result = AppProcess.Run("Forward", "--", "--duration", "0.5", "--forward-mode", "macswap", "--burst",
            "16");
        Assert.True(result.Exit == 0, result.All);
        Assert.Matches(@"macswap, burst 16, [0-4]\.[0-9]+ s", result.Output);
        Assert.Contains("every packet accounted for", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Bond_WithItsMembersOnTheCommandLine_IsForwardedTo()
    {
        (AppResult result, JsonElement report) = Forward(Eal(1, "net_null0", "net_null1",
            "net_bonding0,mode=2,member=net_null0,member=net_null1", "net_null2"));
        (result, report).AssertAccounted();
        JsonElement[] ports = [.. report.GetProperty("ports").EnumerateArray()];
        Assert.Equal(["net_bonding0", "net_null2"], ports.Select(port => port.GetProperty("name").GetString()));
        Assert.All(ports, port => Assert.InRange(port.Long("txPackets"), 1, long.MaxValue));
    }

    [Theory]
    [InlineData("--forward-mode rxonly in the demo", "--forward-mode", "rxonly")]
    [InlineData("more than one queue", "--rxq", "2")]
    public void Demo_WhatWouldLosePackets_IsRefused(string what, params string[] own) =>
        AppProcess.Run("Forward", ["--", .. own]).AssertFails(what, "--vdev net_null0");

    [Theory]
    [InlineData("io")]
    [InlineData("mac", "--eth-peer", "1,02:00:00:00:00:99")]
    [InlineData("macswap")]
    [InlineData("5tswap")]
    [InlineData("csum")]
    [InlineData("icmpecho")]
    [InlineData("rxonly")]
    [InlineData("txonly", "--txpkts", "1514")]
    [InlineData("flowgen", "--flows", "64")]
    [InlineData("noisy", "--noisy-tx-sw-buffer-size", "100", "--noisy-tx-sw-buffer-flushtime", "1",
        "--noisy-lkup-memory", "1",
        "--noisy-lkup-num-reads", "2", "--noisy-lkup-num-writes", "2")]
    public void Forward_EachModeThroughNullRingAndWire_IsAccountedFor(string mode, params string[] own)
    {
        // Chained: what the null ports make goes by way of every ring and wire.
        var run = Forward(Eal(2, "net_null0", "net_null1", "net_ring0", "net_ring1", "net_wire0", "net_wire1"),
            ["--port-topology", "chained", "--forward-mode", mode, .. own]);
        run.AssertAccounted();
        Assert.Equal(mode, run.Report.GetProperty("mode").GetString());
        Assert.True(run.Report.GetProperty("packets").Long("received") > 0, run.Result.All);
    }

    [Theory]
    [InlineData("macswap")]
    [InlineData("noisy", "--noisy-tx-sw-buffer-size", "100")]
    [InlineData("txonly")]
    public void Forward_Recorded_TellsCyclesBurstsAndLatency(string mode, params string[] own)
    {
        var run = Forward(Eal(1, s_null), ["--forward-mode", mode, "--latency", "--record-core-cycles",
            "--record-burst-stats", .. own]);
        run.AssertAccounted();
        JsonElement stream = run.Report.GetProperty("lcores")[0].GetProperty("streams")[0];
        JsonElement record = stream.GetProperty("record");
        Assert.Equal(stream.Long("received"), record.Long("packets"));
        Assert.Equal(stream.Long("received"), record.GetProperty("receivedBursts").EnumerateArray()
            .Sum(size => size.Long("packets") * size.Long("count")));
        Assert.Equal(stream.Long("sent"), record.GetProperty("sentBursts").EnumerateArray()
            .Sum(size => size.Long("packets") * size.Long("count")));
        Assert.True(record.Long("receiveCycles") > 0 && record.Long("modeCycles") > 0 && record.Long("sendCycles") > 0);
        Assert.Contains("RX-bursts : ", run.Result.Output, StringComparison.Ordinal);
        Assert.Contains("cycles/packet: receive ", run.Result.Output, StringComparison.Ordinal);
        JsonElement latency = run.Report.GetProperty("latency");
        long sent = run.Report.GetProperty("packets").Long("sent");
        Assert.Equal(mode == "txonly" ? 0 : sent, latency.Long("samples"));
        Assert.True(mode == "txonly" || latency.GetProperty("min").GetDouble() > 0);
    }

    [Fact]
    public void Forward_ManyFlowsOverFourQueues_ReachEveryQueueAndLcore()
    {
        var run = Forward(Eal(4, s_wire), "--forward-mode", "flowgen", "--rxq", "4");
        run.AssertAccounted();
        JsonElement[] lcores = [.. run.Report.GetProperty("lcores").EnumerateArray()];
        Assert.Equal(4, lcores.Length);
        Assert.Equal(8, lcores.SelectMany(lcore => lcore.GetProperty("streams").EnumerateArray())
            .Count(stream => stream.Long("received") > 0));
    }

    [Fact]
    public void Forward_OneFlowOverFourQueues_ReachesOne()
    {
        var run = Forward(Eal(1, s_wire), "--forward-mode", "txonly", "--rxq", "4");
        run.AssertAccounted();
        Assert.Equal(2, run.Report.GetProperty("lcores")[0].GetProperty("streams").EnumerateArray()
            .Count(stream => stream.Long("received") > 0));
    }

    [Fact]
    public void Forward_NbCores_UsesSoManyOfTheLcores()
    {
        var run = Forward(Eal(3, s_null), "--nb-cores", "1");
        run.AssertAccounted();
        JsonElement only = Assert.Single(run.Report.GetProperty("lcores").EnumerateArray());
        Assert.Equal(2, only.GetProperty("streams").GetArrayLength());
    }

    [Theory]
    [InlineData("paired", "1 0 2")]
    [InlineData("chained", "1 2 0")]
    [InlineData("loop", "0 1 2")]
    public void Forward_Topology_JoinsPortsAsItSays(string topology, string peers)
    {
        var run = Forward(Eal(1, "net_null0", "net_null1", "net_null2"), "--port-topology", topology);
        run.AssertAccounted();
        Assert.Equal(peers.Split(' ').Select(peer => $"net_null{peer}"),
            run.Report.GetProperty("lcores")[0].GetProperty("streams")
            .EnumerateArray().Select(stream => stream.GetProperty("txPort").GetString()));
    }

    [Fact]
    public void Forward_PoolTooSmall_CountsWhatItCouldNotReceive()
    {
        // The FIFO holds all 64 mbufs, so the null port finds none for its next packets.
        var run = Forward(Eal(1, s_null), "--total-num-mbufs", "64", "--mbcache", "0", "--forward-mode", "noisy",
            "--noisy-tx-sw-buffer-size", "1000");
        run.AssertAccounted();
        Assert.True(run.Report.Sum("ports", "rxNoMbuf") > 0, run.Result.All);
    }

    [Fact]
    public void Forward_GeneratorWithoutMbufs_CountsThem()
    {
        var run = Forward(Eal(1, s_wire), "--total-num-mbufs", "31", "--mbcache", "0", "--forward-mode", "txonly");
        run.AssertAccounted();
        Assert.True(run.Report.GetProperty("packets").Long("noMbuf") > 0, run.Result.All);
    }

    [Fact]
    public void Forward_OversizeFrames_AreCountedAsErrorsAndNotReceived()
    {
        var run = Forward(Eal(1, s_wire), "--forward-mode", "txonly", "--txpkts", "1600", "--mtu", "1500");
        run.AssertAccounted();
        Assert.Equal(0, run.Report.GetProperty("packets").Long("received"));
        Assert.True(run.Report.Sum("ports", "rxErrors") > 0, run.Result.All);
    }

    [Fact]
    public void Forward_GeneratedFrameLongerThanAMbuf_IsRefused() =>
        Fail(Eal(1, s_wire), "--forward-mode", "txonly", "--txpkts", "9000")
            .AssertFails("--txpkts 9000", "--mbuf-size 9128");

    [Fact]
    public void Forward_TxFirst_SendsSoManyAndTheyGoRound()
    {
        var run = Forward(Eal(1, s_wire), "--tx-first", "3", "--burst", "16");
        run.AssertAccounted();
        JsonElement packets = run.Report.GetProperty("packets");
        Assert.Equal(2 * 3 * 16, packets.Long("generated"));
        Assert.True(packets.Long("received") > 10 * packets.Long("generated"), run.Result.All);
    }

    [Fact]
    public void Forward_RingFull_DropsAreCounted()
    {
        // Nothing comes out of a one-way ring: it fills, and the rest is dropped here.
        var run = Forward(Eal(1, "net_null0", "net_ring0,size=64", "net_wire0", "net_wire1,drop=1"), "--forward-mode",
            "io");
        run.AssertAccounted();
        JsonElement packets = run.Report.GetProperty("packets");
        Assert.Equal(packets.Long("received"), packets.Long("sent") + packets.Long("droppedTxFull"));
    }

    [Theory]
    [InlineData(AppProcess.SigInt, 1)]
    [InlineData(AppProcess.SigTerm, 1)]
    [InlineData(AppProcess.SigTerm, 2)]   // as timeout(1) does
    public void Forward_Signal_StopsAndPrintsStatistics(int signal, int times)
    {
        using Process process = AppProcess.Start("Forward", [.. Eal(2, s_wire), "--", "--forward-mode", "txonly",
            "--stats-period", "0.1"]);
        string? line = process.StandardOutput.ReadLine();
        Assert.True(line != null, process.HasExited ? process.StandardError.ReadToEnd() : "no output");
        var clock = Stopwatch.StartNew();
        for (int i = 0; i < times; i++)
            AppProcess.Signal(process, signal);
        AppResult result = AppProcess.End(process);
        Assert.True(result.Exit == 0, result.All);
        Assert.Contains("every packet accounted for", result.Output, StringComparison.Ordinal);
        // 1 s, if the machine is not loaded.
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(30), $"it took {clock.Elapsed}");
    }

    [Fact]
    public void Forward_MisspeltEalOption_NamesTheNearest() =>
        Fail(["--vdve", "net_null0"]).AssertFails("--vdve", "did you mean --vdev?");

    [Theory]
    [InlineData("--brust", "--brust", "--burst", "--brust", "8")]
    [InlineData("--burst wants 1 to 512", "600", "--burst", "600")]
    [InlineData("abc", "--burst", "--burst", "abc")]
    [InlineData("mack", "macswap", "--forward-mode", "mack")]
    [InlineData("--duration wants", "-1", "--duration", "-1")]
    [InlineData("such as 0.5, not 0,5", "0,5", "--duration", "0,5")]
    [InlineData("--stats-period wants", "NaN", "--stats-period", "NaN")]
    [InlineData("--eth-peer foo", "PORT,MAC", "--eth-peer", "foo")]
    [InlineData("a peer already", "give it once", "--eth-peer", "1,02:00:00:00:00:01", "--eth-peer",
        "1,02:00:00:00:00:02")]
    [InlineData("there is no directory /nonexistent", "mkdir -p", "--json", "/nonexistent/x.json")]
    [InlineData("--txq 1 is less than --rxq 4", "leave --txq out", "--rxq", "4", "--txq", "1")]
    [InlineData("have no interrupts", "net_null", "--rx-interrupts")]
    [InlineData("packets to send when none come in", "leave --rx-interrupts out", "--rx-interrupts", "--forward-mode",
        "flowgen")]
    [InlineData("1 receive and 1 transmit queues", "--rxq 2", "--rxq", "2")]
    public void Forward_BadOption_SaysWhichAndWhy(string what, string more, params string[] own)
    {
        string[] ports = own is ["--rxq", "2"] ? ["net_ring0,queues=1", "net_ring1,queues=1"] : s_null;
        string[] arguments = own[0] == "--duration" ? own : ["--duration", "0.1", .. own];
        AppResult result = AppProcess.Run("Forward", [.. Eal(1, ports), "--", .. arguments]);
        // The parser's own suggestions go to standard output.
        (result with { Errors = result.Errors + result.Output }).AssertFails(what, more);
    }

    [Theory]
    [InlineData("net_nul0", "net_null")]
    [InlineData("net_wire0,dealy=3", "did you mean delay?")]
    [InlineData("net_null0,size=9999999", "size")]
    [InlineData("net_null0,size=abc", "size")]
    [InlineData("net_wire0,loss=101", "loss")]
    public void Forward_BadVdev_SaysWhatItTakes(string vdev, string words) => Fail(Eal(1, vdev)).AssertFails(words);

    [Fact]
    public void Forward_NoPort_SaysHowToNameOne() =>
        Fail(["--no-huge"]).AssertFails("there is no port to forward on", "--vdev");
}
