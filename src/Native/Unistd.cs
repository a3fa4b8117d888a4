using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>Threads and file descriptors. unistd.h.</summary>
internal static unsafe partial class Unistd
{
    [LibraryImport("libc")]
    internal static partial int gettid();

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint read(SafeFileHandle fd, void* buf, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint write(SafeFileHandle fd, void* buf, nuint count);
}
