using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// Callbacks when a file becomes readable, on one control thread that starts with the first: what devices and the
/// kernel report now and then. Queues are not for here, they are polled. Any thread.
/// </summary>
public sealed partial class Interrupts : IDisposable
{
    private readonly Eal _eal;
    private readonly ILogger _logger;
    private readonly object _gate = new();   // guards all below; pulsed when a callback ends
    private readonly Dictionary<ulong, Registration> _registrations = [];
    private SafeFileHandle? _set, _wake;
    private Thread? _thread;
    private Registration? _running;
    private ulong _lastId;                   // 0 is _wake's
    private bool _disposed;

    internal Interrupts(Eal eal, ILogger logger)
    {
        _eal = eal;
        _logger = logger;
    }

    /// <summary>The only kind devices may use (<c>--vfio-intr</c>); None: any.</summary>
    internal InterruptKind OnlyKind => _eal.Options.VfioIntr;

    /// <summary>
    /// Calls <paramref name="onReadable"/> whenever there is something to read in <paramref name="fd"/>, until the
    /// result is disposed: then it runs no more, and where it runs just now, its end was waited for (unless it was
    /// disposed in it). Dispose the result before the file.
    /// </summary>
    /// <param name="fd">An eventfd, socket, timer or device.</param>
    /// <param name="onReadable">Short, and reads what is there, or it is called again at once. What it throws is
    /// logged; from then on it is called only when more arrives.</param>
    /// <exception cref="NativeException">The kernel cannot wait for such a file, or gives no more of them.</exception>
    public IDisposable Register(SafeFileHandle fd, Action onReadable)
    {
        ArgumentNullException.ThrowIfNull(fd);
        ArgumentNullException.ThrowIfNull(onReadable);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            EnsureStarted();
            var registration = new Registration(this, ++_lastId, fd, onReadable);
            Epoll.Add(_set!, fd, registration.Id);
            _registrations.Add(registration.Id, registration);
            return registration;
        }
    }

    /// <summary>Ends the thread, after the callback that runs now. What is registered still is not called
    /// again.</summary>
    public void Dispose()
    {
        ThrowIfCurrent();
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            _registrations.Clear();
            if (_wake != null)
                Eventfd.Signal(_wake);
        }
        _thread?.Join();
        _set?.Dispose();
        _wake?.Dispose();
    }

    internal void ThrowIfCurrent()
    {
        if (_thread != null && Thread.CurrentThread == _thread)
            throw new DataplaneException("the EAL cannot be disposed in an interrupt's callback",
                "it waits for that to end", "let the callback tell another thread to", errno: Errno.EDEADLK);
    }

    private void EnsureStarted()
    {
        if (_thread != null)
            return;
        SafeFileHandle? set = null, wake = null;
        try
        {
            set = Epoll.Create();
            wake = Eventfd.Create();
            Epoll.Add(set, wake, 0);
            (_set, _wake) = (set, wake);
            _thread = _eal.StartControlThread("dp-interrupt", Run);
        }
        catch
        {
            set?.Dispose();
            wake?.Dispose();
            throw;
        }
    }

    private void Run()
    {
        Span<epoll_event> ready = stackalloc epoll_event[16];
        while (true)
            foreach (epoll_event one in ready[..Epoll.Wait(_set!, ready, -1)])
            {
                Registration? registration;
                lock (_gate)
                {
                    if (_disposed)
                        return;
                    if (!_registrations.TryGetValue(one.data, out registration))
                        continue;   // it went after the kernel reported it
                    _running = registration;
                }
                RunOne(registration);
            }
    }

    private void RunOne(Registration registration)
    {
        try
        {
            registration.OnReadable();
        }
        catch (Exception e)
        {
            LogFailure(_logger, e);
            CallOnlyForMore(registration);
        }
        lock (_gate)
        {
            _running = null;
            Monitor.PulseAll(_gate);
        }
    }

    // It may not have read what is there, and would be called again without end.
    private void CallOnlyForMore(Registration registration)
    {
        lock (_gate)
            if (!registration.ForMore && _registrations.ContainsKey(registration.Id) && !registration.Fd.IsClosed)
            {
                registration.ForMore = true;
                try
                {
                    Epoll.MakeEdge(_set!, registration.Fd, registration.Id);
                }
                catch (NativeException e)
                {
                    LogFailure(_logger, e);   // its descriptor was closed under us: it is in no set any more
                }
            }
    }

    private void Remove(Registration registration)
    {
        lock (_gate)
        {
            if (_registrations.Remove(registration.Id) && !registration.Fd.IsClosed)
                Epoll.Remove(_set!, registration.Fd);
            while (_running == registration && Thread.CurrentThread != _thread)
                Monitor.Wait(_gate);
        }
    }

    [LoggerMessage(LogLevel.Error, "an interrupt's callback failed")]
    private static partial void LogFailure(ILogger logger, Exception exception);

    private sealed class Registration(Interrupts owner, ulong id, SafeFileHandle fd, Action onReadable) : IDisposable
    {
        internal ulong Id => id;

        internal SafeFileHandle Fd => fd;

        internal Action OnReadable => onReadable;

        internal bool ForMore { get; set; }

        public void Dispose() => owner.Remove(this);
    }
}
