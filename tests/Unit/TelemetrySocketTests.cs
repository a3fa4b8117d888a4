using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;
using Socket = System.Net.Sockets.Socket;

namespace Dataplane.Tests;

/// <summary>The socket and its sessions, as a client of DPDK's would see them.</summary>
public sealed class TelemetrySocketTests : IDisposable
{
    private readonly string _prefix = $"unit-{Guid.NewGuid():N}";
    private readonly Eal _eal;

    public TelemetrySocketTests() => _eal = Start();

    private string Folder => TelemetrySocket.RuntimeDirectory(_prefix);

    public void Dispose()
    {
        _eal.Dispose();
        Assert.False(Directory.Exists(Folder), "it left its runtime directory behind");
    }

    [Fact]
    public void Session_IsGreetedAndAnswered()
    {
        using Socket client = Connect(out JsonElement hello);
        Assert.Equal(Environment.ProcessId, hello.GetProperty("pid").GetInt32());
        Assert.Equal(16384, hello.GetProperty("max_output_len").GetInt32());
        Assert.Equal($"Dataplane {Eal.VersionText}", hello.GetProperty("version").GetString());
        Assert.Equal(Folder + "/dpdk_telemetry.v2", _eal.Telemetry.SocketPath);
        for (int i = 0; i < 3; i++)
            Assert.Equal([0], Ask(client, "/eal/lcore/list").EnumerateArray().Select(id => id.GetInt32()));
        Assert.Equal(JsonValueKind.Null, Ask(client, "/nothing").ValueKind);
    }

    [Fact]
    public void Clients_BeyondTen_AreClosedUntilOneLeaves()
    {
        List<Socket> clients = [.. Enumerable.Range(0, 10).Select(_ => Connect(out JsonElement _))];
        using (Socket eleventh = Open())
            Assert.Equal(0, eleventh.Receive(new byte[100]));
        clients[0].Dispose();
        clients.RemoveAt(0);
        Assert.True(SpinWait.SpinUntil(() =>
        {
            Socket again = Open();
            clients.Add(again);
            return again.Receive(new byte[1024]) > 0;
        }, TimeSpan.FromSeconds(60)));
        Assert.Equal(JsonValueKind.Array, Ask(clients[^1], "/").ValueKind);
        clients.ForEach(client => client.Dispose());
    }

    [Fact]
    public void AClient_ThatDoesNotRead_KeepsNobodyElseFromAnswersAndGetsHisLater()
    {
        using Socket slow = Connect(out _), other = Connect(out _);
        int asked = 0;
        slow.SendTimeout = 200;
        try
        {
            for (; asked < 5000; asked++)
                slow.Send("/"u8);
            Assert.Fail("its answers should have filled what the kernel keeps for it");
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.WouldBlock or SocketError.TimedOut)
        {
        }
        Assert.Equal(JsonValueKind.Array, Ask(other, "/").ValueKind);
        for (int i = 0; i < asked; i++)
            Assert.True(slow.Receive(new byte[16384]) > 100);
        Assert.Equal(JsonValueKind.Array, Ask(slow, "/eal/lcore/list").ValueKind);
    }

    [Fact]
    public void Requests_MutatedAndTooLong_LeaveTheServerWell()
    {
        var random = new Random(7);
        using Socket client = Connect(out _);
        byte[] buffer = new byte[16384];
        for (int i = 0; i < 2000; i++)
        {
            byte[] request = TelemetryTests.Mutate(Encoding.ASCII.GetBytes("/eal/memzone_info,0"), random);
            if (request.Length == 0)
                continue;   // which ends a session
            Assert.Equal(request.Length, client.Send(request));
            using var answer = JsonDocument.Parse(buffer.AsMemory(0, client.Receive(buffer)));
        }
        Assert.Equal(60_000, client.Send(new byte[60_000]));
        using var last = JsonDocument.Parse(buffer.AsMemory(0, client.Receive(buffer)));
        Assert.Equal("none", last.RootElement.EnumerateObject().Single().Name);
    }

    [Fact]
    public void Instances_OfOnePrefix_GetTheNextNameAndTakeDeadOnesOver()
    {
        string first = _eal.Telemetry.SocketPath!;
        using (Eal second = Start(), third = Start())
        {
            Assert.Equal(first + ":1", second.Telemetry.SocketPath);
            Assert.Equal(first + ":2", third.Telemetry.SocketPath);
        }
        using (var dead = new Socket(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified))
        {
            dead.Bind(new UnixDomainSocketEndPoint(first + ":x"));
            File.Move(first + ":x", first + ":1");   // its file stays: closing removes it by the name it had
        }
        using Eal fourth = Start();
        Assert.Equal(first + ":1", fourth.Telemetry.SocketPath);
    }

