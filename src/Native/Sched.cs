using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>Thread affinity. sched.h.</summary>
internal static unsafe partial class Sched
{
    /// <summary>Sets the calling thread's (pid 0) CPU mask. <paramref name="mask"/> has one bit per CPU.</summary>
    [LibraryImport("libc", SetLastError = true)]
    internal static partial int sched_setaffinity(int pid, nuint cpusetsize, void* mask);

    /// <summary>Returns 0; fills <paramref name="mask"/>.</summary>
    [LibraryImport("libc", SetLastError = true)]
    internal static partial int sched_getaffinity(int pid, nuint cpusetsize, void* mask);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int sched_getcpu();
}
