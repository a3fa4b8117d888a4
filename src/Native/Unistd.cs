using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>Processes, threads and file descriptors. unistd.h.</summary>
internal static unsafe partial class Unistd
{
    [LibraryImport("libc")]
    internal static partial int gettid();

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint read(int fd, void* buf, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int close(int fd);
}
