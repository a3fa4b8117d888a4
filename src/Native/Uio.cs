using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>Scatter and gather I/O. sys/uio.h, limits.h.</summary>
internal static unsafe partial class Uio
{
    internal const int IOV_MAX = 1024;

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint readv(int fd, iovec* iov, int iovcnt);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint writev(int fd, iovec* iov, int iovcnt);
}

/// <summary>bits/types/struct_iovec.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal unsafe struct iovec
{
    [FieldOffset(0)] internal void* iov_base;
    [FieldOffset(8)] internal nuint iov_len;
}
