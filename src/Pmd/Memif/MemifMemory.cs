using System.Runtime.CompilerServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>A region as the data path needs it.</summary>
internal unsafe struct MemifRegion
{
    /// <summary>First byte here.</summary>
    internal byte* Address;

    /// <summary>Bytes that may be touched.</summary>
    internal ulong Bytes;
}

/// <summary>
/// The shared memory of a connection: a client's own region and, with zero-copy, its hugepages; or what a server was
/// given, each file checked before it is mapped. Control path; the table is for the data path.
/// </summary>
internal sealed unsafe class MemifMemory : IDisposable
{
    /// <summary>What a descriptor's 32-bit offset reaches.</summary>
    internal const ulong MaxRegionBytes = 1ul << 32;

    /// <summary>What a server maps of a client it does not trust: pages that a client did not fill are made, and paid
    /// for, by who touches them first.</summary>
    internal const ulong MaxUntrustedBytes = 1ul << 32;

    // Above this, pages are made as they are touched: a region may be a file with nothing in it.
    private const ulong PopulateBytes = 64 << 20;

    private readonly MemifRegion[] _table = GC.AllocateArray<MemifRegion>(MemifProtocol.MaxRegions, pinned: true);
    private readonly List<(nint Address, nuint Bytes)> _mapped = [];
    private readonly List<int> _files = [];
    private SafeFileHandle? _own;
    private ulong _totalBytes;

    /// <summary>Regions there are.</summary>
    internal int Count { get; private set; }

    /// <summary>Their places; stays while this object is referred to.</summary>
    internal MemifRegion* Table => (MemifRegion*)Unsafe.AsPointer(ref _table[0]);

    /// <summary>The file of one of a client's regions.</summary>
    internal int FileOf(int region) => _files[region];

    /// <summary>Makes a client's own region: no one can cut it short.</summary>
    /// <exception cref="NativeException">ENOMEM, EMFILE.</exception>
    internal void AddOwn(ulong bytes, bool populate)
    {
        _own = Mman.memfd_create("dataplane:memif", Mman.MFD_CLOEXEC | Mman.MFD_ALLOW_SEALING);
        if (_own.IsInvalid)
            throw NativeException.FromErrno("memfd_create 'dataplane:memif'");
        const int Seals = Fcntl.F_SEAL_SHRINK | Fcntl.F_SEAL_GROW | Fcntl.F_SEAL_SEAL;
        if (Fcntl.ftruncate(_own, (long)bytes) != 0 || Fcntl.fcntl(_own, Fcntl.F_ADD_SEALS, Seals) != 0)
            throw NativeException.FromErrno("sizing and sealing memif memory");
        byte* at = MapFile(_own, bytes, populate);
        if (at == null)
            throw NativeException.FromErrno($"mapping {bytes} bytes of memif memory");
        Put(at, bytes, Socket.Fd(_own));
    }

    /// <summary>Gives a client's peer all memory of the environment: a region for each file behind it.</summary>
    internal void AddShared(Memory memory)
    {
        var first = new Dictionary<int, nuint>();
        foreach (Memseg memseg in memory.Memsegs)
        {
            nuint start = memseg.Address - (nuint)memseg.FdOffset;
            if (first.TryAdd(memseg.Fd, start))
                Put((byte*)start, 0, memseg.Fd);
            int region = _files.IndexOf(memseg.Fd);
            ulong end = (ulong)memseg.FdOffset + memseg.SizeBytes;
            if (first[memseg.Fd] == start)
                _table[region].Bytes = Math.Min(Math.Max(_table[region].Bytes, end), MaxRegionBytes);
        }
    }

    /// <summary>Maps a region a client sent, once it is known that touching it does no harm.</summary>
    /// <param name="file">Stays the caller's, who may close it.</param>
    /// <param name="bytes">What the client says its size is.</param>
    /// <param name="trust">Take memory that can be cut short.</param>
    /// <returns>Why it cannot be taken, or null.</returns>
    internal string? Add(SafeFileHandle file, ulong bytes, bool trust)
    {
        if (Count == MemifProtocol.MaxRegions)
            return "Too many regions";
        // First, since it asks nothing of a file's owner and is answered for memory files alone.
        int seals = Fcntl.fcntl(file, Fcntl.F_GET_SEALS, 0);
        if (!trust && !IsSafe(file, seals))
            return "Region can be cut short: seal it with F_SEAL_SHRINK, or trust=yes at the server";
        long size = Fcntl.lseek(file, 0, Fcntl.SEEK_END);
        if (bytes == 0 || size < 0 || bytes > (ulong)size)
            return "Region is larger than its file";
        bytes = Math.Min(bytes, MaxRegionBytes);
        if (!trust && _totalBytes + bytes > MaxUntrustedBytes)
            return "Too much memory";
        byte* at = MapFile(file, bytes, bytes <= PopulateBytes);
        if (at == null)
            return "Region cannot be mapped";
        Put(at, bytes, -1);
        return null;
    }

    public void Dispose()
    {
        foreach ((nint address, nuint bytes) in _mapped)
            _ = Mman.munmap((void*)address, bytes);
        _mapped.Clear();
        _own?.Dispose();
    }

    // A file that shrinks under its mapping makes SIGBUS of the next access, and so does a hole in a hugepage file once
    // the machine has no page left for it (fcntl(2), mmap(2)). What the client left open to be sealed, we seal.
    private static bool IsSafe(SafeFileHandle file, int seals)
    {
        Statfs.statfs_t system;
        return seals >= 0
            && ((seals & Fcntl.F_SEAL_SHRINK) != 0 || Fcntl.fcntl(file, Fcntl.F_ADD_SEALS, Fcntl.F_SEAL_SHRINK) == 0)
            && Statfs.fstatfs(file, &system) == 0 && system.f_type != Statfs.HUGETLBFS_MAGIC;
    }

    private byte* MapFile(SafeFileHandle file, ulong bytes, bool populate)
    {
        void* at = Mman.mmap(null, (nuint)bytes, Mman.PROT_READ | Mman.PROT_WRITE,
            Mman.MAP_SHARED | (populate && bytes <= PopulateBytes ? Mman.MAP_POPULATE : 0), Socket.Fd(file), 0);
        if (at == Mman.MAP_FAILED)
            return null;
        _ = Mman.madvise(at, (nuint)bytes, Mman.MADV_DONTDUMP);
        _mapped.Add(((nint)at, (nuint)bytes));
        return (byte*)at;
    }

    private void Put(byte* address, ulong bytes, int file)
    {
        _table[Count++] = new MemifRegion { Address = address, Bytes = bytes };
        _files.Add(file);
        _totalBytes += bytes;
    }
}
