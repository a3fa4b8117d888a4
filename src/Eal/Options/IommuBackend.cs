namespace Dataplane;

/// <summary>The kernel interface that bound devices are used through (<c>--iommu-backend</c>).</summary>
public enum IommuBackend
{
    /// <summary>iommufd where the kernel has it for a device, else type1; says which.</summary>
    Auto,

    /// <summary><c>/dev/iommu</c> and <c>/dev/vfio/devices/vfioN</c>: Linux 6.6 and later.</summary>
    Iommufd,

    /// <summary><c>/dev/vfio/vfio</c> and <c>/dev/vfio/N</c>, a descriptor per IOMMU group.</summary>
    Type1,

    /// <summary>No IOMMU at all: not safe, and only with <c>--unsafe-noiommu</c>.</summary>
    NoIommu,
}
