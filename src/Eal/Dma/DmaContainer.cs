namespace Dataplane;

/// <summary>
/// One I/O address space: what devices attached to it can reach, and at which address. All memory of the
/// <see cref="Memory"/> is mapped into it when its first device is attached, and nothing on the data path.
/// </summary>
public abstract unsafe class DmaContainer : IDisposable
{
    /// <summary>Its backend: <c>iommufd</c>, <c>type1</c> or <c>noiommu</c>.</summary>
    public abstract string Backend { get; }

    /// <summary>Where its addresses come from: <see cref="IovaMode.Va"/> behind an IOMMU, <see cref="IovaMode.Pa"/>
    /// without.</summary>
    public abstract IovaMode IovaMode { get; }

    /// <summary>
    /// In <see cref="IovaMode.Va"/>, what to add to a pointer to get its IOVA, modulo 2^64. 0 unless a device reaches
    /// fewer address bits than pointers have. Fixed once a device is attached.
    /// </summary>
    public abstract ulong IovaDelta { get; }

    /// <summary>Where a device reaches a byte, or <see cref="Iova.Bad"/>. Control path.</summary>
    /// <param name="pointer">Into mapped memory.</param>
    public abstract Iova ToIova(void* pointer);

    /// <summary>Opens a function and attaches it here.</summary>
    /// <exception cref="DeviceException">It cannot be had; says why and what to do.</exception>
    public abstract PciFunction Open(PciDevice device);

    /// <summary>Unmaps everything and closes. All its functions are disposed before.</summary>
    public abstract void Dispose();
}
