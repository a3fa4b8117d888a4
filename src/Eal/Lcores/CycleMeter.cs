using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// Books a poll loop's cycles as busy or idle. Reads the clock in every idle loop, which has the time, in the first
/// busy one and in every 64th, so a loop that is always busy pays one read in 64. A struct for a local of the loop, on
/// its lcore.
/// </summary>
/// <param name="lcore">The lcore the loop runs on.</param>
public struct CycleMeter(Lcore lcore)
{
    private const uint LoopsPerRead = 64;

    private readonly Lcore _lcore = lcore;
    private ulong _since = Tsc.Read();
    private uint _loops;
    private bool _busy;

    /// <summary>Call once at the end of every loop. Data path.</summary>
    /// <param name="busy">Whether the loop found something to do.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Count(bool busy)
    {
        _loops++;
        if (!busy || !_busy || _loops == LoopsPerRead)
            Book(busy);
    }

    // An idle loop after busy ones whose clock was not read is booked with them: one misplaced in a run of busy loops.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Book(bool busy)
    {
        ulong now = Tsc.Read();
        if (busy || (_busy && _loops > 1))
            _lcore.CountBusy(now - _since, _loops);
        else
            _lcore.CountIdle(now - _since, _loops);
        _since = now;
        _loops = 0;
        _busy = busy;
    }
}
