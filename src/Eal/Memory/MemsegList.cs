using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// One address range for pages of one size on one node, backed by one file. Grows at its end only, so what is
/// committed is always contiguous in addresses and in the file.
/// </summary>
internal sealed unsafe class MemsegList : IDisposable
{
    private readonly PageSource _source;
    private readonly List<Memseg> _memsegs = [];
    private SafeFileHandle? _fd;
    private nuint _committed;
    private ulong[]? _physical;   // per page; null in VA mode

    internal MemsegList(PageSource source, MemsegListHeader* header, bool physical)
    {
        _source = source;
        Header = header;
        _physical = physical ? [] : null;
    }

    /// <summary>Its part of the shared tables.</summary>
    internal MemsegListHeader* Header { get; }

    internal int NumaNode => Header->NumaNode;

    internal nuint PageSize => Header->PageSizeBytes;

    internal bool IsHuge => PageSize > PageSource.OrdinaryPageSize;

    internal byte* Base => Header->Base;

    /// <summary>End of what is committed.</summary>
    internal byte* End => Header->Base + Volatile.Read(ref _committed);

    internal nuint Committed => Volatile.Read(ref _committed);

    internal IReadOnlyList<Memseg> Memsegs => _memsegs;

    /// <summary>Free bytes at the very end, which more memory would join.</summary>
    internal nuint FreeAtEnd
    {
        get
        {
            HeapElement* last = Header->LastElement;
            return last != null && HeapElement.Is(last, HeapElement.FreeCookie) ? last->SizeBytes : 0;
        }
    }

    internal bool Contains(void* pointer) => (nuint)pointer - (nuint)Base < Volatile.Read(ref _committed);   // G1

    /// <summary>
    /// Takes pages at the end, bound and faulted in. Not visible in <see cref="Committed"/> until <see
    /// cref="Publish"/>.
    /// </summary>
    /// <exception cref="DataplaneException">The kernel has not got them; nothing was kept.</exception>
    internal Memseg Commit(nuint sizeBytes, bool bind, out bool bound)
    {
        _fd ??= _source.Open(NumaNode, PageSize);
        byte* address = End;
        long offset = (long)_committed;
        try
        {
            _source.Map(address, sizeBytes, _fd, offset);
            bound = !bind || _source.Bind(address, sizeBytes, NumaNode);
            _source.Allocate(address, sizeBytes, PageSize, _fd, offset);
            if (_physical != null)
                ReadPhysical(address, sizeBytes);
        }
        catch
        {
            _source.Truncate(address, sizeBytes, _fd, offset);
            throw;
        }
        ulong iova = _physical == null ? (ulong)address : _physical[(long)(_committed / PageSize)];
        return new((nuint)address, sizeBytes, PageSize, NumaNode, (int)_fd.DangerousGetHandle(), offset, new(iova));
    }

    /// <summary>Makes what <see cref="Commit"/> took part of the list.</summary>
    internal void Publish(Memseg memseg)
    {
        _memsegs.Add(memseg);
        Header->CommittedBytes = _committed + memseg.SizeBytes;
        // G0: the page table is there before an address counts as ours. Pairs with G1 in Contains (docs/ordering.md).
        Volatile.Write(ref _committed, _committed + memseg.SizeBytes);
    }

    /// <summary>Gives back what <see cref="Commit"/> took and nobody saw.</summary>
    internal void Rollback(Memseg memseg) =>
        _source.Truncate((void*)memseg.Address, memseg.SizeBytes, _fd!, memseg.FdOffset);

    /// <summary>The device's address of a byte of ours.</summary>
    internal Iova ToIova(void* pointer)
    {
        if (_physical == null)
            return new((ulong)pointer);
        nuint offset = (nuint)pointer - (nuint)Base;
        return new(_physical[(long)(offset / PageSize)] + (offset & (PageSize - 1)));
    }

    /// <summary>
    /// The first address from <paramref name="start"/> on where <paramref name="sizeBytes"/> bytes are contiguous for a
    /// device too. May lie past the end.
    /// </summary>
    internal nuint FindIovaContiguous(nuint start, nuint sizeBytes)
    {
        if (_physical == null)
            return start;
        nuint candidate = start;
        nuint edge = (start & ~(PageSize - 1)) + PageSize;
        for (; edge < candidate + sizeBytes && edge < (nuint)End; edge += PageSize)
        {
            long page = (long)((edge - (nuint)Base) / PageSize);
            if (_physical[page] != _physical[page - 1] + PageSize)
                candidate = edge;
        }
        return candidate;
    }

    /// <summary>Closes and, for named files, removes the file. The addresses are the owner's to release.</summary>
    public void Dispose()
    {
        Volatile.Write(ref _committed, 0);
        _memsegs.Clear();
        _fd?.Dispose();
    }

    private void ReadPhysical(byte* address, nuint sizeBytes)
    {
        int first = (int)(_committed / PageSize);
        ulong[] table = new ulong[first + (int)(sizeBytes / PageSize)];
        _physical.AsSpan(0, first).CopyTo(table);
        _source.ReadPhysical(address, PageSize, table.AsSpan(first));
        _physical = table;
    }
}
