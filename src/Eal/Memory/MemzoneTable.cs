using System.Text;

namespace Dataplane;

/// <summary>The memzones of an environment, by name. The owner locks.</summary>
internal sealed unsafe class MemzoneTable(MemoryTables* tables)
{
    private readonly Dictionary<string, Memzone> _zones = new(StringComparer.Ordinal);

    internal Memzone[] All => [.. _zones.Values.OrderBy(zone => (nuint)zone.Address)];

    /// <summary>Forgets all names: the memory goes.</summary>
    internal void Clear() => _zones.Clear();

    internal Memzone? Find(string name) => _zones.GetValueOrDefault(name);

    /// <summary>The free line the zone of this name will get.</summary>
    /// <exception cref="DataplaneException">The name is taken or not usable, or all lines are.</exception>
    internal MemzoneEntry* FindLine(string name)
    {
        int bytes = Encoding.UTF8.GetByteCount(name);
        if (bytes is 0 or >= MemzoneEntry.NameBytes || name.Contains('\0', StringComparison.Ordinal))
            throw new DataplaneException($"memzone name '{name}' cannot be used",
                why: $"it has {bytes} bytes of UTF-8", fix: $"use 1 to {MemzoneEntry.NameBytes - 1}",
                errno: Errno.EINVAL);
        if (_zones.ContainsKey(name))
            throw new DataplaneException($"memzone '{name}' exists already", errno: Errno.EEXIST);
        for (int i = 0; i < MemoryTables.MaxMemzones; i++)
            if (tables->Memzones[i].Address == null)
                return &tables->Memzones[i];
        throw new DataplaneException($"cannot reserve memzone '{name}'",
            why: $"there are {MemoryTables.MaxMemzones} already, the most there can be", errno: Errno.ENOSPC);
    }

    /// <summary>Writes a line found by <see cref="FindLine"/> and makes the handle.</summary>
    internal Memzone Add(MemzoneEntry* line, string name, void* address, nuint sizeBytes, Iova iova, MemsegList list)
    {
        *line = new()
        {
            Address = address,
            SizeBytes = sizeBytes,
            Iova = iova.Value,
            PageSizeBytes = list.PageSize,
            NumaNode = list.NumaNode,
        };
        Encoding.UTF8.GetBytes(name, new Span<byte>(line->Name, MemzoneEntry.NameBytes - 1));
        tables->MemzoneCount++;
        var zone = new Memzone(name, line);
        _zones.Add(name, zone);
        return zone;
    }

    /// <summary>Takes a zone out.</summary>
    /// <exception cref="DataplaneException">It is none of ours, or was freed before.</exception>
    internal void Remove(Memzone zone)
    {
        if (!ReferenceEquals(_zones.GetValueOrDefault(zone.Name), zone))
            throw new DataplaneException($"memzone '{zone.Name}' is not reserved", errno: Errno.ENOENT);
        _zones.Remove(zone.Name);
        *zone.Entry = default;
        tables->MemzoneCount--;
    }
}
