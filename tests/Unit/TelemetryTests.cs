using System.Text;
using System.Text.Json;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Values, commands and their limits, without a socket.</summary>
public sealed class TelemetryTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions
    {
        NoHuge = true, NoPci = true, NoTelemetry = true, Lcores = [new(0, Affinity.Get())],
        Vdevs = ["net_null0", "net_null1"],
    });

    public void Dispose() => _eal.Dispose();

    [Fact]
    public void Commands_OfTheTable_AreListedAndHaveHelp()
    {
        using PortList ports = PortList.Probe(_eal, Drivers.All);
        string[] list = [.. Ask("/").EnumerateArray().Select(command => command.GetString()!)];
        Assert.Equal(list.Order(StringComparer.Ordinal), list);
        Assert.Superset(new HashSet<string>(["/", "/info", "/help", "/eal/params", "/eal/app_params",
            "/eal/memzone_list", "/eal/memzone_info", "/eal/heap_list", "/eal/heap_info", "/eal/memseg_lists",
            "/eal/memseg_list_info", "/eal/memseg_info", "/eal/mem_element_list", "/eal/mem_element_info",
            "/eal/lcore/list", "/eal/lcore/info", "/eal/lcore/usage", "/ethdev/list", "/ethdev/stats",
            "/ethdev/xstats", "/ethdev/link_status", "/ethdev/info", "/ethdev/macs", "/ethdev/flow_ctrl",
            "/ethdev/rx_queue", "/ethdev/tx_queue", "/ethdev/rss_info", "/ethdev/vlan", "/ethdev/regs",
            "/mempool/list", "/mempool/info", "/ring/list", "/ring/info"]), new HashSet<string>(list));
        foreach (string command in list)
            Assert.NotEqual("", Ask("/help," + command).GetProperty(command).GetString());
    }

    [Fact]
    public void Ports_TellTheirCountersAndSettings()
    {
        using Mempool pool = Mempool.CreateMbufPool(_eal.Memory, "told", 511, cacheSize: 32);
        using PortList ports = PortList.Probe(_eal, Drivers.All);
        Port port = ports.Ports[0];
        port.Start(new PortConfig(), pool, 64);
        var burst = new Mbuf[8];
        Assert.Equal(8, port.RxQueues[0].RxBurst(burst));
        Assert.Equal(8, port.TxQueues[0].TxBurst(burst));

        Assert.Equal([0, 1], Ask("/ethdev/list").EnumerateArray().Select(id => id.GetInt32()));
        JsonElement stats = Ask("/ethdev/stats,0");
        Assert.Equal((8, 8), (stats.GetProperty("ipackets").GetInt32(), stats.GetProperty("opackets").GetInt32()));
        Assert.Equal(8, Ask("/ethdev/xstats,0").GetProperty("rx_q0_packets").GetInt32());
        Assert.False(Ask("/ethdev/xstats,0,hide_zero=true").TryGetProperty("rx_q0_errors", out _));
        JsonElement info = Ask("/ethdev/info,0");
        Assert.Equal("net_null0", info.GetProperty("name").GetString());
        Assert.Equal(1, info.GetProperty("dev_started").GetInt32());
        JsonElement queue = Ask("/ethdev/rx_queue,0");
        Assert.Equal(("told", 64),
            (queue.GetProperty("mempool_name").GetString(), queue.GetProperty("nb_desc").GetInt32()));
        Assert.Equal(JsonValueKind.Null, Ask("/ethdev/rx_queue,0,1").ValueKind);
        Assert.Equal(JsonValueKind.Null, Ask("/ethdev/rss_info,0").ValueKind);
        foreach (string wrong in (string[])["/ethdev/stats", "/ethdev/stats,", "/ethdev/stats,2", "/ethdev/stats,x",
            "/ethdev/stats,-1", "/ethdev/stats,99999999999", "/ethdev/regs,0", "/ethdev/flow_ctrl,0"])
            Assert.Equal(JsonValueKind.Null, Ask(wrong).ValueKind);
        ports.Detach(ports.Ports[1]);
        Assert.Equal(JsonValueKind.Null, Ask("/ethdev/stats,1").ValueKind);
        Assert.Equal(1, Ask("/ethdev/list").GetArrayLength());
    }

    [Fact]
    public void PoolsAndRings_TellTheirLevels()
    {
        using var pool = Mempool.Create(_eal.Memory, "p", 100, 64, cacheSize: 0);
        using Ring<long> ring = Ring<long>.Create(_eal.Memory, "r", 64, producerSync: RingSync.SingleThread);
        Assert.True(ring.TryEnqueue(1) && pool.TryGet(out nint item) && item != 0);
        Assert.Equal(["p"], Ask("/mempool/list").EnumerateArray().Select(name => name.GetString()));
        JsonElement info = Ask("/mempool/info,p");
        Assert.Equal((100, 99),
            (info.GetProperty("size").GetInt32(), info.GetProperty("common_pool_count").GetInt32()));
        Assert.Equal(["r"], Ask("/ring/list").EnumerateArray().Select(name => name.GetString()));
        info = Ask("/ring/info,r");
        Assert.Equal(("SP", "MC", "0x3f"), (info.GetProperty("producer_type").GetString(),
            info.GetProperty("consumer_type").GetString(), info.GetProperty("mask").GetString()));
        Assert.Equal((63, 1), (info.GetProperty("capacity").GetInt32(), info.GetProperty("used_count").GetInt32()));
        Assert.Empty(Ask("/ring/info,none").EnumerateObject());
        Assert.Equal(JsonValueKind.Null, Ask("/mempool/info").ValueKind);
    }

    [Fact]
    public unsafe void Memory_TellsZonesHeapsAndElements()
    {
        Memzone zone = _eal.Memory.ReserveMemzone("zone", 5000);
        JsonElement info = Ask("/eal/memzone_list").EnumerateArray().Select(id => Ask($"/eal/memzone_info,{id}"))
            .Single(told => told.GetProperty("Name").GetString() == "zone");
        Assert.Equal((5000, $"0x{(nuint)zone.Address:x}"),
            (info.GetProperty("Length").GetInt32(), info.GetProperty("Address").GetString()));
        Assert.InRange(info.GetProperty("Hugepage_used").GetInt32(), 2, 3);
        int heap = Ask("/eal/heap_list")[0].GetInt32(), list = Ask("/eal/memseg_lists")[0].GetInt32();
        Assert.Equal("socket_0", Ask($"/eal/heap_info,{heap}").GetProperty("Name").GetString());
        int segment = Ask($"/eal/memseg_list_info,{list}")[0].GetInt32();
        Assert.True(Ask($"/eal/memseg_info,{list},{segment}").GetProperty("Size").GetInt64() > 0);
        int count = Ask($"/eal/mem_element_list,{heap},{list},{segment}").GetProperty("Element_count").GetInt32();
        JsonElement elements = Ask($"/eal/mem_element_info,{heap},{list},{segment},0,1");
        Assert.Equal(Math.Min(2, count), elements.GetProperty("Element_count").GetInt32());
        foreach (string wrong in (string[])["/eal/memzone_info", "/eal/memzone_info,77777", "/eal/heap_info,9",
            "/eal/memseg_info,0", "/eal/memseg_info,60,0", "/eal/mem_element_info,0,0,0,2,1",
            "/eal/mem_element_list,9,0,0"])
            Assert.Equal(JsonValueKind.Null, Ask(wrong).ValueKind);
    }

    [Fact]
    public void Lcores_TellWhatTheyDid()
    {
        _eal.Launch(0, lcore =>
        {
            lcore.CountBusy(100, 2);
            lcore.CountIdle(300, 1);
            return 0;
        });
        _eal.WaitAll();
        JsonElement usage = Ask("/eal/lcore/usage");
        Assert.Equal("0,400,100,25.00%", string.Join(',', usage.GetProperty("lcore_ids")[0],
            usage.GetProperty("total_cycles")[0], usage.GetProperty("busy_cycles")[0],
            usage.GetProperty("usage_ratio")[0]));
        JsonElement info = Ask("/eal/lcore/info,0");
        Assert.Equal(("RTE", 400), (info.GetProperty("role").GetString(), info.GetProperty("total_cycles").GetInt32()));
        Assert.Equal(JsonValueKind.Null, Ask("/eal/lcore/info,1").ValueKind);
    }

    [Fact]
    public void Values_BeyondTheLimits_AreCutOffAndStayJson()
    {
        var array = new TelemetryArray();
        for (int i = 0; i < 600; i++)
            Assert.Equal(i < 512, array.Add(i));
        var dict = new TelemetryDict();
        for (int i = 0; i < 300; i++)
            Assert.Equal(i < 256, dict.Add($"k{i}", new string('x', 500)));
        using IDisposable first = _eal.Telemetry.Register("/t/array", (_, _) => array, "");
        using IDisposable second = _eal.Telemetry.Register("/t/dict", (_, _) => dict, "");
        using IDisposable third = _eal.Telemetry.Register("/t/text", (_, _) =>
            TelemetryValue.Text(new string('"', 9000)), "");
        Assert.Equal(512, Ask("/t/array").GetArrayLength());
        JsonElement told = Ask("/t/dict");
        Assert.Equal(127, told.GetProperty("k0").GetString()!.Length);
        Assert.InRange(told.EnumerateObject().Count(), 100, 125);   // as many as 16,384 bytes hold
        Assert.Equal(JsonValueKind.Null, Ask("/t/text").ValueKind);  // 8,191 of them take 16,382 bytes, and a name
    }

    [Fact]
    public void Values_WithAnyCharacter_AreAsciiJson()
    {
        const string text = "a\"b\\c\n\u00e9\u0001\u2603";
        using IDisposable command = _eal.Telemetry.Register("/t", (_, _) => new TelemetryDict { { text, text } }, "");
        Assert.Equal(text, Ask("/t").GetProperty(text).GetString());
    }

    [Fact]
    public void Register_NamesThatCannotBe_AreRefused()
    {
        foreach (string name in (string[])["", "x", "/a b", "/a,b", "/" + new string('a', 55), "/\u00e9"])
            Assert.Throws<ConfigException>(() => _eal.Telemetry.Register(name, (_, _) => null, ""));
        Assert.Throws<ConfigException>(() => _eal.Telemetry.Register("/a", (_, _) => null, new string('h', 128)));
        _eal.Telemetry.Register("/" + new string('a', 54), (_, _) => null, new string('h', 127)).Dispose();
    }

    [Fact]
    public void Register_ANameTwice_TheLaterHidesTheEarlier()
    {
        IDisposable a = _eal.Telemetry.Register("/n", (_, _) => TelemetryValue.Text("a"), "");
        IDisposable b = _eal.Telemetry.Register("/n", (_, _) => TelemetryValue.Text("b"), "");
        IDisposable c = _eal.Telemetry.Register("/n", (_, p) => throw new InvalidOperationException(p), "");
        Assert.Equal(JsonValueKind.Null, Ask("/n").ValueKind);
        b.Dispose();
        c.Dispose();
        Assert.Equal("a", Ask("/n").GetString());
        a.Dispose();
        Assert.Equal(JsonValueKind.Null, Ask("/n").ValueKind);
        Assert.DoesNotContain("\"/n\"", _eal.Telemetry.Answer("/"u8), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("nonsense", "nonsense")]
    [InlineData(",,/info", "/info")]
    [InlineData(",", "none")]
    [InlineData("a\"b", "a\"b")]
    public void Requests_Malformed_AreEchoedAsJson(string request, string key) =>
        Assert.Equal(key, JsonDocument.Parse(_eal.Telemetry.Answer(Encoding.Latin1.GetBytes(request))).RootElement
            .EnumerateObject().Single().Name);

    [Fact]
    public void Requests_100000Mutated_AreAllAnsweredWithJson()
    {
        using Mempool pool = Mempool.CreateMbufPool(_eal.Memory, "m", 63, cacheSize: 0);
        using PortList ports = PortList.Probe(_eal, Drivers.All);
        ports.Ports[0].Start(new PortConfig(), pool);
        byte[][] seeds = [.. Ask("/").EnumerateArray().SelectMany(command =>
            (string[])[$"{command}", $"{command},0", $"{command},0,0,0,0,1", $"{command},m"])
            .Select(Encoding.Latin1.GetBytes)];
        var random = new Random(4);
        int answered = 0;
        for (int i = 0; i < 100_000; i++)
        {
            byte[] request = Mutate(seeds[random.Next(seeds.Length)], random);
            string answer = _eal.Telemetry.Answer(request);
            Assert.True(answer.Length <= TelemetryValue.MaxOutputBytes);
            using JsonDocument json = JsonDocument.Parse(answer);
            if (json.RootElement.EnumerateObject().Single().Value.ValueKind != JsonValueKind.Null)
                answered++;
        }
        Assert.InRange(answered, 5_000, 95_000);   // else it tested one side only
    }

    internal static byte[] Mutate(byte[] seed, Random random)
    {
        var bytes = new List<byte>(seed);
        for (int left = random.Next(4); left > 0; left--)
        {
            int at = random.Next(bytes.Count + 1);
            switch (random.Next(4))
            {
                case 0:
                    bytes.Insert(at, (byte)random.Next(256));
                    break;
                case 1 when at < bytes.Count:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 2 when at < bytes.Count:
                    bytes.RemoveRange(at, random.Next(bytes.Count - at + 1));
                    break;
                default:
                    string[] words = [",", "4294967295", "-1", "0x", "99999999999999999999", "\0", "//"];
                    bytes.InsertRange(at, Encoding.ASCII.GetBytes(words[random.Next(words.Length)]));
                    break;
            }
        }
        return [.. bytes];
    }

    private JsonElement Ask(string request)
    {
        string answer = _eal.Telemetry.Answer(Encoding.Latin1.GetBytes(request));
        Assert.True(answer.Length <= TelemetryValue.MaxOutputBytes && Ascii.IsValid(answer));
        return JsonDocument.Parse(answer).RootElement.GetProperty(request.Split(',')[0]);
    }
}
