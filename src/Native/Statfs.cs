using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>File system facts. sys/vfs.h, linux/magic.h.</summary>
internal static unsafe partial class Statfs
{
    internal const long HUGETLBFS_MAGIC = 0x958458f6, TMPFS_MAGIC = 0x01021994;

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int statfs(string path, statfs_t* buf);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int fstatfs(SafeFileHandle fd, statfs_t* buf);

    /// <summary>struct statfs of 64-bit Linux: asm-generic/statfs.h.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 120)]
    internal struct statfs_t
    {
        [FieldOffset(0)] internal long f_type;
        [FieldOffset(8)] internal long f_bsize;   // the page size on hugetlbfs
    }
}
