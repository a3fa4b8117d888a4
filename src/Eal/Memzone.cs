namespace Dataplane;

/// <summary>A named piece of DMA-able memory that never moves. Freed by <see cref="Memory.FreeMemzone"/> or with the EAL.</summary>
public sealed unsafe class Memzone
{
    internal Memzone(string name, void* address, nuint sizeBytes, Iova iova, int numaNode)
    {
        Name = name;
        Address = address;
        SizeBytes = sizeBytes;
        Iova = iova;
        NumaNode = numaNode;
    }

    /// <summary>The name it was reserved under, 1 to 31 characters, unique in its EAL.</summary>
    public string Name { get; }

    /// <summary>First byte. Zeroed when reserved.</summary>
    public void* Address { get; }

    /// <summary>Length in bytes, as asked for.</summary>
    public nuint SizeBytes { get; }

    /// <summary>Address of the first byte as a device sees it, <see cref="Iova.Bad"/> where none can.</summary>
    public Iova Iova { get; }

    /// <summary>The NUMA node the memory is on.</summary>
    public int NumaNode { get; }
}
