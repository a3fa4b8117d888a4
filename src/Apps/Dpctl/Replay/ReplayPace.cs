using System.Runtime.CompilerServices;

namespace Dataplane.Dpctl;

/// <summary>When each packet is to go, in cycles since the first. Times only ever rise: a stamp that lies before its
/// predecessor's means "at once".</summary>
/// <param name="rate">What was asked for.</param>
/// <param name="hz">Cycles per second.</param>
/// <param name="file">What is replayed.</param>
internal struct ReplayPace(ReplayRate rate, double hz, ReplayFile file)
{
    // Far enough for any capture, and no sum with it overflows.
    private const double Never = 1e18;

    private readonly double _cyclesPerNanosecond = hz / 1e9 / rate.Value;
    private double _due, _passStart;
    private ulong _firstStamp;
    private bool _again;

    /// <summary>The next packet's time.</summary>
    /// <param name="nanoseconds">Its stamp.</param>
    /// <param name="bytes">Its length.</param>
    /// <param name="isFirst">It is the first of a pass through the file.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public ulong Next(ulong nanoseconds, uint bytes, bool isFirst)
    {
        double due = _due;
        switch (rate.Timing)
        {
            case ReplayTiming.Packets:
                _due += hz / rate.Value;
                break;
            case ReplayTiming.Bits:
                _due += bytes * 8.0 * hz / rate.Value;
                break;
            case ReplayTiming.Original:
                due = _due = Original(nanoseconds, isFirst);
                break;
        }
        return (ulong)Math.Min(due, Never);
    }

    private double Original(ulong nanoseconds, bool isFirst)
    {
        if (isFirst)
        {
            // A pass follows the one before after the file's mean pause.
            if (_again && file.Packets > 1)
                _passStart = _due + file.Nanoseconds / (file.Packets - 1.0) * _cyclesPerNanosecond;
            _again = true;
            _firstStamp = nanoseconds;
            return _passStart;
        }
        return nanoseconds <= _firstStamp ? _due
            : Math.Max(_due, _passStart + (nanoseconds - _firstStamp) * _cyclesPerNanosecond);
    }
}