    /// <summary>What a killed process left goes at the next start; whatever may be another's stays.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false, "young")]
    [InlineData(false, "alive")]
    [InlineData(false, "a file")]
    [InlineData(false, "no control socket")]
    [InlineData(false, "locked")]
    public void DirectoriesOfTheDead_AreRemovedWhereNothingElseIsThere(bool isRemoved, string but = "")
    {
        string folder = TelemetrySocket.RuntimeDirectory($"{_prefix}-dead");
        Directory.CreateDirectory(folder);
        var things = new List<IDisposable>();
        foreach (string name in (string[])["dpdk_telemetry.v2", "dpdk_telemetry.v2:1", "dataplane_control.v1"])
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
            string path = Path.Combine(folder, name);
            socket.Bind(new UnixDomainSocketEndPoint(path + "x"));
            File.Move(path + "x", path);        // its file stays: closing removes it by the name it had
            if (but == "alive" && name.EndsWith(":1", StringComparison.Ordinal))
                socket.Listen();
            things.Add(socket);
            if (but != "alive")
                socket.Dispose();
        }
        if (but == "a file")
            File.WriteAllText(Path.Combine(folder, "config"), "DPDK's");
        if (but == "no control socket")
            File.Delete(Path.Combine(folder, "dataplane_control.v1"));
        if (but == "locked")
        {
            SafeFileHandle held = Fcntl.open(folder, Fcntl.O_RDONLY, 0);
            Assert.Equal(0, Fcntl.flock(held, Fcntl.LOCK_EX));
            things.Add(held);
        }
        int entries = Directory.GetFileSystemEntries(folder).Length;
        if (but != "young")
            Directory.SetLastWriteTimeUtc(folder, DateTime.UtcNow - TimeSpan.FromMinutes(2));
        Start().Dispose();
        Assert.Equal(isRemoved, !Directory.Exists(folder));
        things.ForEach(thing => thing.Dispose());
        if (isRemoved)
            return;
        Assert.Equal(entries, Directory.GetFileSystemEntries(folder).Length);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void StartsAtOnce_GetSocketsOfTheirOwn()
    {
        Eal[] all = [.. Enumerable.Range(0, 6).AsParallel().WithDegreeOfParallelism(6).Select(_ => Start())];
        Assert.Equal(7, all.Append(_eal).Select(eal => eal.Telemetry.SocketPath).Distinct().Count());
        foreach (Eal eal in all)
        {
            using Socket client = Open(eal.Telemetry.SocketPath!);
            Assert.True(client.Receive(new byte[1024]) > 0);
        }
        all.AsParallel().ForAll(eal => eal.Dispose());
    }

    [Fact]
    public void Options_SayWhetherThereIsOne()
    {
        using (Eal none = Start(o => o with { NoTelemetry = true }))
            Assert.Null(none.Telemetry.SocketPath);
        using (Eal none = Start(o => o with { InMemory = true }))
            Assert.Null(none.Telemetry.SocketPath);
        using (Eal one = Start(o => o with { InMemory = true, Telemetry = true }))
            Assert.NotNull(one.Telemetry.SocketPath);
        Assert.Throws<ConfigException>(() => Start(o => o with { NoTelemetry = true, Telemetry = true }));
        Assert.Equal((true, false), (EalOptions.Parse(["--telemetry"], out _).Telemetry,
            EalOptions.Parse(["--telemetry"], out _).NoTelemetry));
        Assert.True(EalOptions.Parse(["--no-telemetry"], out _).NoTelemetry);
    }

    [Fact]
    public void Dispose_OfTheEalInACommand_IsRefused()
    {
        Exception? thrown = null;
        _eal.Telemetry.Register("/end", (_, _) =>
        {
            thrown = Record.Exception(_eal.Dispose);
            return null;
        }, "");
        using Socket client = Connect(out _);
        Ask(client, "/end");
        Assert.Equal(Errno.EDEADLK, Assert.IsType<DataplaneException>(thrown).Errno);
    }

    [Fact]
    public void Thread_IsOnNoLcore()
    {
        string? name = null;
        _eal.Telemetry.Register("/who", (_, _) =>
        {
            name = $"{Thread.CurrentThread.Name} {Lcore.Current}";
            return null;
        }, "");
        using Socket client = Connect(out _);
        Ask(client, "/who");
        Assert.Equal("dp-telemetry ", name);
    }

    private Eal Start(Func<EalOptions, EalOptions>? change = null)
    {
        var options = new EalOptions
        {
            NoHuge = true, NoPci = true, FilePrefix = _prefix, Lcores = [new(0, Affinity.Get())],
        };
        return Eal.Initialize(change?.Invoke(options) ?? options);
    }

    private Socket Connect(out JsonElement hello)
    {
        Socket client = Open();
        byte[] buffer = new byte[1024];
        hello = JsonDocument.Parse(buffer.AsMemory(0, client.Receive(buffer))).RootElement;
        return client;
    }

    private Socket Open() => Open(_eal.Telemetry.SocketPath!);

    private static Socket Open(string path)
    {
        var client = new Socket(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
        client.Connect(new UnixDomainSocketEndPoint(path));
        return client;
    }

    private static JsonElement Ask(Socket client, string request)
    {
        Assert.Equal(request.Length, client.Send(Encoding.ASCII.GetBytes(request)));
        byte[] buffer = new byte[16384];
        return JsonDocument.Parse(buffer.AsMemory(0, client.Receive(buffer))).RootElement
            .GetProperty(request.Split(',')[0]);
    }
}
