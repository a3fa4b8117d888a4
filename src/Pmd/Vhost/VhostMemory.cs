using System.Runtime.CompilerServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>A region of a peer's memory as it is mapped here; also the one a ring looked into last.</summary>
/// <param name="Guest">Its address in descriptors.</param>
/// <param name="Bytes">Its length.</param>
/// <param name="Host">Where it lies here.</param>
internal readonly unsafe record struct VhostWindow(ulong Guest, ulong Bytes, ulong Host)
{
    /// <summary>A stretch of it, null where not all of that lies in it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal byte* At(ulong guest, uint length)
    {
        ulong offset = guest - Guest;
        return offset < Bytes && length <= Bytes - offset ? (byte*)(Host + offset) : null;
    }
}

/// <summary>
/// The memory a peer shares, mapped. Fixed once made; disposed when no queue uses it. No address of the peer's is used
/// that does not lie in it whole.
/// </summary>
/// <remarks>
/// A file that gets shorter after it is mapped gives SIGBUS, which ends the process. So its size is sealed where the
/// file can be (a memfd made for that, as QEMU's and ours are), and looked at after that. Where it cannot be sealed the
/// peer is trusted not to cut it, or not taken at all: <c>sealed=1</c>.
/// </remarks>
internal sealed unsafe class VhostMemory : IDisposable
{
    private readonly List<(nint Address, nuint Bytes)> _mappings = [];
    private readonly List<(VhostWindow Window, ulong User)> _regions = [];

    /// <summary>Regions by descriptor address.</summary>
    internal VhostWindow[] Windows { get; private set; } = [];

    /// <summary>All files are sealed against getting shorter.</summary>
    internal bool IsSealed { get; private set; } = true;

    /// <summary>Maps what a message describes.</summary>
    /// <param name="regions">As the peer says: checked here.</param>
    /// <param name="files">One each; the caller keeps them.</param>
    /// <exception cref="DataplaneException">They make no sense, or cannot be mapped; nothing is kept.</exception>
    internal static VhostMemory Map(ReadOnlySpan<VhostRegion> regions, IReadOnlyList<SafeFileHandle> files)
    {
        var memory = new VhostMemory();
        try
        {
            for (int i = 0; i < regions.Length; i++)
                memory.Add(regions[i], files[i]);
            var windows = new VhostWindow[regions.Length];
            for (int i = 0; i < windows.Length; i++)
                windows[i] = memory._regions[i].Window;
            memory.Windows = windows;
            return memory;
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    /// <summary>A stretch by the address the peer itself uses, null where not all of that is shared.</summary>
    internal byte* AtUser(ulong address, ulong bytes)
    {
        foreach ((VhostWindow window, ulong user) in _regions)
            if (address - user < window.Bytes && bytes <= window.Bytes - (address - user))
                return (byte*)(window.Host + (address - user));
        return null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((nint address, nuint bytes) in _mappings)
            _ = Mman.munmap((void*)address, bytes);
        _mappings.Clear();
        _regions.Clear();
    }

    /// <summary>Maps the start of a file.</summary>
    /// <param name="file">The peer's.</param>
    /// <param name="bytes">As many as must be in it.</param>
    /// <param name="isSealed">It cannot get shorter.</param>
    /// <param name="mapped">Bytes to unmap.</param>
    internal static byte* MapFile(SafeFileHandle file, ulong bytes, out bool isSealed, out nuint mapped)
    {
        const int Shrink = Fcntl.F_SEAL_SHRINK;
        _ = Fcntl.fcntl(file, Fcntl.F_ADD_SEALS, Shrink);
        isSealed = Fcntl.fcntl(file, Fcntl.F_GET_SEALS, 0) is var seals and >= 0 && (seals & Shrink) != 0;
        long size = Fcntl.lseek(file, 0, Fcntl.SEEK_END);
        if (size < 0 || bytes == 0 || bytes > (ulong)size)
            throw VhostChannel.Broken($"{bytes} bytes of a file that has {size} are to be shared");
        Statfs.statfs_t facts;
        if (Statfs.fstatfs(file, &facts) != 0)
            throw NativeException.FromErrno("fstatfs of shared memory");
        // A page of any other kind of file may be for somebody to deliver who never does.
        if (facts.f_type is not (Statfs.TMPFS_MAGIC or Statfs.HUGETLBFS_MAGIC))
            throw VhostChannel.Broken("a file it shares is not memory (memfd, tmpfs or hugetlbfs)");
        ulong page = Math.Max((ulong)facts.f_bsize, (ulong)Environment.SystemPageSize);
        mapped = (nuint)((bytes + page - 1) / page * page);
        // Hugepages are reserved by this: one that is not there when it is touched gives SIGBUS.
        void* at = Mman.mmap(null, mapped, Mman.PROT_READ | Mman.PROT_WRITE, Mman.MAP_SHARED, Socket.Fd(file), 0);
        return at != Mman.MAP_FAILED ? (byte*)at : throw NativeException.FromErrno("mmap of shared memory");
    }

    private void Add(in VhostRegion region, SafeFileHandle file)
    {
        ulong end = region.FileOffset + region.Bytes;
        if (region.Bytes == 0 || end < region.Bytes || end > long.MaxValue / 2
            || region.GuestAddress + region.Bytes < region.Bytes || region.UserAddress + region.Bytes < region.Bytes)
            throw VhostChannel.Broken($"a memory region has {region.Bytes} bytes from {region.FileOffset} on");
        foreach ((VhostWindow other, _) in _regions)
            if (region.GuestAddress < other.Guest + other.Bytes && other.Guest < region.GuestAddress + region.Bytes)
                throw VhostChannel.Broken("two memory regions overlap");
        // From the file's start: an offset need not be one of its pages.
        byte* at = MapFile(file, end, out bool isSealed, out nuint mapped);
        _mappings.Add(((nint)at, mapped));
        _ = Mman.madvise(at, mapped, Mman.MADV_DONTDUMP);
        IsSealed &= isSealed;
        ulong host = (ulong)at + region.FileOffset;
        _regions.Add((new VhostWindow(region.GuestAddress, region.Bytes, host), region.UserAddress));
    }
}
