using System.Diagnostics;
using System.Text.Json;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Telemetry as DPDK's own client reads it, beside what DPDK's own application tells it.</summary>
public sealed class TelemetryInteropTests : IDisposable
{
    private readonly string _prefix = $"interop-{Guid.NewGuid():N}";
    private readonly Eal _eal;
    private readonly Mempool _pool;
    private readonly PortList _ports;

    public TelemetryInteropTests()
    {
        Programs.Require("dpdk-telemetry.py");
        _eal = Eal.Initialize(new EalOptions
        {
            NoHuge = true, NoPci = true, FilePrefix = _prefix, Telemetry = true,
            Lcores = [new(0, CpuSet.Of(AppProcess.Cpus))], Vdevs = ["net_null0", "net_null1"],
        });
        _pool = Mempool.CreateMbufPool(_eal.Memory, "mb_pool_0", 2047, cacheSize: 0);
        _ports = PortList.Probe(_eal, Drivers.All);
        foreach (Port port in _ports.Ports)
            port.Start(new PortConfig(), _pool);
    }

    public void Dispose()
    {
        _ports.Dispose();
        _pool.Dispose();
        _eal.Dispose();
    }

    [Fact]
    public void DpdkTelemetry_ReadsOurLists()
    {
        using Ring<long> ring = Ring<long>.Create(_eal.Memory, "ours", 64);
        JsonElement[] told = Ask(_prefix, "/ethdev/list", "/mempool/list", "/ring/list", "/eal/lcore/list", "/info",
            "/nothing", "/help,/ring/list");
        Assert.Equal("[0,1]", Compact(told[0]));
        Assert.Equal("[\"mb_pool_0\"]", Compact(told[1]));
        Assert.Equal("[\"ours\"]", Compact(told[2]));
        Assert.Equal("[0]", Compact(told[3]));
        Assert.Equal(Environment.ProcessId, told[4].GetProperty("pid").GetInt32());
        Assert.Equal(JsonValueKind.Null, told[5].ValueKind);
        Assert.True(told[6].TryGetProperty("/ring/list", out _));
        Assert.Contains($"{_prefix}\n", Programs.Run("dpdk-telemetry.py", "-l"), StringComparison.Ordinal);
    }

    [Fact]
    public void DpdkTelemetry_ReadsOurFigures()
    {
        var burst = new Mbuf[32];
        for (int i = 0; i < 10; i++)
        {
            int received = _ports.Ports[0].RxQueues[0].RxBurst(burst);
            Assert.Equal(received, _ports.Ports[1].TxQueues[0].TxBurst(burst.AsSpan(0, received)));
        }
        Assert.True(_pool.TryAllocBulk(burst));
        JsonElement[] told = Ask(_prefix, "/ethdev/stats,0", "/ethdev/stats,1", "/mempool/info,mb_pool_0",
            "/ethdev/xstats,1", "/ethdev/info,1");
        PortStats received0 = _ports.Ports[0].GetStats(), sent1 = _ports.Ports[1].GetStats();
        Assert.Equal(320ul, received0.RxPackets);
        Assert.Equal((received0.RxPackets, received0.RxBytes), (Count(told[0], "ipackets"), Count(told[0], "ibytes")));
        Assert.Equal((sent1.TxPackets, sent1.TxBytes), (Count(told[1], "opackets"), Count(told[1], "obytes")));
        Assert.Equal((2047ul, (ulong)_pool.AvailableCount),
            (Count(told[2], "size"), Count(told[2], "total_cache_count") + Count(told[2], "common_pool_count")));
        foreach (Xstat xstat in _ports.Ports[1].GetXstats())
            Assert.Equal(xstat.Value, Count(told[3], xstat.Name));
        Assert.Equal("net_null1", told[4].GetProperty("name").GetString());
        Mbuf.FreeBulk(burst);
    }

    /// <summary>What the endpoints counters, cpu and memory of dpdk-telemetry-exporter.py ask for and read.</summary>
    [Fact]
    public void TheExportersQuestions_HaveTheirAnswers()
    {
        _eal.Launch(0, lcore =>
        {
            lcore.CountBusy(10);
            return 0;
        });
        _eal.WaitAll();
        foreach (JsonElement port in Ask(_prefix, "/ethdev/list")[0].EnumerateArray())
        {
            JsonElement[] told = Ask(_prefix, $"/ethdev/info,{port}", $"/ethdev/stats,{port}");
            Assert.NotNull(told[0].GetProperty("name").GetString());
            foreach (string key in (string[])["ipackets", "ibytes", "imissed", "rx_nombuf", "ierrors", "opackets",
                "obytes", "oerrors"])
                _ = Count(told[1], key);
        }
        JsonElement lcore = Ask(_prefix, "/eal/lcore/info,0")[0];
        Assert.Equal(AppProcess.Cpus, lcore.GetProperty("cpuset").EnumerateArray().Select(cpu => cpu.GetInt32()));
        Assert.Equal((10ul, 10ul, 0ul),
            (Count(lcore, "total_cycles"), Count(lcore, "busy_cycles"), Count(lcore, "socket")));
        string[] zones = [.. Ask(_prefix, "/eal/memzone_list")[0].EnumerateArray()
            .Select(id => $"/eal/memzone_info,{id}")];
        Assert.NotEmpty(zones);
        foreach (JsonElement zone in Ask(_prefix, zones))
        {
            ulong start = Convert.ToUInt64(zone.GetProperty("Hugepage_base").GetString(), 16);
            Assert.True(start > 0 && Count(zone, "Hugepage_size") * Count(zone, "Hugepage_used")
                >= Count(zone, "Length"));
        }
    }

