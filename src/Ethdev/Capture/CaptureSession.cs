using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>One capture: its memory, and a tap with a ring on each of its queues. Ends with <see cref="Dispose"/>, any
/// number of times. Control path.</summary>
internal sealed unsafe class CaptureSession : IDisposable
{
    private readonly List<Action> _remove = [];
    private readonly List<CaptureTap> _taps = [];
    private readonly CaptureMemory _memory;
    private readonly Action<CaptureSession> _ended;
    private readonly CaptureReply _reply;
    private readonly CaptureRingInfo[] _infos;

    /// <summary>Puts taps on queues; packets are captured from here on.</summary>
    /// <param name="client">Whose it is.</param>
    /// <param name="queues">Receive and transmit queues, at least one.</param>
    /// <param name="request">Checked.</param>
    /// <param name="filter">Null: all packets.</param>
    /// <param name="ended">Called once.</param>
    /// <exception cref="NativeException">There is no memory for it.</exception>
    /// <exception cref="DataplaneException">A queue was released meanwhile.</exception>
    internal CaptureSession(LocalClient client, IReadOnlyList<object> queues, CaptureRequest request,
        PacketFilter? filter, Action<CaptureSession> ended)
    {
        Client = client;
        _ended = ended;
        _memory = new CaptureMemory(queues.Count, request.RingBytes);
        _infos = new CaptureRingInfo[queues.Count];
        (ulong cycles, long realTime) = CaptureClock.ReadBoth();
        _reply = new CaptureReply
        {
            RingCount = queues.Count, RingBytes = request.RingBytes, SnapLength = request.SnapLength,
            IsHardwareClock = Tsc.IsHardware ? 1u : 0, Hz = Tsc.Hz, Tsc = cycles, RealTimeNs = realTime,
        };
        try
        {
            for (int i = 0; i < queues.Count; i++)
                Add(queues[i], i, filter, request);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Who asked for it.</summary>
    internal LocalClient Client { get; }

    /// <summary>Bytes of its rings.</summary>
    internal ulong Bytes => (ulong)_memory.RingsBytes;

    /// <summary>What the reader is told, and the memory with it.</summary>
    internal ControlAnswer Answer()
    {
        byte[] body = new byte[sizeof(CaptureReply) + _infos.Length * sizeof(CaptureRingInfo)];
        MemoryMarshal.Write(body, _reply);
        MemoryMarshal.AsBytes(_infos.AsSpan()).CopyTo(body.AsSpan(sizeof(CaptureReply)));
        return new ControlAnswer(body, _memory.RingsFile, _memory.LinesFile);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Action remove in _remove)
            remove();
        _remove.Clear();
        foreach (CaptureTap tap in _taps)
            tap.Dispose();
        _taps.Clear();
        if (_memory.RingsFile.IsClosed)
            return;
        _memory.Dispose();
        _ended(this);
    }

    private void Add(object queue, int index, PacketFilter? filter, CaptureRequest request)
    {
        var tap = new CaptureTap(filter, request.SnapLength,
            new CaptureRing(_memory.Ring(index), request.RingBytes, _memory.Line(index)));
        _taps.Add(tap);
        tap.Offer([]);      // compiled here, and not when a lcore first comes by
        tap.Count(0);
        if (queue is RxQueue rx)
        {
            var callback = new RxCaptureTap(tap);
            _ = callback.OnReceived(rx, [], 0);
            using Lock.Scope held = rx.Port.Gate.EnterScope();
            RequireThere(rx.Port, rx.Port.RxQueues, rx, rx.Index);
            Describe(rx.Port, rx.Index, CaptureDirection.Receive, ref _infos[index]);
            rx.AddCallback(callback, first: true);
            _remove.Add(() => rx.RemoveCallback(callback));
        }
        else
        {
            var tx = (TxQueue)queue;
            var callback = new TxCaptureTap(tap);
            callback.OnOffered(tx, []);
            callback.OnTaken(tx, [], 0);
            using Lock.Scope held = tx.Port.Gate.EnterScope();
            RequireThere(tx.Port, tx.Port.TxQueues, tx, tx.Index);
            Describe(tx.Port, tx.Index, CaptureDirection.Transmit, ref _infos[index]);
            tx.AddCallback(callback);
            _remove.Add(() => tx.RemoveCallback(callback));
        }
    }

    // With the port's gate, which is held until the tap is there: what releases a queue tells its taps.
    private static void RequireThere(Port port, IReadOnlyList<object?> queues, object queue, int index)
    {
        if (port.State == PortState.Closed || index >= queues.Count || queues[index] != queue)
            throw new DataplaneException($"port {port.Name} was closed or configured anew just now", fix: "try again",
                errno: Errno.EAGAIN);
    }

    private static void Describe(Port port, int queue, CaptureDirection direction, ref CaptureRingInfo info)
    {
        (info.Port, info.Queue, info.Direction) = (port.Id, (ushort)queue, direction);
        info.LinkBitsPerSecond = port.GetLink() is { Up: true } link ? link.SpeedMbps * 1_000_000ul : 0;
        fixed (byte* mac = info.Mac)
            port.MacAddress.Write(new Span<byte>(mac, 6));
        fixed (byte* name = info.Name)
            CaptureRingInfo.Put(port.Name, new Span<byte>(name, CaptureRingInfo.NameBytes));
    }
}
