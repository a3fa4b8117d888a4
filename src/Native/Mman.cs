using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>Memory mapping. sys/mman.h, linux/mman.h, linux/memfd.h.</summary>
internal static unsafe partial class Mman
{
    internal const int PROT_NONE = 0x0, PROT_READ = 0x1, PROT_WRITE = 0x2, PROT_EXEC = 0x4;
    internal const int MAP_SHARED = 0x01, MAP_PRIVATE = 0x02, MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20,
        MAP_LOCKED = 0x2000, MAP_NORESERVE = 0x4000, MAP_POPULATE = 0x8000, MAP_HUGETLB = 0x40000,
        MAP_FIXED_NOREPLACE = 0x100000;
    internal const int MAP_HUGE_SHIFT = 26;
    internal static readonly void* MAP_FAILED = (void*)-1;

    internal const int MADV_HUGEPAGE = 14, MADV_DONTDUMP = 16, MADV_POPULATE_WRITE = 23;
    internal const uint MFD_CLOEXEC = 1, MFD_ALLOW_SEALING = 2, MFD_HUGETLB = 4;
    internal const int MFD_HUGE_SHIFT = MAP_HUGE_SHIFT;

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int mprotect(void* addr, nuint length, int prot);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial void* mmap(void* addr, nuint length, int prot, int flags, int fd, long offset);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int munmap(void* addr, nuint length);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int madvise(void* addr, nuint length, int advice);

    /// <summary>An unnamed file in memory; <paramref name="name"/> only shows in /proc.</summary>
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial SafeFileHandle memfd_create(string name, uint flags);
}
