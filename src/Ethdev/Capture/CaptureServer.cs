using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane;

/// <summary>
/// Lets tools of the same user capture packets of a list's ports, over the control socket. What a request says is
/// checked; a capture ends when its connection does, however that comes about, or the list.
/// </summary>
internal sealed class CaptureServer : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<CaptureSession> _sessions = [];
    private readonly IDisposable _registration;
    private readonly Func<IReadOnlyList<Port>> _ports;
    private bool _disposed;

    /// <summary>Of the ports there are when it is asked.</summary>
    internal CaptureServer(Eal eal, Func<IReadOnlyList<Port>> ports)
    {
        _ports = ports;
        _registration = eal.Control.Register(ControlType.Capture, Answer);
    }

    /// <summary>Captures there are.</summary>
    internal int Count
    {
        get
        {
            lock (_lock)
                return _sessions.Count;
        }
    }

    /// <summary>Ends all captures, and takes no more.</summary>
    public void Dispose()
    {
        _registration.Dispose();
        lock (_lock)
        {
            _disposed = true;
            foreach (CaptureSession session in _sessions.ToArray())
                session.Dispose();
        }
    }

    private ControlAnswer Answer(LocalClient client, ReadOnlySpan<byte> body)
    {
        if (!MemoryMarshal.TryRead(body, out CaptureRequest request))
            throw new ConfigException("the request is too short");
        PacketFilter? filter = Check(ref request, body[Unsafe.SizeOf<CaptureRequest>()..]);
        lock (_lock)
        {
            if (_disposed)
                throw new DataplaneException("the application is closing its ports", errno: Errno.ESHUTDOWN);
            RequireFewer(client);
            List<object> queues = Find(request);
            ulong wanted = (ulong)queues.Count * request.RingBytes, used = 0;
            foreach (CaptureSession session in _sessions)
                used += session.Bytes;
            if (queues.Count > CaptureRequest.MostRings || used + wanted > CaptureRequest.MostBytes)
                throw new DataplaneException($"{queues.Count} queues are too many for one capture",
                    $"they want {wanted >> 20} MB, and captures have {used >> 20} MB already of "
                    + $"{CaptureRequest.MostBytes >> 20}",
                    "say which port, queue or direction, or give a smaller --buffer-size", errno: Errno.ENOMEM);
            var made = new CaptureSession(client, queues, request, filter, Forget);
            _sessions.Add(made);
            client.Own(new Held(this, made));
            return made.Answer();
        }
    }

    private void RequireFewer(LocalClient client)
    {
        int own = _sessions.Count(session => session.Client == client);
        if (own >= CaptureRequest.MostCapturesOfAClient || _sessions.Count >= CaptureRequest.MostCaptures)
            throw new DataplaneException("there are too many captures already",
                $"{_sessions.Count} of {CaptureRequest.MostCaptures}, {own} of "
                + $"{CaptureRequest.MostCapturesOfAClient} of this connection", "end another capture first",
                errno: Errno.EBUSY);
    }

    private static PacketFilter? Check(ref CaptureRequest request, ReadOnlySpan<byte> rest)
    {
        ReadOnlySpan<sock_filter> program = MemoryMarshal.Cast<byte, sock_filter>(rest);
        if (program.Length != request.Instructions || rest.Length != program.Length * Unsafe.SizeOf<sock_filter>())
            throw new ConfigException("the filter is not as long as the request says");
        if (request.Direction is 0 or > (CaptureDirection.Receive | CaptureDirection.Transmit))
            throw new ConfigException("there is no such direction");
        if (!BitOperations.IsPow2(request.RingBytes)
            || request.RingBytes is < CaptureRequest.LeastRingBytes or > CaptureRequest.MostRingBytes)
            throw new ConfigException($"a ring cannot have {request.RingBytes} bytes",
                $"it has a power of two from {CaptureRequest.LeastRingBytes} to {CaptureRequest.MostRingBytes}");
        if (request.SnapLength is < CaptureRequest.LeastSnapLength or > CaptureRequest.MostSnapLength)
            throw new ConfigException($"a snap length of {request.SnapLength} cannot be",
                $"it is {CaptureRequest.LeastSnapLength} to {CaptureRequest.MostSnapLength}");
        // Four packets of any length fit, wherever in the ring the first begins.
        request.SnapLength = Math.Min(request.SnapLength, request.RingBytes / 4 - CaptureRecord.Unit);
        return program.Length == 0 ? null : PacketFilter.Create(program);
    }

    private List<object> Find(CaptureRequest request)
    {
        var queues = new List<object>();
        string name = NameIn(request);
        IReadOnlyList<Port> ports = _ports();
        foreach (Port port in ports)
        {
            if (name.Length != 0 ? name != port.Name
                : request.Port != CaptureRequest.All && request.Port != port.Id)
                continue;
            using Lock.Scope held = port.Gate.EnterScope();
            if ((request.Direction & CaptureDirection.Receive) != 0)
                queues.AddRange(Of(port.RxQueues, request.Queue));
            if ((request.Direction & CaptureDirection.Transmit) != 0)
                queues.AddRange(Of(port.TxQueues, request.Queue));
        }
        if (queues.Count == 0)
            throw new DataplaneException("there is no such queue to capture", "the ports are " + (ports.Count == 0
                ? "none" : string.Join(", ", ports.Select(port =>
                    $"{port.Id} {port.Name} ({port.RxQueues.Count} receive, {port.TxQueues.Count} transmit queues)"))),
                errno: Errno.ENODEV);
        return queues;
    }

    private static unsafe string NameIn(CaptureRequest request) =>
        CaptureRingInfo.Text(new ReadOnlySpan<byte>(request.PortName, CaptureRingInfo.NameBytes));

    private static IEnumerable<object> Of(IReadOnlyList<object?> queues, int index) =>
        queues.Where((queue, i) => queue != null && (index == CaptureRequest.All || index == i))
            .Select(queue => queue!);

    private void Forget(CaptureSession session)
    {
        lock (_lock)
            _sessions.Remove(session);
    }

    /// <summary>A client's hold: the list may end the capture at the same time.</summary>
    private sealed class Held(CaptureServer server, CaptureSession session) : IDisposable
    {
        public void Dispose()
        {
            lock (server._lock)
                session.Dispose();
        }
    }
}
