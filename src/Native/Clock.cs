using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>Clocks. time.h, linux/time.h.</summary>
internal static unsafe partial class Clock
{
    internal const int CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1, CLOCK_MONOTONIC_RAW = 4;

    [StructLayout(LayoutKind.Explicit, Size = 16)]
    internal struct timespec
    {
        [FieldOffset(0)] internal long tv_sec;
        [FieldOffset(8)] internal long tv_nsec;
    }

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int clock_gettime(int clockid, timespec* tp);

    /// <summary>A clock in nanoseconds; the clocks above are there on every Linux that runs .NET.</summary>
    internal static long Nanoseconds(int clockid)
    {
        timespec now;
        _ = clock_gettime(clockid, &now);
        return now.tv_sec * 1_000_000_000 + now.tv_nsec;
    }
}
