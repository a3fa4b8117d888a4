using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>A counter that is a file: readable while it is not 0. sys/eventfd.h.</summary>
internal static unsafe partial class Eventfd
{
    internal const int EFD_CLOEXEC = 0x80000, EFD_NONBLOCK = 0x800;

    [LibraryImport("libc", SetLastError = true)]
    private static partial SafeFileHandle eventfd(uint initval, int flags);

    /// <summary>A counter at 0 whose reads do not block.</summary>
    internal static SafeFileHandle Create()
    {
        SafeFileHandle fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return fd.IsInvalid ? throw NativeException.FromErrno("eventfd") : fd;
    }

    /// <summary>Takes a file that another process sent for a counter, and has its writes not block either.</summary>
    /// <returns>False where it is none: a file of another kind could block, or do who knows what.</returns>
    internal static bool TryAdopt(SafeFileHandle file)
    {
        // Files with a path have one that begins with a slash, so none can be named like this.
        if (new FileInfo($"/proc/self/fd/{Socket.Fd(file)}").LinkTarget != "anon_inode:[eventfd]")
            return false;
        int flags = Fcntl.fcntl(file, Fcntl.F_GETFL, 0);
        return (flags & Fcntl.O_NONBLOCK) != 0 || Fcntl.fcntl(file, Fcntl.F_SETFL, flags | Fcntl.O_NONBLOCK) == 0;
    }

    /// <summary>Adds 1: it becomes readable.</summary>
    internal static void Signal(SafeFileHandle fd)
    {
        ulong one = 1;
        _ = Unistd.write(fd, &one, sizeof(ulong));      // full after 2^64 - 1 of them
    }

    /// <summary>Sets it back to 0.</summary>
    /// <returns>How often it was signalled since; 0 when it was not.</returns>
    internal static ulong Drain(SafeFileHandle fd)
    {
        ulong count = 0;
        return Unistd.read(fd, &count, sizeof(ulong)) == sizeof(ulong) ? count : 0;
    }
}
