using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// The one address range of an environment: tables first, then a part for every (node, page size). Taken once;
/// memory is committed into it.
/// </summary>
internal sealed unsafe class MemoryLayout : IDisposable
{
    private static readonly nuint s_defaultListBytes = (nuint)64 << 30;   // DPDK's ceiling per node and page size
    private const nuint BaseAlignment = 16 << 20;             // DPDK's: --base-virtaddr is rounded up to it

    private readonly PageSource _source;
    private readonly List<SafeFileHandle> _files = [];
    private byte* _base;
    private nuint _sizeBytes;

    private MemoryLayout(PageSource source) => _source = source;

    internal MemoryTables* Tables { get; private set; }

    internal MemsegList[] Lists { get; private set; } = [];

    internal Heap[] Heaps { get; private set; } = [];

    /// <summary>First address of the range.</summary>
    internal nuint Base => (nuint)_base;

    /// <summary>Takes the range and lays out tables, empty lists and empty heaps.</summary>
    /// <param name="source">Where the memory comes from; stays the caller's.</param>
    /// <param name="config">Base address and mode.</param>
    /// <param name="kinds">Node and page size of each list, in the order they are preferred.</param>
    /// <param name="leastBytes">The most that one list must be able to hold.</param>
    internal static MemoryLayout Create(PageSource source, MemoryConfig config,
        IReadOnlyList<(int Node, nuint PageSize)> kinds, nuint leastBytes)
    {
        if (kinds.Count > MemoryTables.MaxLists)
            throw new DataplaneException($"more than {MemoryTables.MaxLists} kinds of memory (nodes times page sizes)");
        var layout = new MemoryLayout(source);
        try
        {
            nuint hint = Heap.RoundUp((nuint)config.BaseAddress, BaseAlignment);
            nuint listBytes = layout.ReserveRange(hint, kinds, Math.Max(leastBytes, s_defaultListBytes), leastBytes);
            layout.MapTables();
            layout.MakeLists(kinds, listBytes, config.PhysicalAddresses);
            return layout;
        }
        catch
        {
            layout.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (MemsegList list in Lists)
            list.Dispose();
        foreach (SafeFileHandle file in _files)
            file.Dispose();
        if (_base != null)
            _source.Release(_base, _sizeBytes);
        _base = null;
        Tables = null;
        Lists = [];
        Heaps = [];
    }

    private nuint ReserveRange(nuint hint, IReadOnlyList<(int Node, nuint PageSize)> kinds, nuint listBytes,
        nuint leastBytes)
    {
        for (; listBytes >= Math.Max(leastBytes, 1 << 20); listBytes /= 4)
        {
            _sizeBytes = MemoryTables.TotalBytes;
            foreach ((_, nuint pageSize) in kinds)
                _sizeBytes += Heap.RoundUp(listBytes, pageSize) + pageSize;
            _base = (byte*)_source.Reserve(hint, _sizeBytes);
            if (_base != null)
                return listBytes;
        }
        throw new DataplaneException($"cannot reserve {_sizeBytes >> 20} MB of address space",
            why: "the address space of this process is limited or taken",
            fix: "raise 'ulimit -v', or give another --base-virtaddr", errno: Errno.ENOMEM);
    }

    private void MapTables()
    {
        SafeFileHandle file = _source.Open(0, PageSource.OrdinaryPageSize);
        _files.Add(file);
        _source.Map(_base, MemoryTables.TotalBytes, file, 0);
        _source.Allocate(_base, MemoryTables.TotalBytes, PageSource.OrdinaryPageSize, file, 0);
        Tables = MemoryTables.Format(_base, _sizeBytes);
    }

    private void MakeLists(IReadOnlyList<(int Node, nuint PageSize)> kinds, nuint listBytes, bool physical)
    {
        nuint at = (nuint)_base + MemoryTables.TotalBytes;
        var lists = new MemsegList[kinds.Count];
        for (int i = 0; i < lists.Length; i++)
        {
            (int node, nuint pageSize) = kinds[i];
            at = Heap.RoundUp(at, pageSize);
            Tables->Lists[i] = new()
            {
                Base = (byte*)at,
                ReservedBytes = Heap.RoundUp(listBytes, pageSize),
                PageSizeBytes = pageSize,
                NumaNode = node,
            };
            lists[i] = new(_source, &Tables->Lists[i], physical);
            at += Heap.RoundUp(listBytes, pageSize);
        }
        Tables->ListCount = lists.Length;
        Lists = lists;
        int[] nodes = [.. kinds.Select(kind => kind.Node).Distinct()];
        for (int i = 0; i < nodes.Length; i++)
            Tables->Heaps[i].NumaNode = nodes[i];
        Tables->HeapCount = nodes.Length;
        Heaps = MakeHeaps(nodes.Length);
    }

    private Heap[] MakeHeaps(int count)
    {
        var heaps = new Heap[count];
        for (int i = 0; i < count; i++)
            heaps[i] = new(&Tables->Heaps[i], Lists);
        return heaps;
    }
}
