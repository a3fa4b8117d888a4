using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// The cheapest clock there is: a counter of constant rate, the same on all CPUs. The CPU's time stamp counter where it
/// has an invariant one, <see cref="Stopwatch"/>'s otherwise. Any thread.
/// </summary>
public static unsafe class Tsc
{
    private static readonly Lazy<TscRate> s_rate = new(TscRate.Measure);

    /// <summary>Whether it is the CPU's counter; otherwise <see cref="Stopwatch"/>'s.</summary>
    public static bool IsHardware => TscCode.Read != null;

    /// <summary>
    /// Cycles per second. The first call may wait up to 10 ms to measure it; an EAL has done that at its start.
    /// </summary>
    public static double Hz => s_rate.Value.Hz;

    /// <summary>The rate and where it comes from, for people: <c>2596.1 MHz, measured</c>.</summary>
    public static string Description => s_rate.Value.ToString();

    /// <summary>The rate the machine claims, 0 where it claims none. <see cref="Hz"/> is what counts.</summary>
    internal static double ClaimedHz => s_rate.Value.ClaimedHz;

    /// <summary>The counter, in cycles. Not ordered with the loads and stores around it. Data path.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Read() => TscCode.Read != null ? TscCode.Read() : (ulong)Stopwatch.GetTimestamp();

    /// <summary>Cycles as seconds.</summary>
    public static double ToSeconds(ulong cycles) => cycles / Hz;

    /// <summary>Cycles as nanoseconds.</summary>
    public static double ToNanoseconds(ulong cycles) => cycles * (1e9 / Hz);

    /// <summary>Seconds as cycles, rounded; negative ones are 0.</summary>
    public static ulong FromSeconds(double seconds) => (ulong)Math.Round(Math.Max(seconds, 0) * Hz);

    /// <summary>Nanoseconds as cycles, rounded; negative ones are 0.</summary>
    public static ulong FromNanoseconds(double nanoseconds) => FromSeconds(nanoseconds * 1e-9);

    /// <summary>Microseconds as cycles, rounded; negative ones are 0.</summary>
    public static ulong FromMicroseconds(double microseconds) => FromSeconds(microseconds * 1e-6);
}
