namespace Dataplane;

/// <summary>A named piece of DMA-able memory that never moves. Freed by <see cref="Memory.FreeMemzone"/> or with the
/// EAL.</summary>
public sealed unsafe class Memzone
{
    internal Memzone(string name, MemzoneEntry* entry)
    {
        Name = name;
        Entry = entry;
        Address = entry->Address;
        SizeBytes = entry->SizeBytes;
        Iova = new(entry->Iova);
        NumaNode = entry->NumaNode;
        PageSizeBytes = entry->PageSizeBytes;
    }

    /// <summary>The name it was reserved under, 1 to 31 bytes of UTF-8, unique in its EAL.</summary>
    public string Name { get; }

    /// <summary>First byte. Zeroed when reserved.</summary>
    public void* Address { get; }

    /// <summary>Length in bytes, as asked for.</summary>
    public nuint SizeBytes { get; }

    /// <summary>
    /// Address of the first byte as a device sees it. In <see cref="IovaMode.Pa"/> only a zone reserved as
    /// contiguous is contiguous from there; ask <see cref="Memory.ToIova"/> for each page of another.
    /// </summary>
    public Iova Iova { get; }

    /// <summary>The NUMA node the memory is on.</summary>
    public int NumaNode { get; }

    /// <summary>Size of the pages it lies on, bytes.</summary>
    public nuint PageSizeBytes { get; }

    /// <summary>Its line in the shared table.</summary>
    internal MemzoneEntry* Entry { get; }
}
