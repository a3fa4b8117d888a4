using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>
/// SIGINT and SIGTERM as a wish to stop, from its making to <see cref="Dispose"/>. The first signal asks, a later one
/// ends the process as usual. What comes within a second of the first is the same wish: timeout(1) signals the process
/// and then its group, a terminal the shell's whole job.
/// </summary>
/// <remarks>Making it also creates the runtime's signal thread, which inherits its creator's CPU mask: never let that
/// be an lcore's.</remarks>
internal sealed class StopSignals : IDisposable
{
    private const long SameWishMs = 1000;

    private readonly PosixSignalRegistration[] _signals;
    private readonly Action _stop;
    private long _first;        // Environment.TickCount64 of the first signal, 0 for none

    /// <param name="stop">Called for the first signal, on a thread of the runtime's.</param>
    internal StopSignals(Action stop)
    {
        _stop = stop;
        _signals = [PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal)];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PosixSignalRegistration signal in _signals)
            signal.Dispose();
    }

    private void OnSignal(PosixSignalContext context)
    {
        long now = Environment.TickCount64;
        long first = Interlocked.CompareExchange(ref _first, now, 0);
        context.Cancel = first == 0 || now - first < SameWishMs;
        if (first == 0)
            _stop();
    }
}
