using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>
/// A pool's memory as the kernel is given it: one range of pages, in it chunks that may begin anywhere, one for the
/// buffer of each mbuf. So a frame lies in a mbuf wherever it is, and none is copied between the two.
/// </summary>
/// <remarks>
/// A chunk begins with the mbuf's buffer: the kernel never writes to a mbuf's header. Chunks are "unaligned": objects
/// of a pool lie at a stride that is no power of two. Made on the control path, then read only.
/// </remarks>
internal sealed unsafe class Umem
{
    /// <summary>Objects are at least this far apart (as a shift), so an offset's upper bits tell them apart.</summary>
    internal const int LedgerShift = 11;

    private readonly byte* _base;
    private readonly ulong _bytes;
    private readonly nuint _headerBytes;
    private readonly nuint _pageBytes;   // a power of two

    /// <summary>Lays one over a pool.</summary>
    /// <exception cref="ConfigException">Its buffers are too small, or it is in pieces.</exception>
    internal Umem(string device, Memory memory, Mempool pool)
    {
        Pool = pool;
        _headerBytes = (nuint)(sizeof(MbufHeader) + pool.PrivateBytes);
        ChunkBytes = (uint)Math.Min(pool.DataRoomBytes, Environment.SystemPageSize);
        if (ChunkBytes < IfXdp.MinChunkBytes)
            throw new ConfigException($"device '{device}': the mbufs of pool '{pool.Name}' are too small",
                why: $"the kernel takes no less than {IfXdp.MinChunkBytes} bytes, they have {pool.DataRoomBytes}",
                fix: $"make the pool with a data room of {IfXdp.MinChunkBytes} or more");
        nuint first = nuint.MaxValue, last = 0;
        foreach (nint item in pool.Objects())
        {
            first = Math.Min(first, (nuint)item);
            last = Math.Max(last, (nuint)item);
        }
        nuint page = (nuint)Environment.SystemPageSize;
        nuint start = first & ~(page - 1);
        nuint end = (last + _headerBytes + (nuint)pool.DataRoomBytes + page - 1) & ~(page - 1);
        nuint reached = Reach(memory, start, end, out _pageBytes);
        if (reached < end)
            throw new ConfigException($"device '{device}': pool '{pool.Name}' is not in one piece",
                why: "it took memory of several kinds, and the kernel wants one range",
                fix: "give the EAL more memory at start: -m MEGABYTES");
        _base = (byte*)start;
        _bytes = end - start;
    }

    /// <summary>Smallest pages behind it, bytes.</summary>
    internal nuint PageBytes => _pageBytes;

    /// <summary>Goes over the ends of larger pages, at most.</summary>
    internal int MostSplits => (int)(_bytes / _pageBytes) + 1;

    /// <summary>Whose memory it is.</summary>
    internal Mempool Pool { get; }

    /// <summary>Bytes of a chunk.</summary>
    internal uint ChunkBytes { get; }

    /// <summary>Longest frame that fits a chunk when it is received.</summary>
    internal uint RoomBytes => ChunkBytes - IfXdp.PacketHeadroom;

    /// <summary>Bytes of a <see cref="UmemLedger"/>.</summary>
    internal nuint LedgerBytes => (nuint)(_bytes >> LedgerShift) + 1;

    /// <summary>What the kernel is told.</summary>
    internal xdp_umem_reg Registration => new()
    {
        addr = (ulong)_base,
        len = _bytes,
        chunk_size = ChunkBytes,
        flags = IfXdp.XDP_UMEM_UNALIGNED_CHUNK_FLAG,
    };

    /// <summary>The chunk of a mbuf of the pool. Data path.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal ulong ChunkOf(MbufHeader* mbuf) => (ulong)((byte*)mbuf + _headerBytes - _base);

    /// <summary>The mbuf of a chunk. Data path.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal MbufHeader* MbufOf(ulong chunk) => (MbufHeader*)(_base + chunk - _headerBytes);

    /// <summary>Bytes go over the end of a page, so a device may not see them in one piece. Data path.</summary>
    internal bool IsSplit(ulong offset, uint bytes) =>
        (((nuint)_base + (nuint)offset) & (_pageBytes - 1)) + bytes > _pageBytes;

    /// <summary>How far memory reaches without a gap.</summary>
    private static nuint Reach(Memory memory, nuint from, nuint wanted, out nuint pageBytes)
    {
        pageBytes = (nuint)1 << 30;
        bool moved = true;
        while (from < wanted && moved)
        {
            moved = false;
            foreach (Memseg memseg in memory.Memsegs)
                if (memseg.Address <= from && memseg.Address + memseg.SizeBytes > from)
                {
                    from = memseg.Address + memseg.SizeBytes;
                    pageBytes = Math.Min(pageBytes, memseg.PageSizeBytes);
                    moved = true;
                }
        }
        return from;
    }
}

/// <summary>
/// Which mbufs of a pool a queue has given to the kernel, and how often: the rings do not tell, for the kernel holds
/// some that are in none of them. One thread.
/// </summary>
internal sealed unsafe class UmemLedger : IDisposable
{
    private readonly Umem _umem;
    private readonly byte* _given;

    internal UmemLedger(Umem umem)
    {
        _umem = umem;
        _given = (byte*)NativeMemory.AllocZeroed(umem.LedgerBytes);
    }

    /// <summary>Writes down that a chunk goes to the kernel. Data path.</summary>
    /// <returns>False where it is there 255 times already.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal bool TryGive(ulong chunk)
    {
        byte* given = _given + (chunk >> Umem.LedgerShift);
        if (*given == byte.MaxValue)
            return false;
        ++*given;
        return true;
    }

    /// <summary>Writes down that a chunk came back. Data path.</summary>
    /// <returns>False where it was not given, so it must not be believed.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal bool TryTake(ulong chunk)
    {
        if (chunk >> Umem.LedgerShift >= _umem.LedgerBytes || _given[chunk >> Umem.LedgerShift] == 0)
            return false;
        _given[chunk >> Umem.LedgerShift]--;
        return true;
    }

    /// <summary>Frees every mbuf the kernel still has; it must have let go of them. Control path.</summary>
    internal void FreeAll()
    {
        foreach (nint item in _umem.Pool.Objects())
        {
            ref byte given = ref _given[_umem.ChunkOf((MbufHeader*)item) >> Umem.LedgerShift];
            for (; given != 0; given--)
                new Mbuf((MbufHeader*)item).FreeSegment();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => NativeMemory.Free(_given);
}
