using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane;

/// <summary>Starting, reading and ending; the commands <c>/dataplane/trace</c> and <c>/dataplane/trace/read</c>. Any
/// thread.</summary>
public sealed partial class PacketTrace : IDisposable
{
    /// <summary>The most packets of one trace.</summary>
    public const int MaxPackets = 1000;

    internal const int Received = 0, Offered = 1, Sent = 2, Refused = 3;

    /// <summary>Records of one answer. With all their events and the longest names, none of which is written longer
    /// than it is, they fit <see cref="TelemetryValue.MaxOutputBytes"/>; a reader sees by their index that all did.
    /// </summary>
    internal const int PageRecords = 12;

    private readonly Lock _lock = new();
    private readonly Eal _eal;
    private readonly Func<IReadOnlyList<Port>> _ports;
    private readonly List<string> _names = ["received", "offered", "sent", "refused: queue full"];
    private readonly List<(RxQueue Queue, RxCallback Callback)> _receivers = [];
    private readonly List<(TxQueue Queue, TxCallback Callback)> _senders = [];
    private readonly IDisposable[] _commands;
    private Alarm? _alarm;      // pending: looks whether anybody still reads
    private long _lastAsked;
    private int _lastId;
    private bool _disposed;

    internal PacketTrace(Eal eal, Func<IReadOnlyList<Port>> ports)
    {
        (_eal, _ports) = (eal, ports);
        _commands =
        [
            eal.Telemetry.Register("/dataplane/trace", (_, p) => Start(p),
                "Follows the next packets. Parameters: int count (0: stop),int port_id (65535: any),hex filter"),
            eal.Telemetry.Register("/dataplane/trace/read", (_, p) => Read(p),
                "Returns what is known of followed packets. Parameters: int first"),
        ];
    }

    /// <summary>A stage or a reason to drop packets, by a name for people, e.g. <c>no route</c>. Control path, at
    /// start-up.</summary>
    /// <param name="name">At most 40 printable ASCII characters, quotes and backslashes apart.</param>
    /// <returns>What <see cref="Stage"/> and <see cref="Drop"/> take; the same for the same name.</returns>
    /// <exception cref="ConfigException">It is empty, too long or of other characters.</exception>
    public int AddName(string name)
    {
        if (name.Length is 0 or > 40 || name.Any(c => c is < ' ' or > '~' or '"' or '\\'))
            throw new ConfigException($"'{name}' cannot name a stage of a packet's way",
                "it has 1 to 40 printable ASCII characters, none of them a quote or a backslash");
        lock (_lock)
        {
            int at = _names.IndexOf(name, Refused + 1);
            if (at >= 0)
                return at;
            _names.Add(name);
            return _names.Count - 1;
        }
    }

    /// <summary>A trace that nobody reads for so long ends by itself.</summary>
    internal TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Ends what runs and takes the commands away.</summary>
    public void Dispose()
    {
        foreach (IDisposable command in _commands)
            command.Dispose();
        Alarm? alarm;
        lock (_lock)
        {
            _disposed = true;   // a request that is being answered just now may still want to start one
            Stop();
            (alarm, _alarm) = (_alarm, null);
        }
        alarm?.Cancel();    // not under the lock, which its callback takes
    }

