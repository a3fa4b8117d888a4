using System.Net.Sockets;
using System.Text;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;
using Socket = System.Net.Sockets.Socket;

namespace Dataplane.Tests;

/// <summary>The control socket: messages, files with them, and what lasts as long as a connection.</summary>
public sealed class ControlSocketTests : IDisposable
{
    private const ControlType Own = (ControlType)900;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly string _prefix = $"unit-{Guid.NewGuid():N}";
    private readonly Eal _eal;

    public ControlSocketTests() => _eal = Start();

    public void Dispose()
    {
        _eal.Dispose();
        Assert.False(Directory.Exists(TelemetrySocket.RuntimeDirectory(_prefix)), "it left its directory behind");
    }

    [Fact]
    public void Hello_IsAnsweredWithTheCommandLine()
    {
        using var connection = ControlConnection.Find(_prefix, null);
        Assert.Equal(Environment.ProcessId, connection.ProcessId);
        Assert.Equal(string.Join('\0', Environment.GetCommandLineArgs()), Encoding.UTF8.GetString(
            connection.Ask(ControlType.Hello, [], [])));
        Assert.False(connection.IsGone());
    }

    [Fact]
    public void Answer_CarriesFilesAndBody()
    {
        using SafeFileHandle file = Mman.memfd_create("control-test", Mman.MFD_CLOEXEC);
        RandomAccess.Write(file, "seven"u8, 0);
        using IDisposable registration = _eal.Control.Register(Own, (_, body) => new(body.ToArray(), file, file));
        using var connection = ControlConnection.Find(_prefix, Environment.ProcessId);
        var files = new List<SafeFileHandle>();
        byte[] body = new byte[ControlHeader.MaxBytes - 16];
        new Random(1).NextBytes(body);
        Assert.Equal(body, connection.Ask(Own, body, files));
        Assert.Equal(2, files.Count);
        byte[] read = new byte[5];
        Assert.Equal((5, "seven"), (RandomAccess.Read(files[1], read, 0), Encoding.ASCII.GetString(read)));
        files.ForEach(one => one.Dispose());
    }

    [Fact]
    public void Answer_WithFilesThatWereClosed_EndsTheConnectionAlone()
    {
        SafeFileHandle file = Mman.memfd_create("control-test", Mman.MFD_CLOEXEC);
        file.Dispose();
        _eal.Control.Register(Own, (_, _) => new([], file));
        using (var connection = ControlConnection.Find(_prefix, null))
            Assert.Equal(Errno.ECONNRESET, Assert.Throws<DataplaneException>(() =>
                connection.Ask(Own, [], [])).Errno);
        using var other = ControlConnection.Find(_prefix, null);
        other.Ask(ControlType.Hello, [], []);
    }

    [Fact]
    public void WhatWasAskedFor_EndsWithTheConnection()
    {
        using var ended = new ManualResetEventSlim();
        _eal.Control.Register(Own, (client, _) =>
        {
            client.Own(new Ender(ended.Set));
            return new([]);
        });
        using (var connection = ControlConnection.Find(_prefix, null))
        {
            connection.Ask(Own, [], []);
            Assert.False(ended.IsSet);
        }
        Assert.True(ended.Wait(s_patience));
    }

    [Fact]
    public void WhatWasAskedFor_EndsWithTheEnvironment()
    {
        bool ended = false;
        ControlConnection connection;
        using (Eal second = Start())
        {
            second.Control.Register(Own, (client, _) =>
            {
                client.Own(new Ender(() => ended = true));
                return new([]);
            });
            connection = ControlConnection.Open(second.Control.SocketPath!);
            connection.Ask(Own, [], []);
        }
        Assert.True(ended);
        Assert.True(connection.IsGone());
        connection.Dispose();
    }

    [Fact]
    public void Refusals_SayWhy()
    {
        _eal.Control.Register(Own, (_, body) => body.Length switch
        {
            0 => throw new ConfigException("nothing to do"),
            1 => throw new NativeException("out of it", Errno.ENOMEM),
            _ => throw new InvalidOperationException("a secret"),
        });
        using var connection = ControlConnection.Find(_prefix, null);
        (Errno Error, string Text) Refused(int bytes)
        {
            DataplaneException e = Assert.Throws<DataplaneException>(() => connection.Ask(Own, new byte[bytes], []));
            return (e.Errno, e.Message);
        }
        Assert.Equal(Errno.EINVAL, Refused(0).Error);
        Assert.Contains("nothing to do", Refused(0).Text, StringComparison.Ordinal);
        Assert.Equal(Errno.ENOMEM, Refused(1).Error);
        Assert.Equal(Errno.EIO, Refused(2).Error);
        Assert.DoesNotContain("secret", Refused(2).Text, StringComparison.Ordinal);
        Assert.Equal(Errno.EOPNOTSUPP, Assert.Throws<DataplaneException>(() =>
            connection.Ask((ControlType)901, [], [])).Errno);
    }

