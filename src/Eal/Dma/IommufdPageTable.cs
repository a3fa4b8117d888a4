using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>A hardware page table (HWPT) filled from an address space, for one kind of IOMMU. Linux 6.6.</summary>
internal sealed class IommufdPageTable : IDisposable
{
    private readonly SafeFileHandle _iommu;

    /// <summary>Makes it.</summary>
    /// <param name="iommu">/dev/iommu; stays the caller's.</param>
    /// <param name="device">Id of a device it is to serve.</param>
    /// <param name="ioas">Address space it follows.</param>
    /// <param name="flags">IOMMU_HWPT_ALLOC_*.</param>
    /// <param name="faults">Where page faults of its devices go, or null: they are refused.</param>
    /// <exception cref="NativeException">EOPNOTSUPP: the IOMMU cannot do what is asked.</exception>
    internal IommufdPageTable(SafeFileHandle iommu, uint device, uint ioas, uint flags, IommuFaultQueue? faults = null)
    {
        _iommu = iommu;
        Id = Iommufd.AllocHwpt(iommu, device, ioas, flags | (faults == null ? 0 : Iommufd.IOMMU_HWPT_FAULT_ID_VALID),
            faults?.Id ?? 0);
    }

    /// <summary>To attach devices to.</summary>
    internal uint Id { get; }

    /// <summary>Starts or stops noting written pages. Those before count as clean.</summary>
    internal void Track(bool on) => Iommufd.SetDirtyTracking(_iommu, Id, on);

    /// <summary>Sets the bits of pages that were written.</summary>
    /// <param name="iova">First byte.</param>
    /// <param name="length">Bytes, all mapped.</param>
    /// <param name="pageBytes">What a bit stands for.</param>
    /// <param name="bitmap">A bit per page.</param>
    /// <param name="clear">They count as clean from now on.</param>
    internal void ReadDirty(ulong iova, ulong length, ulong pageBytes, Span<ulong> bitmap, bool clear) =>
        Iommufd.GetDirtyBitmap(_iommu, Id, iova, length, pageBytes, bitmap,
            clear ? 0 : Iommufd.IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR);

    /// <summary>Ends it; devices were attached to another before.</summary>
    public void Dispose() => Iommufd.Destroy(_iommu, Id);
}
