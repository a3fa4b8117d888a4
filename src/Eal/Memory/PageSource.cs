using System.Numerics;
using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// Where pages come from: each step of taking them from the kernel. The default is one memfd per memseg list, so a
/// crash leaves nothing behind and the descriptor can be handed to a peer.
/// </summary>
/// <param name="prefix">Tells environments apart in /proc.</param>
internal unsafe class PageSource(string prefix) : IDisposable
{
    private static readonly nuint s_retryStride = (nuint)1 << 38;   // past another environment of this process

    /// <summary>The size of an ordinary page here, bytes.</summary>
    internal static nuint OrdinaryPageSize { get; } = (nuint)Environment.SystemPageSize;

    /// <summary>The one hugepage size it can give, 0 for all.</summary>
    internal virtual nuint OnlyHugepageSize => 0;

    /// <summary>Opens the file behind one memseg list, empty.</summary>
    /// <exception cref="NativeException">E.g. EMFILE.</exception>
    internal virtual SafeFileHandle Open(int node, nuint pageSizeBytes)
    {
        uint flags = Mman.MFD_CLOEXEC | Mman.MFD_ALLOW_SEALING;   // whoever shares it seals its size
        if (pageSizeBytes > OrdinaryPageSize)
            flags |= Mman.MFD_HUGETLB | (uint)BitOperations.Log2(pageSizeBytes) << Mman.MFD_HUGE_SHIFT;
        string name = $"dataplane:{prefix}:node{node}:{HugepagePool.SizeName(pageSizeBytes)}";
        SafeFileHandle fd = Mman.memfd_create(name, flags);
        return fd.IsInvalid ? throw NativeException.FromErrno($"memfd_create '{name}'") : fd;
    }

    /// <summary>Takes address space without memory. At <paramref name="hint"/>, else a fixed stride above, else
    /// anywhere.</summary>
    /// <returns>Null when there is not that much.</returns>
    internal virtual void* Reserve(nuint hint, nuint sizeBytes)
    {
        const int Flags = Mman.MAP_PRIVATE | Mman.MAP_ANONYMOUS | Mman.MAP_NORESERVE;
        for (int attempt = 0; attempt <= 32; attempt++)
        {
            bool anywhere = attempt == 32;
            void* at = (void*)(anywhere ? 0 : hint + (nuint)attempt * s_retryStride);
            void* got = Mman.mmap(at, sizeBytes, Mman.PROT_NONE,
                anywhere ? Flags : Flags | Mman.MAP_FIXED_NOREPLACE, -1, 0);
            if (got == Mman.MAP_FAILED)
            {
                if ((Errno)Marshal.GetLastPInvokeError() == Errno.ENOMEM)
                    return null;
                continue;
            }
            if (got == at || anywhere)
            {
                _ = Mman.madvise(got, sizeBytes, Mman.MADV_DONTDUMP);   // a core dump of gigabytes helps nobody
                return got;
            }
            _ = Mman.munmap(got, sizeBytes);   // a kernel before 4.17 takes the address as a mere hint
        }
        return null;
    }

    /// <summary>Maps a part of a file over reserved address space.</summary>
    internal virtual void Map(void* address, nuint sizeBytes, SafeFileHandle fd, long offset)
    {
        // Shared: a private page would be copied when the process forks, under the device's feet.
        void* got = Mman.mmap(address, sizeBytes, Mman.PROT_READ | Mman.PROT_WRITE,
            Mman.MAP_SHARED | Mman.MAP_FIXED, (int)fd.DangerousGetHandle(), offset);
        if (got == Mman.MAP_FAILED)
            throw NativeException.FromErrno($"mmap of {sizeBytes} bytes");
    }

    /// <summary>Binds a mapping not touched yet to a node. False where the kernel does not let us.</summary>
    internal virtual bool Bind(void* address, nuint sizeBytes, int node) =>
        Mempolicy.mbind(address, sizeBytes, node) == 0;

    /// <summary>Has the kernel put every page there, or fail: never a SIGBUS later.</summary>
    internal virtual void Allocate(void* address, nuint sizeBytes, nuint pageSizeBytes, SafeFileHandle fd, long offset)
    {
        if (pageSizeBytes == OrdinaryPageSize)
            _ = Mman.madvise(address, sizeBytes, Mman.MADV_HUGEPAGE);   // transparent ones, where shmem_enabled allows
        // Any signal interrupts it, and the runtime suspends threads with signals.
        while (Fcntl.fallocate(fd, 0, offset, (long)sizeBytes) < 0)
            if ((Errno)Marshal.GetLastPInvokeError() != Errno.EINTR)
                throw NativeException.FromErrno($"fallocate of {sizeBytes} bytes");
        while (Mman.madvise(address, sizeBytes, Mman.MADV_POPULATE_WRITE) < 0)
        {
            var errno = (Errno)Marshal.GetLastPInvokeError();
            if (errno == Errno.EINVAL)
                break;   // a kernel before 5.14: the file has its pages, only the page tables are filled on first touch
            if (errno is not (Errno.EINTR or Errno.EAGAIN))
                throw NativeException.FromErrno($"MADV_POPULATE_WRITE of {sizeBytes} bytes");
        }
    }

    /// <summary>Fills in the physical address of each page of a mapping that has its pages.</summary>
    internal virtual void ReadPhysical(byte* address, nuint pageSizeBytes, Span<ulong> physical) =>
        Pagemap.Read(address, pageSizeBytes, physical);

    /// <summary>Takes the end of a file back and leaves the addresses reserved. Does not fail.</summary>
    internal virtual void Truncate(void* address, nuint sizeBytes, SafeFileHandle fd, long offset)
    {
        _ = Mman.mmap(address, sizeBytes, Mman.PROT_NONE,
            Mman.MAP_PRIVATE | Mman.MAP_ANONYMOUS | Mman.MAP_NORESERVE | Mman.MAP_FIXED, -1, 0);
        _ = Fcntl.ftruncate(fd, offset);
    }

    /// <summary>Gives address space back with all that is mapped there.</summary>
    internal virtual void Release(void* address, nuint sizeBytes) => _ = Mman.munmap(address, sizeBytes);

    /// <inheritdoc/>
    public virtual void Dispose() => GC.SuppressFinalize(this);
}
