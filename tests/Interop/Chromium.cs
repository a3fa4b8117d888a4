using System.Diagnostics;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>A headless Chromium, driven by its DevTools protocol.</summary>
internal sealed class Chromium : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("chromium").FullName;
    private readonly Process _process;
    private readonly ClientWebSocket _socket = new();
    private int _lastId;

    private Chromium(string url) => _process = Programs.Start("chromium", "--headless", "--no-sandbox", "--disable-gpu",
        "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1280,1250", $"--user-data-dir={_folder}",
        "--remote-debugging-port=0", url);

    /// <summary>What the page complained of: errors, and what its policy forbade.</summary>
    internal List<string> Complaints { get; } = [];

    /// <summary>Opens a page.</summary>
    internal static async Task<Chromium> Open(string url)
    {
        Programs.Require("chromium");
        var browser = new Chromium(url);
        try
        {
            _ = browser._process.StandardOutput.ReadToEndAsync();
            _ = browser._process.StandardError.ReadToEndAsync();
            await browser.Connect();
            await browser.Call("Runtime.enable");
            await browser.Call("Log.enable");
            return browser;
        }
        catch
        {
            await browser.DisposeAsync();
            throw;
        }
    }

    /// <summary>The value of a JavaScript expression.</summary>
    internal async Task<string> Evaluate(string expression)
    {
        JsonElement result = await Call("Runtime.evaluate", ("expression", expression));
        return result.GetProperty("result").TryGetProperty("value", out JsonElement value) ? value.ToString() : "";
    }

    /// <summary>Waits until an expression is true.</summary>
    internal async Task WaitFor(string expression)
    {
        for (var clock = Stopwatch.StartNew(); await Evaluate(expression) is not ("True" or "true");)
        {
            Assert.True(clock.Elapsed < TimeSpan.FromMinutes(2), $"{expression} did not become true; complaints: "
                + string.Join('\n', Complaints) + "\n" + await Evaluate("document.body.innerText"));
            await Task.Delay(200, TestContext.Current.CancellationToken);
        }
    }

    /// <summary>A picture of it, PNG.</summary>
    internal async Task<byte[]> Screenshot()
    {
        JsonElement picture = await Call("Page.captureScreenshot", ("format", "png"));
        return Convert.FromBase64String(picture.GetProperty("data").GetString()!);
    }

    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        _process.Dispose();
        for (int tries = 0; tries < 50 && Directory.Exists(_folder); tries++)   // its children end after it
        {
            try
            {
                Directory.Delete(_folder, recursive: true);
            }
            catch (IOException)
            {
                await Task.Delay(100);
            }
        }
    }

    private async Task Connect()
    {
        string file = Path.Combine(_folder, "DevToolsActivePort");
        Assert.True(SpinWait.SpinUntil(() => _process.HasExited || (File.Exists(file)
            && File.ReadAllLines(file).Length >= 2), TimeSpan.FromMinutes(2)) && !_process.HasExited,
            "chromium did not start");
        string port = File.ReadAllLines(file)[0];
        using var http = new HttpClient();
        string? target = null;
        for (var clock = Stopwatch.StartNew(); target == null && clock.Elapsed < TimeSpan.FromMinutes(1);)
            foreach (JsonElement one in JsonDocument.Parse(await http.GetStringAsync($"http://127.0.0.1:{port}/json"))
                .RootElement.EnumerateArray())
                if (one.GetProperty("type").GetString() == "page")
                    target = one.GetProperty("webSocketDebuggerUrl").GetString();
        await _socket.ConnectAsync(new Uri(target!), CancellationToken.None);
    }

    private async Task<JsonElement> Call(string method, params (string Name, string Value)[] parameters)
    {
        int id = ++_lastId;
        byte[] request = JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, object>
        {
            ["id"] = id, ["method"] = method,
            ["params"] = parameters.ToDictionary(one => one.Name, one => one.Value),
        });
        await _socket.SendAsync(request, WebSocketMessageType.Text, true, CancellationToken.None);
        while (true)
        {
            JsonElement message = await Receive();
            if (message.TryGetProperty("id", out JsonElement answered) && answered.GetInt32() == id)
                return message.GetProperty("result");
            if (message.TryGetProperty("method", out JsonElement what)
                && what.GetString() is "Log.entryAdded" or "Runtime.exceptionThrown")
                Complaints.Add(message.GetProperty("params").ToString());
        }
    }

    private async Task<JsonElement> Receive()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        using var message = new MemoryStream();
        byte[] part = new byte[65536];
        ValueWebSocketReceiveResult received;
        do
        {
            received = await _socket.ReceiveAsync(part.AsMemory(), patience.Token);
            message.Write(part, 0, received.Count);
        }
        while (!received.EndOfMessage);
        return JsonDocument.Parse(Encoding.UTF8.GetString(message.ToArray())).RootElement;
    }
}