    /// <summary>Follows the next packets received; a trace that runs is ended.</summary>
    /// <param name="count">1 to <see cref="MaxPackets"/>.</param>
    /// <param name="port">Only of this port; null: of all.</param>
    /// <param name="filter">Only those it takes; null: all.</param>
    /// <exception cref="ObjectDisposedException">It is.</exception>
    internal TraceSession Start(int count, Port? port, PacketFilter? filter = null)
    {
        Compile();
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            Stop();
            _alarm ??= _eal.Alarms.Set(Patience, EndAbandoned);
            var session = new TraceSession(_lastId = _lastId % short.MaxValue + 1, count,
                MbufDynamic.RegisterField<uint>(_eal.Memory, "dataplane_trace"),
                MbufDynamic.RegisterFlag(_eal.Memory, "dataplane_trace"));
            Volatile.Write(ref _session, session);
            Volatile.Write(ref _isOn, true);
            _lastAsked = Environment.TickCount64;
            // Senders first: a packet must not be met before the place where it will end.
            IReadOnlyList<Port> ports = _ports();
            foreach (Port one in ports)
                lock (one.Gate)
                    if (one.State != PortState.Closed)
                        WatchSenders(one, session);
            foreach (Port one in ports.Where(one => port == null || port == one))
                lock (one.Gate)
                    if (one.State != PortState.Closed)
                        WatchReceivers(one, session, filter);
            return session;
        }
    }

    /// <summary>Ends it; what is known stays to be read.</summary>
    internal void Stop()
    {
        lock (_lock)
        {
            Volatile.Write(ref _isOn, false);
            foreach ((RxQueue queue, RxCallback callback) in _receivers)
                queue.RemoveCallback(callback);
            foreach ((TxQueue queue, TxCallback callback) in _senders)
                queue.RemoveCallback(callback);
            _receivers.Clear();
            _senders.Clear();
        }
    }

    /// <summary>Has the code that the polling lcores will run from now on compiled here, not there.</summary>
    private static void Compile()
    {
        const BindingFlags any = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic;
        foreach (MethodInfo? method in (MethodInfo?[])[
            typeof(TraceReceiver).GetMethod(nameof(TraceReceiver.OnReceived), any),
            typeof(TraceReceiver).GetMethod(nameof(TraceReceiver.Pick), any),
            typeof(TraceSender).GetMethod(nameof(TraceSender.OnOffered), any),
            typeof(TraceSender).GetMethod(nameof(TraceSender.OnTaken), any),
            typeof(TraceSession).GetMethod(nameof(TraceSession.TryFollow), any),
            typeof(TraceSession).GetMethod(nameof(TraceSession.Find), any),
            typeof(TraceRecord).GetMethod(nameof(TraceRecord.Begin), any),
            typeof(TraceRecord).GetMethod(nameof(TraceRecord.Add), any),
            typeof(PacketTrace).GetMethod(nameof(Note), any)])
            if (method != null)
                RuntimeHelpers.PrepareMethod(method.MethodHandle);
    }

    private void WatchReceivers(Port port, TraceSession session, PacketFilter? filter)
    {
        foreach (RxQueue? queue in port.RxQueues)
            if (queue != null)
            {
                var receiver = new TraceReceiver(session, filter);
                queue.AddCallback(receiver);
                _receivers.Add((queue, receiver));
            }
    }

    private void WatchSenders(Port port, TraceSession session)
    {
        foreach (TxQueue? queue in port.TxQueues)
            if (queue != null)
            {
                var sender = new TraceSender(session);
                queue.AddCallback(sender);
                _senders.Add((queue, sender));
            }
    }

    private TelemetryDict? Start(string? parameters)
    {
        if (TelemetryParameters.Numbers(parameters, 1) is not [uint count] || count > MaxPackets)
            return null;
        Port? port = null;
        if (TelemetryParameters.Numbers(parameters, 2) is [_, uint id] && id != MbufHeader.NoPort)
        {
            port = _ports().FirstOrDefault(one => one.Id == id);
            if (port == null)
                return null;
        }
        if (count == 0)
        {
            Stop();
            return new() { { "trace", 0L }, { "wanted", 0L } };
        }
        if (!TryReadFilter(parameters, out PacketFilter? filter))
            return null;
        TraceSession session = Start((int)count, port, filter);
        return new() { { "trace", session.Id }, { "wanted", session.Wanted } };
    }

    /// <summary>The third parameter: a program of classic BPF as its bytes in hexadecimal.</summary>
    /// <returns>False where it is none, or may not run.</returns>
    private static bool TryReadFilter(string? parameters, out PacketFilter? filter)
    {
        filter = null;
        if (parameters!.Split(',') is not [_, _, var hex, ..])
            return true;
        try
        {
            byte[] program = Convert.FromHexString(hex);
            if (program.Length % Unsafe.SizeOf<sock_filter>() != 0)
                return false;
            filter = PacketFilter.Create(MemoryMarshal.Cast<byte, sock_filter>(program));
            return true;
        }
        catch (Exception e) when (e is FormatException or ConfigException)
        {
            return false;
        }
    }

    private TelemetryDict? Read(string? parameters)
    {
        if (TelemetryParameters.Numbers(parameters, 1) is not [uint first] || Volatile.Read(ref _session) is not { }
            session)
            return null;
        int taken = session.Taken;
        var packets = new TelemetryArray();
        for (int i = (int)Math.Min(first, int.MaxValue); i < taken && i - first < PageRecords; i++)
            packets.Add(Tell(i, session[i]));
        bool isDone = taken == session.Wanted;
        for (int i = 0; i < taken && isDone; i++)
            isDone = session[i].End != TraceEnd.Open;
        lock (_lock)
        {
            if (isDone && _session == session)
                Stop();
            _lastAsked = Environment.TickCount64;
        }
        return new()
        {
            { "trace", session.Id }, { "on", IsOn ? 1L : 0L }, { "wanted", session.Wanted }, { "taken", taken },
            { "hz", (ulong)Tsc.Hz }, { "packets", packets },
        };
    }

    private void EndAbandoned()
    {
        lock (_lock)
        {
            if (_disposed)
                return;
            if (IsOn && Environment.TickCount64 - _lastAsked >= Patience.TotalMilliseconds)
                Stop();
            _alarm = IsOn ? _eal.Alarms.Set(Patience, EndAbandoned) : null;
        }
    }

    private TelemetryDict Tell(int index, TraceRecord record)
    {
        TraceEnd end = record.End;      // before the events: those of the end are then there
        TelemetryArray stages = [], cycles = [], ports = [], queues = [];
        foreach (TraceEvent one in record.Events)
        {
            lock (_lock)
                stages.Add((uint)one.Name < (uint)_names.Count ? _names[one.Name] : $"(no name: {one.Name})");
            cycles.Add(one.Cycles);
            ports.Add(one.Port == MbufHeader.NoPort ? -1L : one.Port);
            queues.Add(one.Queue);
        }
        return new()
        {
            { "index", index }, { "end", end.ToString().ToLower(CultureInfo.InvariantCulture) },
            { "lcore", record.Lcore }, { "length", record.Length }, { "header", Convert.ToHexString(record.Header) },
            { "stages", stages }, { "cycles", cycles }, { "ports", ports }, { "queues", queues },
        };
    }
}
