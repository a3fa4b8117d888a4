using System.CommandLine;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Dataplane.Apps.Watch;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>The dashboard's server and the options that start it.</summary>
public sealed class WatchTests : IDisposable
{
    private static readonly IPEndPoint s_anyPort = new(IPAddress.Loopback, 0);
    private readonly Eal _eal = Eal.Initialize(new EalOptions
    {
        NoHuge = true, NoPci = true, NoTelemetry = true, Lcores = [new(0, Affinity.Get())],
        Vdevs = ["net_null0", "net_null1"],
    });
    private readonly Mempool _pool;
    private readonly PortList _ports;

    public WatchTests()
    {
        _pool = Mempool.CreateMbufPool(_eal.Memory, "w", 1023, cacheSize: 0);
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

    [Theory]
    [InlineData("", "127.0.0.1:8088")]
    [InlineData(":99", "127.0.0.1:99")]
    [InlineData("localhost", "127.0.0.1:8088")]
    [InlineData("localhost:1", "127.0.0.1:1")]
    [InlineData("10.0.0.1", "10.0.0.1:8088")]
    [InlineData("10.0.0.1:80", "10.0.0.1:80")]
    [InlineData("::1", "[::1]:8088")]
    [InlineData("[::1]:80", "[::1]:80")]
    public void Address_AsTyped_IsRead(string text, string expected) =>
        Assert.Equal(expected, WatchCommandLine.ParseAddress(text).ToString());

    [Theory]
    [InlineData("8088")]
    [InlineData("host:80")]
    [InlineData("127.0.0.1:99999")]
    [InlineData("http://127.0.0.1")]
    public void Address_ThatIsNone_IsRefused(string text) =>
        Assert.Throws<ConfigException>(() => WatchCommandLine.ParseAddress(text));

    [Theory]
    [InlineData("localhost:4318")]
    [InlineData("ftp://x")]
    [InlineData("x")]
    public void Url_ThatIsNone_IsRefused(string text) =>
        Assert.Throws<ConfigException>(() => WatchCommandLine.ParseUrl(text));

    [Fact]
    public void Options_NotGiven_StartNothing()
    {
        var root = new RootCommand();
        foreach (Option option in WatchCommandLine.Options)
            root.Options.Add(option);
        Assert.Equal(new WatchOptions(), WatchCommandLine.Bind(root.Parse([])));
        Assert.Equal(new IPEndPoint(IPAddress.Loopback, 8088),
            WatchCommandLine.Bind(root.Parse(["--dashboard"])).Dashboard);
        WatchOptions both = WatchCommandLine.Bind(root.Parse(["--dashboard", ":5", "--otlp", "http://c:4318"]));
        Assert.Equal(("127.0.0.1:5", "http://c:4318/"), (both.Dashboard!.ToString(), both.Otlp!.ToString()));
    }

    [Fact]
    public async Task State_TellsCountersTopologyAndLevels()
    {
        var burst = new Mbuf[8];
        Assert.Equal(8, _ports.Ports[0].RxQueues[0].RxBurst(burst));
        using var server = new DashboardServer(_eal, s_anyPort, new Watched(_ports.Ports));
        using var http = new HttpClient();
        JsonElement state = JsonDocument.Parse(await http.GetStringAsync(server.Url + "api/state")).RootElement;
        JsonElement port = state.GetProperty("ports")[0];
        Assert.Equal(("net_null0", 8, 8), (port.GetProperty("name").GetString(),
            port.GetProperty("rxPackets").GetInt32(),
            port.GetProperty("rxQueues")[0].GetProperty("packets").GetInt32()));
        Assert.Equal(0, state.GetProperty("lcores")[0].GetProperty("id").GetInt32());
        Assert.Equal(("w", 1023, 8), (state.GetProperty("pools")[0].GetProperty("name").GetString(),
            state.GetProperty("pools")[0].GetProperty("size").GetInt32(),
            state.GetProperty("pools")[0].GetProperty("used").GetInt32()));
        Assert.Equal(3, state.GetProperty("drops").GetProperty("planted").GetInt32());
        Assert.Equal("net_null1", state.GetProperty("streams")[0].GetProperty("to").GetString());
        Assert.Equal(2.0, state.GetProperty("latency").GetProperty("mean").GetDouble());
        Mbuf.FreeBulk(burst);
    }

    [Fact]
    public async Task Pages_AreServedWithStrictHeaders()
    {
        using var server = new DashboardServer(_eal, s_anyPort, new Watched(_ports.Ports));
        using var http = new HttpClient();
        foreach ((string path, string type) in ((string, string)[])[("", "text/html"), ("app.js", "text/javascript"),
            ("style.css", "text/css"), ("api/state", "application/json")])
        {
            using HttpResponseMessage answer = await http.GetAsync(server.Url + path);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
            Assert.Equal(type, answer.Content.Headers.ContentType!.MediaType);
            Assert.StartsWith("default-src 'none'", answer.Headers.GetValues("Content-Security-Policy").Single());
            Assert.Equal("nosniff", answer.Headers.GetValues("X-Content-Type-Options").Single());
            Assert.False(answer.Headers.Contains("Server"));
            string text = await answer.Content.ReadAsStringAsync();
            Assert.DoesNotMatch("(src|href)=\"(?!/|data:)", text);   // nothing from elsewhere
        }
    }

    [Theory]
    [InlineData("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404)]
    [InlineData("GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404)]
    [InlineData("GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404)]
    [InlineData("GET /API/STATE HTTP/1.1\r\nHost: localhost\r\n\r\n", 404)]
    [InlineData("GET /api/state?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421)]
    [InlineData("GET / HTTP/1.1\r\n\r\n", 400)]
    [InlineData("POST /api/state HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405)]
    [InlineData("DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405)]
    [InlineData("GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 505)]
    [InlineData("nonsense\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n", 400)]
    public void Requests_Malformed_AreRefused(string request, int status)
    {
        using var server = new DashboardServer(_eal, s_anyPort, new Watched(_ports.Ports));
        Assert.Equal($"HTTP/1.1 {status}", Send(server, Encoding.Latin1.GetBytes(request))[..12]);
    }

    [Fact]
    public async Task Requests_Mutated_LeaveTheServerWell()
    {
        using var server = new DashboardServer(_eal, s_anyPort, new Watched(_ports.Ports));
        var random = new Random(11);
        byte[] seed = [.. "GET /api/state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"u8];
        for (int i = 0; i < 500; i++)
            Send(server, TelemetryTests.Mutate(seed, random), mayHang: true);
        using var http = new HttpClient();
        Assert.Contains("net_null0", await http.GetStringAsync(server.Url + "api/state"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task AToken_IsAskedForAndTakenAsCookieOrHeader()
    {
        using var server = new DashboardServer(_eal, s_anyPort, new Watched(_ports.Ports), "secret");
        string root = server.Url[..server.Url.IndexOf('?', StringComparison.Ordinal)];
        Assert.EndsWith("/?token=secret", server.Url);
        using var handler = new HttpClientHandler { CookieContainer = new CookieContainer() };
        using HttpClient http = new(handler), stranger = new(), program = new();
        foreach (string path in (string[])["", "?token=wrong", "?token=", "api/state", "app.js",
            "api/state?token=secret"])
            Assert.Equal(HttpStatusCode.Unauthorized, (await stranger.GetAsync(root + path)).StatusCode);
        Assert.Contains("<title>", await http.GetStringAsync(server.Url), StringComparison.Ordinal);
        Assert.Contains("net_null0", await http.GetStringAsync(root + "api/state"), StringComparison.Ordinal);
        program.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", "secret");
        Assert.Contains("net_null0", await program.GetStringAsync(root + "api/state"), StringComparison.Ordinal);
    }

    [Fact]
    public void AnAddress_ThatIsNoLoopbackOne_HasARandomToken()
    {
        using var first = new DashboardServer(_eal, new(IPAddress.Any, 0), new Watched(_ports.Ports));
        using var second = new DashboardServer(_eal, new(IPAddress.Any, 0), new Watched(_ports.Ports));
        string[] tokens = [.. ((DashboardServer[])[first, second]).Select(server => server.Url.Split("?token=")[1])];
        Assert.All(tokens, token => Assert.Equal(32, token.Length));
        Assert.NotEqual(tokens[0], tokens[1]);
        Assert.StartsWith("HTTP/1.1 401", Send(first, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray()));
    }

    [Fact]
    public void AnAddress_InUse_IsSaid()
    {
        using var server = new DashboardServer(_eal, s_anyPort, new Watched(_ports.Ports));
        var taken = new IPEndPoint(IPAddress.Loopback, new Uri(server.Url).Port);
        Assert.Throws<ConfigException>(() => new DashboardServer(_eal, taken, new Watched(_ports.Ports)));
        Assert.Throws<ConfigException>(() =>
            Watcher.Start(_eal, new WatchOptions(taken), new Watched(_ports.Ports)));
    }

    [Fact]
    public async Task Otlp_MetricsGoToACollector()
    {
        var port = new TcpListener(IPAddress.Loopback, 0);
        port.Start();
        int free = ((IPEndPoint)port.LocalEndpoint).Port;
        port.Stop();
        using var collector = new HttpListener();
        collector.Prefixes.Add($"http://127.0.0.1:{free}/");
        collector.Start();
        Task<(string, string, byte[])> first = TakeOne(collector);
        Watcher.Start(_eal, new WatchOptions(Otlp: new Uri($"http://127.0.0.1:{free}")), new Watched(_ports.Ports))
            .Dispose();   // sends once more at its end
        (string path, string type, byte[] body) = await first.WaitAsync(TimeSpan.FromMinutes(1));
        Assert.Equal(("/v1/metrics", "application/x-protobuf"), (path, type));
        string text = Encoding.Latin1.GetString(body);
        foreach (string name in (string[])["dataplane-test", "dataplane.port.packets", "dataplane.lcore.cycles",
            "dataplane.mempool.objects", "dataplane.application.drops", "net_null0"])
            Assert.Contains(name, text, StringComparison.Ordinal);
    }

    [Fact]
    public void Otlp_NobodyListens_IsSaidOnce()
    {
        var port = new TcpListener(IPAddress.Loopback, 0);
        port.Start();
        string url = $"http://127.0.0.1:{((IPEndPoint)port.LocalEndpoint).Port}/";
        port.Stop();
        using var process = new Process { StartInfo = new("dotnet", [Path.Combine(AppContext.BaseDirectory,
            "Forward.dll"), "--no-huge", "-l", AppProcess.Lcores(1), "--vdev", "net_null0", "--", "--duration", "2",
            "--stats-period", "0", "--otlp", url]) { RedirectStandardError = true, RedirectStandardOutput = true } };
        process.StartInfo.Environment["OTEL_METRIC_EXPORT_INTERVAL"] = "200";
        process.Start();
        AppResult result = AppProcess.End(process);
        Assert.True(result.Exit == 0, result.All);
        Assert.Equal(2, result.Errors.Split($"--otlp {url}: no collector").Length);
    }

    private static async Task<(string, string, byte[])> TakeOne(HttpListener collector)
    {
        HttpListenerContext context = await collector.GetContextAsync();
        using var body = new MemoryStream();
        await context.Request.InputStream.CopyToAsync(body);
        context.Response.StatusCode = 200;
        context.Response.Close();
        return (context.Request.Url!.AbsolutePath, context.Request.ContentType!, body.ToArray());
    }

    private static string Send(DashboardServer server, byte[] request, bool mayHang = false)
    {
        using var client = new TcpClient("127.0.0.1", new Uri(server.Url.Replace("0.0.0.0", "127.0.0.1",
            StringComparison.Ordinal)).Port);
        client.Client.Send(request);
        if (mayHang)
            client.Client.Shutdown(SocketShutdown.Send);
        byte[] answer = new byte[4096];
        try
        {
            return Encoding.Latin1.GetString(answer, 0, client.Client.Receive(answer));
        }
        catch (SocketException) when (mayHang)
        {
            return "";
        }
    }

    private sealed class Watched(IReadOnlyList<Port> ports) : IWatched
    {
        public string App => "Test";

        public string Mode => "none";

        public IReadOnlyList<Port> Ports => ports;

        public IReadOnlyList<WatchedStream> Streams => [new(0, "net_null0", 0, "net_null1", 0)];

        public IReadOnlyList<WatchedDrop> Drops => [new("planted", 3)];

        public LatencyReport? Latency => new(1, 1, 2, 3, 0, 2, 3, 3);
    }
}
