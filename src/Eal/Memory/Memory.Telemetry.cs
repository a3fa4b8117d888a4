using System.Globalization;

namespace Dataplane;

/// <content>What telemetry tells of memory; keys and order as DPDK's lib/eal/common/eal_common_memory.c.</content>
public sealed unsafe partial class Memory
{
    /// <summary>Reads zones while none can be freed.</summary>
    internal T ReadZones<T>(Func<IReadOnlyList<Memzone>, T> read)
    {
        lock (_lock)
            return read(_disposed ? [] : _zones.All);
    }

    internal TelemetryArray TellMemzones() => ReadZones(zones =>
    {
        var ids = new TelemetryArray();
        foreach (long line in zones.Select(LineOf).Order())
            ids.Add(line);
        return ids;
    });

    internal TelemetryDict? TellMemzone(uint line) => ReadZones(zones =>
    {
        if (zones.FirstOrDefault(zone => LineOf(zone) == line) is not { } zone)
            return null;
        nuint first = (nuint)zone.Address & ~(zone.PageSizeBytes - 1);
        nuint end = (nuint)zone.Address + zone.SizeBytes;
        return new TelemetryDict
        {
            { "Zone", line }, { "Name", zone.Name }, { "Length", zone.SizeBytes },
            { "Address", Hex((nuint)zone.Address) }, { "Socket", zone.NumaNode }, { "Flags", 0 },
            { "Hugepage_size", zone.PageSizeBytes }, { "Hugepage_base", Hex(first) },
            { "Hugepage_used", (end - first + zone.PageSizeBytes - 1) / zone.PageSizeBytes },
        };
    });

    internal TelemetryArray TellHeaps()
    {
        var ids = new TelemetryArray();
        IReadOnlyList<HeapStats> heaps = GetHeapStats();
        for (int i = 0; i < heaps.Count; i++)
            if (heaps[i].HugepageBytes + heaps[i].OrdinaryBytes > 0)
                ids.Add(i);
        return ids;
    }

    internal TelemetryDict? TellHeap(uint id)
    {
        IReadOnlyList<HeapStats> heaps = GetHeapStats();
        if (id >= heaps.Count)
            return null;
        HeapStats heap = heaps[(int)id];
        return new TelemetryDict
        {
            { "Heap_id", id }, { "Name", $"socket_{heap.NumaNode}" },
            { "Heap_size", heap.HugepageBytes + heap.OrdinaryBytes }, { "Free_size", heap.FreeBytes },
            { "Alloc_size", heap.BusyBytes }, { "Greatest_free_size", heap.LargestFreeBytes },
            { "Alloc_count", heap.BusyCount }, { "Free_count", heap.FreeCount },
        };
    }

    internal TelemetryArray TellMemsegLists()
    {
        var ids = new TelemetryArray();
        lock (_lock)
            for (int i = 0; i < _layout.Lists.Length; i++)
                if (_layout.Lists[i].Memsegs.Count > 0)
                    ids.Add(i);
        return ids;
    }

    internal TelemetryArray? TellMemsegList(uint list)
    {
        var ids = new TelemetryArray();
        lock (_lock)
        {
            if (list >= _layout.Lists.Length)
                return null;
            for (int i = 0; i < _layout.Lists[list].Memsegs.Count; i++)
                ids.Add(i);
        }
        return ids;
    }

    internal TelemetryDict? TellMemseg(uint list, uint index)
    {
        lock (_lock)
        {
            if (FindMemseg(list, index) is not { } memseg)
                return null;
            return new TelemetryDict
            {
                { "Memseg_list_index", list }, { "Memseg_index", index }, { "IOVA_addr", Hex(memseg.Iova.Value) },
                { "Start_addr", Hex(memseg.Address) }, { "End_addr", Hex(memseg.Address + memseg.SizeBytes) },
                { "Size", memseg.SizeBytes }, { "Hugepage_size", memseg.PageSizeBytes },
                { "Socket_id", memseg.NumaNode }, { "flags", 0 },
            };
        }
    }

    internal TelemetryDict? TellElementCount(uint heap, uint list, uint index)
    {
        lock (_lock)
            return ElementsOf(heap, list, index) is { } elements
                ? new TelemetryDict { { "Element_count", elements.Count } } : null;
    }

    internal TelemetryDict? TellElements(uint heap, uint list, uint index, uint first, uint last)
    {
        lock (_lock)
        {
            if (first > last || ElementsOf(heap, list, index) is not { } elements)
                return null;
            Memseg memseg = FindMemseg(list, index)!.Value;
            var told = new TelemetryDict();
            uint at = first;
            for (; at < elements.Count && at <= last; at++)
            {
                (nuint address, nuint size, bool busy) = elements[(int)at];
                var element = new TelemetryDict
                {
                    { "msl_id", list }, { "ms_id", index }, { "memseg_start_addr", Hex(memseg.Address) },
                    { "memseg_end_addr", Hex(memseg.Address + memseg.SizeBytes) },
                    { "element_start_addr", Hex(address) }, { "element_end_addr", Hex(address + size) },
                    { "element_size", size }, { "element_state", busy ? "Busy" : "Free" },
                };
                if (!told.Add($"element_{at}", element))
                    break;
            }
            told.Add("Element_count", at - Math.Min(first, at));
            return told;
        }
    }

    private Memseg? FindMemseg(uint list, uint index) =>
        !_disposed && list < _layout.Lists.Length && index < _layout.Lists[list].Memsegs.Count
            ? _layout.Lists[list].Memsegs[(int)index] : null;

    // Those that lie in one memseg altogether; null where the three do not go together.
    private List<(nuint Address, nuint Size, bool Busy)>? ElementsOf(uint heap, uint list, uint index)
    {
        if (FindMemseg(list, index) is not { } memseg || heap >= _layout.Heaps.Length)
            return null;
        var found = new List<(nuint, nuint, bool)>();
        MemsegListHeader* header = _layout.Lists[list].Header;
        if (header->NumaNode != _layout.Heaps[heap].NumaNode || header->LastElement == null)
            return found;
        for (var at = (HeapElement*)header->Base; at <= header->LastElement;
            at = (HeapElement*)((byte*)at + at->SizeBytes))
        {
            if ((nuint)at >= memseg.Address && (nuint)at + at->SizeBytes <= memseg.Address + memseg.SizeBytes)
                found.Add(((nuint)at, at->SizeBytes, HeapElement.Is(at, HeapElement.BusyCookie)));
        }
        return found;
    }

    private long LineOf(Memzone zone) => zone.Entry - _layout.Tables->Memzones;

    private static string Hex(ulong value) => string.Create(CultureInfo.InvariantCulture, $"0x{value:x}");
}
