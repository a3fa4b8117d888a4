using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>Who is connected, and how that comes and goes. Control path; all under one lock, which no burst
/// takes.</summary>
internal sealed unsafe partial class VhostPort
{
    private static readonly TimeSpan s_retryEvery = TimeSpan.FromMilliseconds(100);

    private readonly Lock _gate = new();
    private UnixSocket? _listener;
    private IDisposable? _listening, _reading;
    private Alarm? _retry;
    private VhostSession? _session;
    private ulong _offered, _connections;
    private bool _serving, _open, _linkUp, _absentTold;

    /// <summary>A ring has a queue behind it that may run.</summary>
    internal bool IsServing(int vring) => _serving
        && vring / 2 < (vring % 2 == 0 ? TxQueues.Count : RxQueues.Count);

    /// <summary>Gives a queue its ring, or takes it away; no burst uses it any more when this returns.</summary>
    internal void SetRing(int vring, VhostRing? ring, SafeFileHandle? kick)
    {
        int index = vring / 2;
        if (vring % 2 == 0 && index < TxQueues.Count)
            ((VhostTxQueue)TxQueues[index]).SetRing(ring, _session?.Features ?? 0);
        else if (vring % 2 != 0 && index < RxQueues.Count)
            ((VhostRxQueue)RxQueues[index]).SetRing(ring, _session?.Features ?? 0, kick);
    }

    /// <summary>Tells of the link where it is another than before. Under the lock; handlers are quick.</summary>
    internal void LinkMayHaveChanged()
    {
        bool up = State == PortState.Started && _session is { IsUp: true };
        if (up == _linkUp)
            return;
        _linkUp = up;
        Raise(PortEvent.LinkChanged);
    }

    private void Open()
    {
        lock (_gate)
        {
            _absentTold = false;
            if (!Options.Client)
                _listener = UnixSocket.ListenFor(Name, Options.Path, Socket.SOCK_STREAM);
            _open = true;
            if (Options.Client)
                Connect();
            else
                Listen();
            _watch = Eal.Alarms.Set(s_retryEvery, Watch);
        }
    }

    private void Close()
    {
        IDisposable? listening, reading;
        Alarm? retry, watch;
        lock (_gate)
        {
            _open = false;
            (listening, reading, retry, watch) = (_listening, _reading, _retry, _watch);
            (_listening, _reading, _retry, _watch) = (null, null, null, null);
        }
        // Each waits for a callback that runs, which wants the lock.
        listening?.Dispose();
        reading?.Dispose();
        retry?.Cancel();
        watch?.Cancel();
        lock (_gate)
        {
            _session?.Dispose();
            _session = null;
            _listener?.Dispose();
            _listener = null;
            LinkMayHaveChanged();
        }
    }

    private void Listen() => _listening = Eal.Interrupts.Register(_listener!.Handle, Accept);

    private void Accept()
    {
        lock (_gate)
        {
            if (!_open || _session != null || _listener!.Accept() is not { } socket)
                return;
            // One at a time: who comes while one is there waits until it has gone.
            _listening?.Dispose();
            _listening = null;
            Begin(socket);
        }
    }

    private void Connect()
    {
        try
        {
            Begin(UnixSocket.Connect(Options.Path, Socket.SOCK_STREAM));
        }
        catch (NativeException e)
        {
            if (!_absentTold)
                LogAbsent(_log, Name, Options.Path, e.Errno);
            _absentTold = true;
            _retry = Eal.Alarms.Set(s_retryEvery, Retry);
        }
    }

    private void Retry()
    {
        lock (_gate)
            if (_open && _session == null)
                Connect();
    }

    private void Begin(UnixSocket socket)
    {
        _session = new VhostSession(this, new VhostChannel(socket), _offered);
        _connections++;
        _absentTold = false;
        _brokenTold = false;
        _reading = Eal.Interrupts.Register(_session.Handle, OnReadable);
        LogConnected(_log, Name, Options.Path);
    }

    private void OnReadable()
    {
        lock (_gate)
        {
            if (!_open || _session == null)
                return;
            try
            {
                _session.Serve();
            }
            catch (DataplaneException e)
            {
                Disconnect(e);
            }
        }
    }

    private void Disconnect(DataplaneException why)
    {
        LogDisconnected(_log, Name, why.Why == null ? why.What : $"{why.What}: {why.Why}");
        _reading?.Dispose();
        _reading = null;
        _session?.Dispose();
        _session = null;
        LinkMayHaveChanged();
        if (!_open)
            return;
        if (Options.Client)
            _retry = Eal.Alarms.Set(s_retryEvery, Retry);
        else
            Listen();
    }

    private Alarm? _watch;
    private bool _brokenTold;

    /// <summary>Looks for rings that a burst found broken.</summary>
    private void Watch()
    {
        lock (_gate)
        {
            if (!_open)
                return;
            if (!_brokenTold && _session?.TellFaults() is { } found)
            {
                _brokenTold = true;
                LogBroken(_log, Name, found.Index, found.Fault);
            }
            _watch = Eal.Alarms.Set(s_retryEvery, Watch);
        }
    }

    [LoggerMessage(LogLevel.Information, "port {Port}: a front end is connected at {Path}")]
    private static partial void LogConnected(ILogger logger, string port, string path);

    [LoggerMessage(LogLevel.Information, "port {Port}: the front end is gone: {Why}")]
    private static partial void LogDisconnected(ILogger logger, string port, string why);

    [LoggerMessage(LogLevel.Warning, "port {Port}: nobody listens at {Path} yet ({Errno}); trying on")]
    private static partial void LogAbsent(ILogger logger, string port, string path, Errno errno);

    [LoggerMessage(LogLevel.Error, "port {Port}: the front end broke the rules of ring {Ring}: {Fault}; the ring moves "
        + "nothing until it is set up anew")]
    private static partial void LogBroken(ILogger logger, string port, int ring, VhostFault fault);
}
