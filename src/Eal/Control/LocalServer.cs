using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// Serves the clients of all sockets of one environment, telemetry and control, on one control thread. One who does
/// not read his answers is not read from either, and costs nobody else anything.
/// </summary>
internal sealed partial class LocalServer : IDisposable
{
    private const int MaxClients = 10, MaxReady = 32;
    private const ulong WakeId = 0;

    private readonly ILogger _logger;
    private readonly LocalService[] _services;      // a service's id is its place + 1
    private readonly SafeFileHandle _set = Epoll.Create(), _wake = Eventfd.Create();
    private readonly Dictionary<ulong, LocalClient> _clients = [];
    private readonly byte[] _request;
    private readonly List<SafeFileHandle> _files = [];
    private readonly Thread _thread;
    private ulong _lastId;

    /// <summary>Owns the services once it is made.</summary>
    internal LocalServer(Eal eal, ILogger logger, params LocalService[] services)
    {
        _logger = logger;
        _services = services;
        _lastId = (ulong)services.Length;
        _request = new byte[services.Max(service => service.MaxRequestBytes)];
        try
        {
            Epoll.Add(_set, _wake, WakeId);
            for (int i = 0; i < services.Length; i++)
                Epoll.Add(_set, services[i].Socket.Listener.Handle, (ulong)i + 1);
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
        foreach (LocalClient client in _clients.Values)
            client.Dispose();
        _clients.Clear();
        foreach (LocalService service in _services)
            service.Socket.Dispose();
        _set.Dispose();
        _wake.Dispose();
    }

    private void Run()
    {
        Span<epoll_event> ready = stackalloc epoll_event[MaxReady];
        while (true)
            foreach (epoll_event one in ready[..Epoll.Wait(_set, ready, -1)])
            {
                if (one.data == WakeId)
                    return;
                if (one.data <= (ulong)_services.Length)
                    AcceptAll(_services[one.data - 1], one.data);
                else if (_clients.TryGetValue(one.data, out LocalClient? client))
                    Serve(client);
            }
    }

    private void AcceptAll(LocalService service, ulong id)
    {
        try
        {
            while (service.Socket.Listener.Accept() is { } socket)
                Welcome(service, socket);
        }
        catch (NativeException e)
        {
            LogAccept(_logger, e);
            // Out of files: they wait there until one more comes, and this thread does not spin meanwhile.
            Epoll.MakeEdge(_set, service.Socket.Listener.Handle, id);
        }
    }

    private void Welcome(LocalService service, UnixSocket socket)
    {
        var client = new LocalClient(++_lastId, service, socket);
        try
        {
            bool isFull = _clients.Values.Count(other => other.Service == service) >= MaxClients;
            if (isFull || !service.IsWelcome(socket))
            {
                LocalAnswer? refusal = isFull ? service.Refusal(Errno.EBUSY, $"it serves {MaxClients} others already")
                    : service.Refusal(Errno.EACCES, "it serves its own user and root alone");
                if (refusal is { } words)
                    client.Send(words);
                client.Dispose();
                return;
            }
            Epoll.Add(_set, socket.Handle, client.Id);
            _clients.Add(client.Id, client);
            if (service.Greeting is { } greeting)
                Reply(client, greeting);
        }
        catch (NativeException)
        {
            Drop(client);
        }
    }

    private void Serve(LocalClient client)
    {
        try
        {
            if (client.Unsent is { } answer)
            {
                if (client.Send(answer) < 0)
                    return;
                client.Unsent = null;
                Epoll.Watch(_set, client.Socket.Handle, client.Id, Epoll.EPOLLIN);
                return;
            }
            int length = client.Socket.Receive(_request.AsSpan(0, client.Service.MaxRequestBytes), _files);
            if (length > 0)
                Reply(client, client.Service.Answer(client, _request.AsSpan(0, length)));
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
                file.Dispose();     // nobody is asked for one
            _files.Clear();
        }
    }

    private void Reply(LocalClient client, LocalAnswer answer)
    {
        if (client.Send(answer) >= 0)
            return;
        client.Unsent = answer;
        Epoll.Watch(_set, client.Socket.Handle, client.Id, Epoll.EPOLLOUT);
    }

    private void Drop(LocalClient client)
    {
        _clients.Remove(client.Id);
        client.Dispose();   // which takes it out of the set too
    }

    [LoggerMessage(LogLevel.Warning, "a client of telemetry or control cannot be taken")]
    private static partial void LogAccept(ILogger logger, Exception exception);
}