    [Fact]
    public void Find_WithSeveralOrNone_SaysWhatToDo()
    {
        using Eal second = Start();
        Assert.Contains("--pid", Assert.Throws<ConfigException>(() => ControlConnection.Find(_prefix, null)).Fix,
            StringComparison.Ordinal);
        Assert.Contains($"{Environment.ProcessId}", Assert.Throws<DataplaneException>(() =>
            ControlConnection.Find(_prefix, int.MaxValue)).Why, StringComparison.Ordinal);
        Assert.Equal(Errno.ENOENT, Assert.Throws<DataplaneException>(() =>
            ControlConnection.Find(_prefix + "-none", null)).Errno);
        using Eal none = Start(o => o with { NoTelemetry = true, FilePrefix = _prefix + "-quiet" });
        Assert.Null(none.Control.SocketPath);
    }

    [Fact]
    public void Find_OneThatCannotBeHad_DoesNotHideTheOther()
    {
        string path = Path.Combine(TelemetrySocket.RuntimeDirectory(_prefix), ControlService.FileName + ":a");
        using (UnixSocket.Listen(path, Native.Socket.SOCK_STREAM))
        {
            using (var connection = ControlConnection.Find(_prefix, null))
                connection.Ask(ControlType.Hello, [], []);
            _eal.Dispose();
            var e = Assert.Throws<DataplaneException>(() => ControlConnection.Find(_prefix, null));
            Assert.Equal(Errno.EPROTOTYPE, e.Errno);
            Assert.Contains(path, e.Message, StringComparison.Ordinal);
        }
        Directory.Delete(TelemetrySocket.RuntimeDirectory(_prefix));
    }

    [Fact]
    public void OneTooMany_IsToldWhyBeforeOrAfterItAsks()
    {
        ControlConnection[] all = [.. Enumerable.Range(0, 10).Select(_ => ControlConnection.Find(_prefix, null))];
        foreach (ControlConnection one in all)
            one.Ask(ControlType.Hello, [], []);
        for (int i = 0; i < 50; i++)
        {
            using var another = ControlConnection.Find(_prefix, null);
            if (i % 2 == 0)
                Assert.True(SpinWait.SpinUntil(another.IsGone, s_patience));
            var e = Assert.Throws<DataplaneException>(() => another.Ask(ControlType.Hello, [], []));
            Assert.Equal(Errno.EBUSY, e.Errno);
            Assert.Contains("10 others", e.Message, StringComparison.Ordinal);
        }
        Array.ForEach(all, one => one.Dispose());
    }

    /// <summary>Whatever is sent has an answer, a refusal where it makes no sense.</summary>
    [Fact]
    public void MutatedMessages_AreAnswered()
    {
        int own = 0;
        _eal.Control.Register(Own, (_, _) =>
        {
            own++;
            return new([]);
        });
        var random = new Random(5);
        byte[] whole = ControlHeader.Frame(Own, Errno.None, "some bytes"u8);
        byte[] buffer = new byte[ControlHeader.MaxBytes];
        using (var client = new Socket(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified))
        {
            client.Connect(new UnixDomainSocketEndPoint(_eal.Control.SocketPath!));
            client.ReceiveTimeout = (int)s_patience.TotalMilliseconds;
            for (int i = 0; i < 20_000; i++)
            {
                byte[] message = TelemetryTests.Mutate(whole, random);
                if (message.Length == 0)
                    continue;       // which ends a connection
                Assert.Equal(message.Length, client.Send(message));
                int length = client.Receive(buffer);
                Assert.True(ControlHeader.TryParse(buffer.AsSpan(0, length), out ControlHeader header, out _));
                Assert.True(header.Error != Errno.None || header.Type is Own or ControlType.Hello);
            }
        }
        Assert.True(own > 100, "no message got through: the mutations are no test");
        using var connection = ControlConnection.Find(_prefix, null);
        connection.Ask(Own, [], []);
    }

    private Eal Start(Func<EalOptions, EalOptions>? change = null)
    {
        var options = new EalOptions
        {
            NoHuge = true, NoPci = true, FilePrefix = _prefix, Lcores = [new(0, Affinity.Get())],
        };
        return Eal.Initialize(change?.Invoke(options) ?? options);
    }

    private sealed class Ender(Action end) : IDisposable
    {
        public void Dispose() => end();
    }
}
