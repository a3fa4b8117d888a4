using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>Device control. sys/ioctl.h. Only the wrappers in this project call it.</summary>
internal static unsafe partial class Ioctl
{
    [LibraryImport("libc", SetLastError = true)]
    private static partial int ioctl(SafeFileHandle fd, nuint request, void* argp);

    /// <summary>One call; what the kernel returns, 0 or more.</summary>
    /// <param name="fd">On what.</param>
    /// <param name="request">Its number.</param>
    /// <param name="argument">A pointer, or a number where the call takes one.</param>
    /// <param name="what">The call's name and what it is about, for the message.</param>
    /// <exception cref="NativeException">The kernel's reason.</exception>
    internal static int Call(SafeFileHandle fd, nuint request, void* argument, string what)
    {
        int result = ioctl(fd, request, argument);
        return result >= 0 ? result : throw NativeException.FromErrno(what);
    }
}
