using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Dataplane.Dpctl;

namespace Dataplane.Tests;

/// <summary>dpctl's view of an application, which here is made up.</summary>
public sealed class DpctlLiveTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("dp-live-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public void Top_TwoSamples_AreRatesLoadsAndLevels()
    {
        using var app = new FakeApp(_folder, new()
        {
            ["/ethdev/list"] = "[3]",
            ["/ethdev/info,3"] = """{"name":"net_x"}""",
            ["/ethdev/link_status,3"] = """{"status":"UP"}""",
            ["/ethdev/stats,3"] = """{"ipackets":1000,"ibytes":64000,"opackets":0,"obytes":0,"""
                + "\"imissed\":5,\"ierrors\":0}",
            ["/ethdev/xstats,3"] = Queue(1000, 64000, 100),
            ["/eal/lcore/usage"] = """{"lcore_ids":[2],"total_cycles":[10000],"busy_cycles":[1000]}""",
            ["/forward/streams"] = """[{"lcore":2,"received":1000,"generated":0}]""",
            ["/mempool/list"] = """["p"]""",
            ["/mempool/info,p"] = """{"size":100,"common_pool_count":20,"total_cache_count":5}""",
            ["/ring/list"] = """["r"]""",
            ["/ring/info,r"] = """{"capacity":8,"used_count":2}""",
            ["/dataplane/drops"] = """{"forward: ended here":7,"never":0}""",
        });
        using TelemetryClient client = app.Connect();
        var sampler = new AppSampler(client);
        AppSample before = sampler.Read() with { Seconds = 10 };
        app.Answers["/ethdev/stats,3"] = """{"ipackets":5000,"ibytes":320000,"opackets":2,"obytes":120,"imissed":5}""";
        app.Answers["/ethdev/xstats,3"] = Queue(5000, 320_000, 300);
        app.Answers["/eal/lcore/usage"] = """{"lcore_ids":[2],"total_cycles":[210000],"busy_cycles":[101000]}""";
        app.Answers["/forward/streams"] = """[{"lcore":2,"received":5000,"generated":0}]""";
        app.Answers["/dataplane/drops"] = """{"forward: ended here":27,"never":0}""";
        AppSample now = sampler.Read() with { Seconds = 12 };
        var text = new StringWriter { NewLine = "\n" };
        TopText.Print(before, now, text);
        Assert.Equal("""
            port net_x: rx 2.000 kpps 1.024 Mbit/s  tx 1 pps 480 bit/s  missed 5  rx errors 0  no mbuf 0  tx errors 0
              queue rx0: 2.000 kpps 1.024 Mbit/s  mean burst 20.0  lost 5
            lcore 2: busy 50 %  25.0 cycles/packet  2.000 kpps
            pool p: 75 of 100 in use (75 %)
            ring r: 2 of 8 in use (25 %)
            drops, receive: nobody polled in time: 5, now 0 /s
            drops, forward: ended here: 27, now 10 /s

            """, text.ToString());
        Assert.Equal("""
            {"app":"p","pid":1,"version":"test","seconds":2,"ports":[{"id":3,"name":"net_x","up":true,"rxPps":2000,
            "rxBitsPerSecond":1024000,"txPps":1,"txBitsPerSecond":480,"rxPackets":5000,"rxBytes":320000,"txPackets":2,
            "txBytes":120,"rxMissed":5,"rxErrors":0,"rxNoMbuf":0,"txErrors":0,"queues":[{"name":"rx0","pps":2000,
            "bitsPerSecond":1024000,"meanBurst":20,"lost":5}]}],"lcores":[{"id":2,"busyPercent":50,
            "cyclesPerPacket":25,"pps":2000}],"pools":[{"name":"p","used":75,"size":100}],
            "rings":[{"name":"r","used":2,"size":8}],
            """.ReplaceLineEndings(""), TopJson.Of(new("p", "", 1, "test"), before, now).ToJsonString()
            .Split("\"drops\"")[0]);
    }

    [Fact]
    public void Drops_OfSeveralPorts_AreAdded()
    {
        using var app = new FakeApp(_folder, new()
        {
            ["/ethdev/list"] = "[3,4]",
            ["/ethdev/stats,3"] = """{"imissed":5,"ierrors":10,"rx_nombuf":100,"oerrors":1000}""",
            ["/ethdev/stats,4"] = """{"imissed":2,"ierrors":30,"rx_nombuf":400,"oerrors":5000}""",
        });
        using TelemetryClient client = app.Connect();
        Assert.Equal(new Dictionary<string, ulong>
        {
            ["receive: nobody polled in time"] = 7, ["receive: bad packet"] = 40, ["receive: no mbuf"] = 500,
            ["transmit: refused"] = 6000,
        }, new AppSampler(client).Read().Drops);
    }

    [Fact]
    public void Client_ApplicationIsSilent_IsNotTakenForItsEnd()
    {
        using var app = new FakeApp(_folder, new() { ["/a"] = "" });
        using TelemetryClient client = app.Connect();
        client.PatienceMilliseconds = 50;
        var e = Assert.Throws<DataplaneException>(() => client.Ask("/a"));
        Assert.Equal(Errno.ETIMEDOUT, e.Errno);
        Assert.Contains("does not answer", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Trace_PacketLeftOut_IsAskedForAgainOrMissed()
    {
        string packet(int index) => $"{{\"index\":{index},\"end\":\"sent\","
            + Stages("received", "5", "0", "0") + "}";
        using var app = new FakeApp(_folder, new()
        {
            ["/dataplane/trace,4"] = """{"trace":9,"wanted":4}""",
            ["/dataplane/trace/read,0"] = Page(packet(0) + "," + packet(2)),
            ["/dataplane/trace/read,1"] = Page(packet(1) + "," + packet(2)),
            ["/dataplane/trace/read,3"] = Page(packet(4)),
        });
        using TelemetryClient client = app.Connect();
        var text = new StringWriter { NewLine = "\n" };
        Assert.Contains("leaves out packet #4", Assert.Throws<DataplaneException>(() =>
            TraceCommand.Run(client, 4, null, CancellationToken.None, text, text)).Message);
        Assert.Equal(["#1", "#2", "#3"], text.ToString().Split('\n').Where(line => line.StartsWith('#'))
            .Select(line => line[..2]));
    }

    [Theory]
    [InlineData("""{"ipackets":"many","ibytes":-3}""", "[1,2]", "{}")]
    [InlineData("[]", """{"lcore_ids":[0,1],"total_cycles":[5]}""", """[null,5,{"lcore":"x"}]""")]
    [InlineData("null", "7", "\"text\"")]
    public void Top_AnswersOfOtherShapes_AreTakenForNothing(string stats, string usage, string streams)
    {
        using var app = new FakeApp(_folder, new()
        {
            ["/ethdev/list"] = "[0,\"one\",-1,99999999999]",
            ["/ethdev/stats,0"] = stats,
            ["/ethdev/xstats,0"] = """{"rx_q0_packets":[]}""",
            ["/eal/lcore/usage"] = usage,
            ["/forward/streams"] = streams,
            ["/mempool/list"] = "[1,{},\"p\"]",
            ["/mempool/info,p"] = """{"size":1,"common_pool_count":18446744073709551615}""",
            ["/ring/list"] = "{}",
            ["/dataplane/drops"] = """{"a":[],"b":1e99}""",
        });
        using TelemetryClient client = app.Connect();
        AppSample sample = new AppSampler(client).Read();
        TopText.Print(sample, sample, TextWriter.Null);
    }

    [Fact]
    public void Client_ApplicationEnds_IsSaid()
    {
        using var app = new FakeApp(_folder, new() { ["/a"] = "[]" });
        using TelemetryClient client = app.Connect();
        Assert.NotNull(client.Ask("/a"));
        Assert.Null(client.Ask("/b"));
        app.Dispose();
        Assert.Contains("has ended", Assert.Throws<TelemetryEndedException>(() => client.Ask("/a")).Message);
        Assert.Null(TelemetryClient.TryConnect("p", app.Path));
    }

    [Fact]
    public void Trace_Packets_AreToldInOrderWithWhatTheyWere()
    {
        string header = Convert.ToHexString(Net.PacketTemplate.Udp4(Net.MacAddress.Local(1), Net.MacAddress.Local(2),
            Net.IPv4Address.Parse("198.18.0.1"), Net.IPv4Address.Parse("198.19.0.1"), 1024, 9, 60).Frame);
        using var app = new FakeApp(_folder, new()
        {
            ["/ethdev/list"] = "[0,1,1]",
            ["/ethdev/info,0"] = """{"name":"le\u001bft"}""",
            ["/ethdev/info,1"] = """{"name":"right"}""",
            ["/dataplane/trace,3,1"] = """{"trace":9,"wanted":3}""",
            ["/dataplane/trace,0"] = """{"trace":0}""",
            ["/dataplane/trace/read,0"] = Page("""{"end":"sent","lcore":4,"length":64,"header":""" + $"\"{header}\","
                + Stages("received offered sent", "100,300,350", "1,0,0", "2,3,3") + "},"
                + """{"end":"dropped","lcore":-1,"length":14,"header":"zz","""
                + Stages("received gone", "5,9", "1,-1", "0,0")
                + "}"),
            ["/dataplane/trace/read,2"] = Page("""{"end":"open",""" + Stages("received", "5", "7", "0") + "}"),
        });
        using TelemetryClient client = app.Connect();
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        var text = new StringWriter { NewLine = "\n" };
        Assert.Equal(0, TraceCommand.Run(client, 3, "right", stop.Token, text, text));
        Assert.Equal("""
            #1  UDP 198.18.0.1:1024 > 198.19.0.1:9, 64 bytes
                received by right queue 2 on lcore 4  +200 offered to left queue 3  +50 sent by left queue 3__END
            #2  cut-off frame, 14 bytes
                received by right queue 0  +4 DROPPED: gone  = 4 cycles, 4 ns
            #3  cut-off frame, 0 bytes
                received by port 7 queue 0  not seen again: held, or freed without a word

            """.Replace("__END", "  = 250 cycles, 250 ns"), text.ToString());
        Assert.Contains("there are left (0), right (1)", Assert.Throws<ConfigException>(() =>
            TraceCommand.Run(client, 3, "middle", stop.Token, text, text)).Message);
    }

    [Fact]
    public void Describe_AnyBytes_NeverFails()
    {
        var random = new Random(3);
        byte[] frame = new byte[60];
        ushort[] types = [0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x8847];
        for (int i = 0; i < 100_000; i++)
        {
            random.NextBytes(frame);
            (frame[12], frame[13]) = ((byte)(types[i % 6] >> 8), (byte)types[i % 6]);
            frame[14] = (byte)((i & 1) == 0 ? 0x45 : 0x60);
            Assert.NotEmpty(TraceText.Describe(frame.AsSpan(0, random.Next(61))));
        }
    }

    private static string Queue(int packets, int bytes, int calls) =>
        $"{{\"rx_q0_packets\":{packets},\"rx_q0_bytes\":{bytes},\"rx_q0_missed\":5,\"rx_q0_calls\":{calls}}}";

    private static string Page(string packets) => $"{{\"trace\":9,\"hz\":1000000000,\"packets\":[{packets}]}}";

    private static string Stages(string names, string cycles, string ports, string queues) => "\"stages\":["
        + string.Join(',', names.Split(' ').Select(name => $"\"{name}\"")) + $"],\"cycles\":[{cycles}],"
        + $"\"ports\":[{ports}],\"queues\":[{queues}]";

    /// <summary>One that answers from a table, by the protocol as DPDK documents it.</summary>
    private sealed class FakeApp : IDisposable
    {
        private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
        private readonly Thread _thread;
        private Socket? _client;
        private bool _isDisposed;

        internal FakeApp(DirectoryInfo folder, Dictionary<string, string> answers)
        {
            Answers = answers;
            Path = System.IO.Path.Combine(folder.FullName, "s");
            _listener.Bind(new UnixDomainSocketEndPoint(Path));
            _listener.Listen();
            _thread = new Thread(Serve);
            _thread.Start();
        }

        internal string Path { get; }

        internal Dictionary<string, string> Answers { get; }

        internal TelemetryClient Connect() => TelemetryClient.TryConnect("fake", Path)!;

        public void Dispose()
        {
            if (_isDisposed)
                return;
            _isDisposed = true;
            _listener.Dispose();
            _client?.Shutdown(SocketShutdown.Both);
            _client?.Dispose();
            _thread.Join();
            File.Delete(Path);
        }

        private void Serve()
        {
            byte[] request = new byte[1024];
            try
            {
                _client = _listener.Accept();
                _client.Send("""{"version":"Fake 1","pid":1,"max_output_len":16384}"""u8);
                for (int length; (length = _client.Receive(request)) > 0;)
                {
                    string asked = Encoding.ASCII.GetString(request, 0, length);
                    string answer = Answers.GetValueOrDefault(asked, "null");
                    if (answer.Length == 0)
                        continue;       // says nothing
                    _client.Send(Encoding.ASCII.GetBytes(
                        $"{{{JsonSerializer.Serialize(asked.Split(',')[0])}:{answer}}}"));
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
            }
        }
    }
}