    [Fact]
    public async Task Keys_OfTestpmdsAnswers_AreInOurs()
    {
        Programs.Require("dpdk-testpmd");
        string theirs = $"testpmd-{Guid.NewGuid():N}";
        int[] cpus = AppProcess.Cpus;
        using Process testpmd = Programs.Start("dpdk-testpmd", "--no-huge", "-m", "256", "--no-pci", "--file-prefix",
            theirs, "--lcores", $"0@{cpus[0]},1@{cpus[^1]}", "--vdev", "net_null0", "--", "-i",
            "--total-num-mbufs=2048");
        try
        {
            string socket = TelemetrySocket.RuntimeDirectory(theirs) + "/dpdk_telemetry.v2";
            await ReadUntilPrompt(testpmd).WaitAsync(TimeSpan.FromMinutes(2));
            Assert.True(File.Exists(socket), "testpmd has no telemetry");
            string[] commands = ["/", "/info", "/ethdev/stats,0", "/ethdev/xstats,0", "/ethdev/info,0",
                "/ethdev/link_status,0", "/mempool/info,mb_pool_0", "/eal/heap_info,0", "/eal/memzone_info,0"];
            foreach ((string command, JsonElement their, JsonElement our) in commands.Zip(Ask(theirs, commands),
                Ask(_prefix, commands)))
            {
                Assert.Equal(their.ValueKind, our.ValueKind);
                Assert.Equal([], Keys(their).Except(Keys(our)).Where(key => !IsGone(command, key)));
            }
        }
        finally
        {
            testpmd.StandardInput.Close();
            testpmd.Kill();
            await testpmd.WaitForExitAsync();
            if (Directory.Exists(TelemetrySocket.RuntimeDirectory(theirs)))
                Directory.Delete(TelemetrySocket.RuntimeDirectory(theirs), recursive: true);
        }
    }

    [Fact]
    public void Forward_WhileItRuns_IsReadByDpdkTelemetry()
    {
        string prefix = $"forward-{Guid.NewGuid():N}";
        using Process forward = AppProcess.Start("Forward", "--no-huge", "--no-pci", "--file-prefix", prefix, "-l",
            AppProcess.Lcores(1), "--vdev", "net_null0", "--vdev", "net_null1", "--", "--stats-period", "0");
        try
        {
            string socket = TelemetrySocket.RuntimeDirectory(prefix) + "/dpdk_telemetry.v2";
            ulong seen = 0;
            Assert.True(SpinWait.SpinUntil(() => File.Exists(socket)
                && Ask(prefix, "/ethdev/stats,0")[0] is { ValueKind: JsonValueKind.Object } stats
                && (seen = Count(stats, "ipackets")) > 0, TimeSpan.FromMinutes(2)), "no packet was counted");
            JsonElement[] told = Ask(prefix, "/ethdev/stats,0", "/eal/lcore/usage", "/eal/params", "/eal/app_params",
                "/mempool/list");
            Assert.True(Count(told[0], "ipackets") > seen);
            Assert.Equal("[0]", Compact(told[1].GetProperty("lcore_ids")));
            Assert.Contains("--no-huge", told[2].EnumerateArray().Select(word => word.GetString()));
            Assert.Equal("[\"--stats-period\",\"0\"]", Compact(told[3]));
            Assert.NotEmpty(told[4].EnumerateArray());
        }
        finally
        {
            AppProcess.Signal(forward, AppProcess.SigInt);
            AppResult result = AppProcess.End(forward);
            Assert.True(result.Exit == 0, result.All);
        }
        Assert.False(Directory.Exists(TelemetrySocket.RuntimeDirectory(prefix)));
    }

    // 22.11 spelt Heap_id so; later releases dropped the counters by queue, which xstats have.
    private static bool IsGone(string command, string key) => key == "Head_id"
        || (command == "/ethdev/stats,0" && key.StartsWith("q_", StringComparison.Ordinal));

    private static async Task ReadUntilPrompt(Process testpmd)
    {
        var said = new System.Text.StringBuilder();
        char[] one = new char[1];
        while (await testpmd.StandardOutput.ReadAsync(one) == 1)
            if (said.Append(one[0]).ToString().EndsWith("testpmd> ", StringComparison.Ordinal))
                return;
        throw new InvalidOperationException($"testpmd ended early:\n{said}");
    }

    private static IEnumerable<string> Keys(JsonElement answer) => answer.ValueKind == JsonValueKind.Object
        ? answer.EnumerateObject().Select(entry => entry.Name) : [];

    private static ulong Count(JsonElement answer, string key) => answer.GetProperty(key).GetUInt64();

    private static string Compact(JsonElement answer) => JsonSerializer.Serialize(answer);

    private static JsonElement[] Ask(string prefix, params string[] commands)
    {
        using Process client = Programs.Start("dpdk-telemetry.py", "-f", prefix);
        client.StandardInput.Write(string.Join('\n', commands) + "\n");
        client.StandardInput.Close();
        Task<string> errors = client.StandardError.ReadToEndAsync();
        string[] lines = client.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        client.WaitForExit();
        Assert.True(client.ExitCode == 0 && lines.Length == commands.Length, string.Join('\n', lines) + errors.Result);
        return [.. lines.Zip(commands, (line, command) =>
            JsonDocument.Parse(line).RootElement.GetProperty(command.Split(',')[0]))];
    }
}
