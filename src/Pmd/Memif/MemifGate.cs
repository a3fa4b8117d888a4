namespace Dataplane.Pmd;

/// <summary>
/// The lock of ports that share a socket, and what is to be done once it is free: a channel that is closed waits for
/// its callback, and that waits for this lock.
/// </summary>
internal sealed class MemifGate
{
    private readonly Lock _lock = new();
    private readonly List<IDisposable> _ended = [];
    private readonly List<MemifPort> _changed = [];

    /// <summary>Runs an action under the lock, then disposes and tells what it left. Not from within an
    /// action.</summary>
    internal void Run(Action action)
    {
        IDisposable[] ended;
        MemifPort[] changed;
        lock (_lock)
        {
            try
            {
                action();
            }
            finally
            {
                (ended, changed) = ([.. _ended], [.. _changed]);
                _ended.Clear();
                _changed.Clear();
            }
        }
        foreach (IDisposable one in ended)
            one.Dispose();
        foreach (MemifPort port in changed)
            port.TellLink();
    }

    /// <summary>Disposes it after the action.</summary>
    internal void DisposeLater(IDisposable ended) => _ended.Add(ended);

    /// <summary>Raises the port's event after the action.</summary>
    internal void TellLater(MemifPort port) => _changed.Add(port);
}
