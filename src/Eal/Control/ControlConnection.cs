using System.Globalization;
using System.Text;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>The other end of the control socket: a tool's connection to a running application. One thread at a
/// time.</summary>
internal sealed class ControlConnection : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly UnixSocket _socket;
    private readonly SafeFileHandle _set = Epoll.Create();
    private readonly byte[] _buffer = new byte[ControlHeader.MaxBytes];

    private ControlConnection(UnixSocket socket)
    {
        _socket = socket;
        ProcessId = socket.Peer.pid;
        Epoll.Add(_set, socket.Handle, 0);
    }

    /// <summary>The application's process.</summary>
    internal int ProcessId { get; }

    /// <summary>Connects to the application at a socket.</summary>
    /// <exception cref="NativeException">Nobody listens there, or we may not.</exception>
    internal static ControlConnection Open(string path)
    {
        UnixSocket socket = UnixSocket.Connect(path, Native.Socket.SOCK_SEQPACKET);
        try
        {
            return new(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Connects to the one application that runs with a file prefix, or to a process of them.</summary>
    /// <param name="prefix">Its <c>--file-prefix</c>.</param>
    /// <param name="processId">Which one, where several may run.</param>
    /// <exception cref="DataplaneException">There is none, or there are several.</exception>
    internal static ControlConnection Find(string prefix, int? processId)
    {
        string directory = TelemetrySocket.RuntimeDirectory(prefix);
        var found = new List<ControlConnection>();
        NativeException? failure = null;
        foreach (string path in Directory.Exists(directory)
            ? Directory.GetFiles(directory, ControlService.FileName + "*") : [])
        {
            try
            {
                found.Add(Open(path));
            }
            catch (NativeException e)
            {
                // One that is not to be had does not hide the others. ECONNREFUSED, ENOENT: what a process left that
                // was killed, or one that ended just now.
                if (e.Errno is not (Errno.ECONNREFUSED or Errno.ENOENT))
                    failure ??= e;
            }
        }
        ControlConnection[] wanted = [.. found.Where(one => processId == null || one.ProcessId == processId)];
        if (wanted.Length == 1)
        {
            foreach (ControlConnection other in found.Where(other => other != wanted[0]))
                other.Dispose();
            return wanted[0];
        }
        string pids = string.Join(", ", found.Select(one => one.ProcessId.ToString(CultureInfo.InvariantCulture)));
        found.ForEach(one => one.Dispose());
        throw wanted.Length > 1
            ? new ConfigException($"several applications run with the file prefix '{prefix}'", $"processes {pids}",
                "say which: --pid PID")
            : new DataplaneException($"no application to attach to: file prefix '{prefix}'"
                + (processId == null ? "" : $", process {processId}"),
                pids.Length > 0 ? $"the processes there are {pids}" : failure?.Message
                    ?? $"nobody listens in {directory}",
                "give its own --file-prefix, run as its user, and start it without --no-telemetry and --in-memory",
                "docs/capture.md", pids.Length > 0 || failure == null ? Errno.ENOENT : failure.Errno);
    }

    /// <summary>Asks and waits for the answer.</summary>
    /// <param name="type">What about.</param>
    /// <param name="body">With what.</param>
    /// <param name="files">Where files that come with the answer are added; the caller's to dispose.</param>
    /// <exception cref="DataplaneException">The application refused, in its words; or it is gone.</exception>
    internal byte[] Ask(ControlType type, ReadOnlySpan<byte> body, List<SafeFileHandle> files)
    {
        byte[] request = ControlHeader.Frame(type, Errno.None, body);
        try
        {
            if (_socket.Send(request) != request.Length)
                throw new DataplaneException($"process {ProcessId} does not read its control socket",
                    errno: Errno.ETIMEDOUT);
        }
        catch (NativeException e) when (e.Errno is Errno.EPIPE or Errno.ECONNRESET)
        {
            // It closed the connection; why, it said before.
        }
        int length = Receive(files);
        if (!ControlHeader.TryParse(_buffer.AsSpan(0, length), out ControlHeader header,
            out ReadOnlySpan<byte> answer) || header.Type != type && header.Type != ControlType.None)
            throw new DataplaneException($"process {ProcessId} gave no answer of the control protocol",
                errno: Errno.EBADMSG);
        if (header.Error != Errno.None || header.Type != type)
            throw new DataplaneException($"process {ProcessId} refused: {Encoding.UTF8.GetString(answer)}",
                errno: header.Error);
        return answer.ToArray();
    }

    /// <summary>Whether the application is gone. It says nothing without being asked.</summary>
    internal bool IsGone()
    {
        Span<epoll_event> one = stackalloc epoll_event[1];
        return Epoll.Wait(_set, one, 0) > 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _set.Dispose();
        _socket.Dispose();
    }

    private int Receive(List<SafeFileHandle> files)
    {
        Span<epoll_event> one = stackalloc epoll_event[1];
        long end = Environment.TickCount64 + (long)s_patience.TotalMilliseconds;
        for (bool wasReset = false; ;)
        {
            int length;
            try
            {
                length = _socket.Receive(_buffer, files);
            }
            catch (NativeException e) when (e.Errno == Errno.ECONNRESET && !wasReset)
            {
                wasReset = true;    // the kernel tells that once, and then what was said before
                continue;
            }
            if (length > 0)
                return length;
            long left = end - Environment.TickCount64;
            if (length == 0 || left <= 0)
                throw new DataplaneException(length == 0 ? $"process {ProcessId} closed the connection"
                    : $"process {ProcessId} does not answer", errno: length == 0 ? Errno.ECONNRESET : Errno.ETIMEDOUT);
            Epoll.Wait(_set, one, (int)left);
        }
    }
}
