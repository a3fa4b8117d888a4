using Dataplane.Native;
using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>The I/O address space of VFIO's type1 IOMMU: Linux 3.6 and later. linux/vfio.h.</summary>
internal sealed unsafe class VfioContainer : VfioGroupContainer
{
    private readonly uint _type;
    private readonly bool _unmapAll;

    /// <summary>Opens the container and finds out what it can do.</summary>
    /// <param name="memory">What to map.</param>
    /// <param name="interrupts">Where devices report that they are lost.</param>
    /// <param name="vfToken">For virtual functions of a physical one that VFIO drives, or null.</param>
    /// <param name="log">For warnings; may be null.</param>
    /// <exception cref="DeviceException">There is no VFIO here, or it may not be used.</exception>
    internal VfioContainer(Memory memory, Interrupts interrupts, Guid? vfToken = null, ILogger? log = null)
        : base(memory, interrupts, vfToken, log)
    {
        try
        {
            _type = Vfio.CheckExtension(Container, Vfio.VFIO_TYPE1v2_IOMMU) ? Vfio.VFIO_TYPE1v2_IOMMU
                : Vfio.CheckExtension(Container, Vfio.VFIO_TYPE1_IOMMU) ? Vfio.VFIO_TYPE1_IOMMU
                : throw VfioErrors.NoType1();
            _unmapAll = Vfio.CheckExtension(Container, Vfio.VFIO_UNMAP_ALL);
        }
        catch
        {
            Container.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override string Backend => "type1";

    /// <inheritdoc/>
    public override IovaMode IovaMode => IovaMode.Va;

    /// <summary>Mappings the kernel has room for, null where it does not say (before 5.10).</summary>
    internal uint? MappingsLeft { get; private set; }

    private protected override string GroupNode(int group) => $"/dev/vfio/{group}";

    private protected override void SetIommu(PciDevice device) => Vfio.SetIommu(Container, _type);

    private protected override DmaLimits ReadLimits()
    {
        VfioInfo<vfio_iommu_type1_info> info = Vfio.GetIommuInfo(Container);
        MappingsLeft = info.Get<vfio_iommu_type1_info_dma_avail>(Vfio.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL)?.avail;
        return Limits(info);
    }

    private protected override void MapCore(DmaPiece piece)
    {
        try
        {
            Vfio.MapDma(Container, (void*)piece.Address, piece.Iova.Value, piece.SizeBytes,
                Vfio.VFIO_DMA_MAP_FLAG_READ | Vfio.VFIO_DMA_MAP_FLAG_WRITE);
        }
        catch (NativeException e) when (VfioErrors.Map(e, piece, MappedBytes) is { } better)
        {
            throw better;
        }
    }

    private protected override void UnmapCore(DmaPiece piece)
    {
        ulong unmapped = Vfio.UnmapDma(Container, piece.Iova.Value, piece.SizeBytes);
        if (unmapped != piece.SizeBytes)
            throw new NativeException($"VFIO_IOMMU_UNMAP_DMA of {piece.SizeBytes} bytes at IOVA {piece.Iova}",
                Errno.EIO, $"{unmapped} of them were mapped");
    }

    private protected override bool UnmapAllCore()
    {
        if (!_unmapAll)
            return false;
        try
        {
            Vfio.UnmapAllDma(Container);
            return true;
        }
        catch (NativeException)
        {
            return false;
        }
    }

    /// <summary>Usable ranges and page sizes; where the kernel says neither, all of it in ordinary pages.</summary>
    internal static DmaLimits Limits(VfioInfo<vfio_iommu_type1_info> info)
    {
        ulong pages = (info.Fixed.flags & Vfio.VFIO_IOMMU_INFO_PGSIZES) != 0 ? info.Fixed.iova_pgsizes
            : DmaLimits.None.PageSizes;
        vfio_iova_range[]? ranges = info.GetArray<vfio_iommu_type1_info_cap_iova_range, vfio_iova_range>(
            Vfio.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, capability => capability.nr_iovas);
        return new(ranges == null ? DmaLimits.None.Ranges
            : [.. ranges.Where(range => range.start <= range.end).OrderBy(range => range.start)
                .Select(range => new IovaRange(range.start, range.end))], pages);
    }
}
