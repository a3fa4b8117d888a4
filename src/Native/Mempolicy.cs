using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>NUMA memory policy. linux/mempolicy.h; glibc has no wrapper, so by number from asm/unistd.h.</summary>
internal static unsafe partial class Mempolicy
{
    internal const int MPOL_BIND = 2;

    private static readonly nint s_mbind = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 235 : 237;

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, void* addr, nuint len, nint mode, ulong* nodemask, nuint maxnode,
        nuint flags);

    /// <summary>Binds pages of a range that are not there yet to <paramref name="node"/>, 0 to 1022. -1 and
    /// errno.</summary>
    internal static int mbind(void* addr, nuint length, int node)
    {
        ulong* mask = stackalloc ulong[16];
        new Span<ulong>(mask, 16).Clear();
        mask[node / 64] = 1UL << (node % 64);
        return (int)syscall(s_mbind, addr, length, MPOL_BIND, mask, 16 * 64, 0);
    }
}
