using System.Text;
using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// Serves all clients of one environment's telemetry on one control thread. One who does not read his answers is not
/// read from either, and costs nobody else anything.
/// </summary>
internal sealed partial class TelemetryServer : IDisposable
{
    private const int MaxClients = 10, MaxRequestBytes = 1023;
    private const ulong WakeId = 0, ListenerId = 1;

    private readonly Telemetry _telemetry;
    private readonly ILogger _logger;
    private readonly TelemetrySocket _socket;
    private readonly SafeFileHandle _set = Epoll.Create(), _wake = Eventfd.Create();
    private readonly Dictionary<ulong, Client> _clients = [];
    private readonly byte[] _request = new byte[MaxRequestBytes];
    private readonly List<SafeFileHandle> _files = [];
    private readonly Thread _thread;
    private ulong _lastId = ListenerId;

    /// <summary>Owns the socket once it is made.</summary>
    internal TelemetryServer(Eal eal, Telemetry telemetry, TelemetrySocket socket, ILogger logger)
    {
        _telemetry = telemetry;
        _logger = logger;
        _socket = socket;
        try
        {
            Epoll.Add(_set, _wake, WakeId);
            Epoll.Add(_set, socket.Listener.Handle, ListenerId);
            _thread = eal.StartControlThread("dp-telemetry", Run);
        }
        catch
        {
            Close();
            throw;
        }
    }

    internal void ThrowIfCurrent()
    {
        if (Thread.CurrentThread == _thread)
            throw new DataplaneException("the EAL cannot be disposed in a telemetry callback",
                "it waits for that to end", "let the callback tell another thread to", errno: Errno.EDEADLK);
    }

    /// <summary>Ends the thread after the request it answers now, and closes all.</summary>
    public void Dispose()
    {
        if (_set.IsClosed)
            return;
        Eventfd.Signal(_wake);
        _thread.Join();
        Close();
    }

    private void Close()
    {
        foreach (Client client in _clients.Values)
            client.Socket.Dispose();
        _clients.Clear();
        _socket.Dispose();
        _set.Dispose();
        _wake.Dispose();
    }

    private void Run()
    {
        Span<epoll_event> ready = stackalloc epoll_event[MaxClients + 2];
        while (true)
            foreach (epoll_event one in ready[..Epoll.Wait(_set, ready, -1)])
            {
                if (one.data == WakeId)
                    return;
                if (one.data == ListenerId)
                    AcceptAll();
                else if (_clients.TryGetValue(one.data, out Client? client))
                    Serve(client);
            }
    }

    private void AcceptAll()
    {
        try
        {
            while (_socket.Listener.Accept() is { } socket)
                Welcome(socket);
        }
        catch (NativeException e)
        {
            LogAccept(_logger, e);
            // Out of files: they wait there until one more comes, and this thread does not spin meanwhile.
            Epoll.MakeEdge(_set, _socket.Listener.Handle, ListenerId);
        }
    }

    private void Welcome(UnixSocket socket)
    {
        var client = new Client(++_lastId, socket);
        try
        {
            if (_clients.Count >= MaxClients)
            {
                socket.Dispose();
                return;
            }
            Epoll.Add(_set, socket.Handle, client.Id);
            _clients.Add(client.Id, client);
            Reply(client, Encoding.ASCII.GetBytes(Telemetry.Greeting));
        }
        catch (NativeException)
        {
            Drop(client);
        }
    }

    private void Serve(Client client)
    {
        try
        {
            if (client.Unsent is { } answer)
            {
                if (client.Socket.Send(answer) < 0)
                    return;
                client.Unsent = null;
                Epoll.Watch(_set, client.Socket.Handle, client.Id, Epoll.EPOLLIN);
                return;
            }
            int length = client.Socket.Receive(_request, _files);
            if (length > 0)
                Reply(client, Encoding.ASCII.GetBytes(_telemetry.Answer(_request.AsSpan(0, length))));
            else if (length == 0)
                Drop(client);
        }
        catch (NativeException)
        {
            Drop(client);   // it is gone, or sent what cannot be taken
        }
        finally
        {
            foreach (SafeFileHandle file in _files)
                file.Dispose();
            _files.Clear();
        }
    }

    private void Reply(Client client, byte[] answer)
    {
        if (client.Socket.Send(answer) >= 0)
            return;
        client.Unsent = answer;
        Epoll.Watch(_set, client.Socket.Handle, client.Id, Epoll.EPOLLOUT);
    }

    private void Drop(Client client)
    {
        _clients.Remove(client.Id);
        client.Socket.Dispose();   // which takes it out of the set too
    }

    [LoggerMessage(LogLevel.Warning, "a telemetry client cannot be taken")]
    private static partial void LogAccept(ILogger logger, Exception exception);

    private sealed class Client(ulong id, UnixSocket socket)
    {
        internal ulong Id => id;

        internal UnixSocket Socket => socket;

        /// <summary>The answer it has no room for yet.</summary>
        internal byte[]? Unsent { get; set; }
    }
}
