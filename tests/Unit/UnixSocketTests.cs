using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests.Unit;

public sealed class UnixSocketTests
{
    private static string NewPath() => Path.Combine(Path.GetTempPath(), $"dp-{Guid.NewGuid():N}.sock");

    [Theory]
    [InlineData(Socket.SOCK_STREAM)]
    [InlineData(Socket.SOCK_SEQPACKET)]
    public void Send_BytesAndFiles_ArriveAtTheOtherEnd(int type)
    {
        string path = NewPath();
        using UnixSocket listener = UnixSocket.Listen(path, type);
        Assert.Null(listener.Accept());
        using UnixSocket client = UnixSocket.Connect(path, type);
        using UnixSocket server = listener.Accept()!;
        List<SafeFileHandle> files = [];
        byte[] buffer = new byte[64];
        Assert.Equal(-1, server.Receive(buffer, files));

        using SafeFileHandle a = Eventfd.Create(), b = Eventfd.Create();
        Assert.Equal(5, client.Send("hello"u8, Socket.Fd(a), Socket.Fd(b)));
        Assert.Equal(5, server.Receive(buffer, files));
        Assert.Equal("hello"u8, buffer.AsSpan(0, 5));
        Assert.Equal(2, files.Count);
        Eventfd.Signal(files[1]);   // the same eventfd by another number
        Assert.Equal(0ul, Eventfd.Drain(a));
        Assert.Equal(1ul, Eventfd.Drain(b));
        Assert.Equal(Environment.ProcessId, server.Peer.pid);
        files.ForEach(file => file.Dispose());

        client.Dispose();
        Assert.Equal(0, server.Receive(buffer, files));
        Assert.Equal(Errno.EPIPE, Assert.Throws<NativeException>(() => server.Send("x"u8)).Errno);
    }

    [Fact]
    public void Listen_PathInUse_RefusedAndTheFirstKeepsIt()
    {
        string path = NewPath();
        using (UnixSocket first = UnixSocket.Listen(path, Socket.SOCK_STREAM))
        {
            NativeException e = Assert.Throws<NativeException>(() => UnixSocket.Listen(path, Socket.SOCK_STREAM));
            Assert.Equal(Errno.EADDRINUSE, e.Errno);
            Assert.True(File.Exists(path));
        }
        Assert.False(File.Exists(path));
    }

    [Fact]
    public void Listen_PathOfADeadProcess_TakesIt()
    {
        string path = NewPath();
        using (UnixSocket dead = UnixSocket.Listen(path, Socket.SOCK_STREAM))
            File.Move(path, path + "-kept");   // Dispose must not remove what is to be found
        File.Move(path + "-kept", path);
        using UnixSocket second = UnixSocket.Listen(path, Socket.SOCK_STREAM);
        UnixSocket.Connect(path, Socket.SOCK_STREAM).Dispose();
    }

    [Fact]
    public void Listen_FileThatIsNoSocket_LeftAlone()
    {
        string path = NewPath();
        File.WriteAllText(path, "mine");
        try
        {
            Assert.Throws<NativeException>(() => UnixSocket.Listen(path, Socket.SOCK_STREAM));
            Assert.Equal("mine", File.ReadAllText(path));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Listen_AbstractName_NoFile()
    {
        string name = $"@dp-{Guid.NewGuid():N}";
        using UnixSocket listener = UnixSocket.Listen(name, Socket.SOCK_STREAM);
        using UnixSocket client = UnixSocket.Connect(name, Socket.SOCK_STREAM);
        using UnixSocket? server = listener.Accept();
        Assert.NotNull(server);
    }

    [Fact]
    public void Connect_NobodyOrTooLong_SaysSo()
    {
        Assert.Equal(Errno.ENOENT, Assert.Throws<NativeException>(
            () => UnixSocket.Connect(NewPath(), Socket.SOCK_STREAM)).Errno);
        Assert.Equal(Errno.ENAMETOOLONG, Assert.Throws<NativeException>(
            () => UnixSocket.Listen("/tmp/" + new string('x', 103), Socket.SOCK_STREAM)).Errno);
    }
}
