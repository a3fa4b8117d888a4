using Dataplane.Native;

namespace Dataplane;

/// <summary>
/// The time of stamps that lcores take of the CPU's counter. The counter is the same in all processes, so the reader
/// compares it with the clock of the day now and then, and a rate that is off by a little does not add up.
/// </summary>
internal sealed class CaptureClock
{
    private static readonly long s_every = (long)(Tsc.Hz / 10);
    private static readonly ulong s_burst = Tsc.FromMicroseconds(1000);     // from a burst's stamp to its publication

    private readonly bool _sameCounter;
    private readonly double _nanoseconds;       // per cycle
    private ulong _cycles;
    private long _realTime;

    /// <summary>For the stamps of an application.</summary>
    internal CaptureClock(CaptureReply reply)
    {
        _sameCounter = reply.IsHardwareClock != 0 == Tsc.IsHardware;
        _nanoseconds = 1e9 / (reply.Hz > 0 ? reply.Hz : Tsc.Hz);
        (_cycles, _realTime) = (reply.Tsc, reply.RealTimeNs);
    }

    /// <summary>The counter's value now, where the application has the same; else one that is later than any.</summary>
    internal ulong Now => _sameCounter ? Tsc.Read() : ulong.MaxValue - 1;

    /// <summary>Before this all is published that has a stamp, on lcores that are not kept from running: the next
    /// packets that are found are later. As <see cref="Now"/> where the application has another counter.</summary>
    internal ulong Settled => _sameCounter ? Tsc.Read() - s_burst : ulong.MaxValue - 1;

    /// <summary>Compares anew, where that is due.</summary>
    internal void Compare()
    {
        if (!_sameCounter || (long)(Tsc.Read() - _cycles) < s_every)
            return;
        (_cycles, _realTime) = ReadBoth();
    }

    /// <summary>The counter and the clock of the day at one time. Of some tries the one that took least: the others may
    /// have been interrupted between the two.</summary>
    internal static (ulong Cycles, long RealTimeNs) ReadBoth()
    {
        ulong least = ulong.MaxValue;
        (ulong, long) best = default;
        for (int i = 0; i < 4; i++)
        {
            ulong before = Tsc.Read();
            long realTime = Clock.Nanoseconds(Clock.CLOCK_REALTIME);
            ulong took = Tsc.Read() - before;
            if (took < least)
                (least, best) = (took, (before + took / 2, realTime));
        }
        return best;
    }

    /// <summary>Nanoseconds since 1970.</summary>
    internal ulong ToRealTime(ulong cycles) => (ulong)(_realTime + (long)((long)(cycles - _cycles) * _nanoseconds));
}
