using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>Timers that are read like files. sys/timerfd.h.</summary>
internal static unsafe partial class Timerfd
{
    internal const int TFD_CLOEXEC = 0x80000, TFD_TIMER_ABSTIME = 1;

    [StructLayout(LayoutKind.Explicit, Size = 32)]
    internal struct itimerspec
    {
        [FieldOffset(0)] internal Clock.timespec it_interval;
        [FieldOffset(16)] internal Clock.timespec it_value;
    }

    [LibraryImport("libc", SetLastError = true)]
    internal static partial SafeFileHandle timerfd_create(int clockid, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int timerfd_settime(SafeFileHandle fd, int flags, itimerspec* new_value,
        itimerspec* old_value);
}
