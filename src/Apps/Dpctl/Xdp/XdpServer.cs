using System.Text;
using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Dpctl;

/// <summary>
/// Hands the XSKMAP of one interface, and AF_XDP sockets, to whoever may connect: the file's owner. What a client says
/// is one of a few words, or it is told no; whoever does not read the answers is cut off.
/// </summary>
internal sealed class XdpServer : IDisposable
{
    private const int MostClients = 64, WaitMs = 200;

    private readonly string _interface;
    private readonly XdpProgram _program;
    private readonly int _busyBudget;
    private readonly UnixSocket _listener;
    private readonly SafeFileHandle _set = Epoll.Create();
    private readonly Dictionary<ulong, UnixSocket> _clients = [];
    private ulong _next = 1;

    /// <summary>Listens.</summary>
    /// <exception cref="NativeException">EADDRINUSE: another does there.</exception>
    internal XdpServer(string interfaceName, XdpProgram program, string path, int busyBudget)
    {
        _interface = interfaceName;
        _program = program;
        _busyBudget = busyBudget;
        _listener = UnixSocket.Listen(path, Socket.SOCK_SEQPACKET);
        Epoll.Add(_set, _listener.Handle, 0);
    }

    /// <summary>Serves until told to stop.</summary>
    internal void Run(CancellationToken stop)
    {
        var ready = new epoll_event[16];
        while (!stop.IsCancellationRequested)
        {
            int count = Epoll.Wait(_set, ready, WaitMs);
            foreach (epoll_event one in ready.AsSpan(0, count))
                if (one.data == 0)
                    Accept();
                else if (_clients.TryGetValue(one.data, out UnixSocket? client) && !Answer(client))
                    Drop(one.data, client);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (UnixSocket client in _clients.Values)
            client.Dispose();
        _listener.Dispose();
        _set.Dispose();
    }

    private void Accept()
    {
        if (_listener.Accept() is not { } client)
            return;
        if (_clients.Count == MostClients)
        {
            client.Dispose();
            return;
        }
        Epoll.Add(_set, client.Handle, _next);
        _clients.Add(_next++, client);
    }

    private void Drop(ulong id, UnixSocket client)
    {
        Epoll.Remove(_set, client.Handle);
        client.Dispose();
        _clients.Remove(id);
    }

    /// <summary>One request and its answer.</summary>
    /// <returns>False when the client is gone, or is to go.</returns>
    private bool Answer(UnixSocket client)
    {
        Span<byte> bytes = stackalloc byte[256];
        var files = new List<SafeFileHandle>();
        try
        {
            int count = client.Receive(bytes, files);
            if (count <= 0)
                return count < 0;
            string[] words = Encoding.ASCII.GetString(bytes[..count]).TrimEnd('\0', '\n').Split(',', 2);
            bool ours = words.Length == 2 && words[1] == _interface;
            switch (words[0])
            {
                case XdpWords.Connect:
                    return Say(client, XdpWords.HostOk);    // the file's owner alone can connect
                case XdpWords.Version:
                    return Say(client, XdpWords.VersionNumber);
                case XdpWords.Map:
                    return ours ? Say(client, XdpWords.FileOk, _program.Map) : Say(client, XdpWords.FileNak);
                case XdpWords.Sockets when ours:
                    using (SafeFileHandle socket = MakeSocket())
                        return Say(client, XdpWords.FileOk, socket);
                case XdpWords.Sockets:
                    return Say(client, XdpWords.FileNak);
                case XdpWords.End:
                    _ = Say(client, XdpWords.EndOk);
                    return false;
                default:
                    return Say(client, XdpWords.Unknown);
            }
        }
        catch (NativeException)
        {
            return false;   // the client's end broke, or we have no more files: it may ask again
        }
        finally
        {
            foreach (SafeFileHandle file in files)
                file.Dispose();     // nobody was asked for one
        }
    }

    /// <summary>With what its user has no right to set.</summary>
    private SafeFileHandle MakeSocket()
    {
        SafeFileHandle socket = XdpSocket.OpenHandle("dpctl xdp");
        if (_busyBudget != 0)
            XdpSocket.SetBusyPoll(socket, _busyBudget);
        _ = Socket.TrySetOption(socket, Socket.SOL_SOCKET, Socket.SO_SNDBUFFORCE, 4 << 20);
        return socket;
    }

    private static bool Say(UnixSocket client, string answer, SafeFileHandle? file = null)
    {
        byte[] bytes = Encoding.ASCII.GetBytes(answer);
        return (file == null ? client.Send(bytes) : client.Send(bytes, Socket.Fd(file))) == bytes.Length;
    }
}
