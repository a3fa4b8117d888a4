using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

internal static unsafe partial class Vfio
{
    internal const nuint VFIO_IOMMU_GET_INFO = Base + 12, VFIO_IOMMU_MAP_DMA = Base + 13,
        VFIO_IOMMU_UNMAP_DMA = Base + 14;
    internal const uint VFIO_IOMMU_INFO_PGSIZES = 1 << 0, VFIO_IOMMU_INFO_CAPS = 1 << 1;
    internal const ushort VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1, VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION = 2,
        VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL = 3;
    internal const uint VFIO_DMA_MAP_FLAG_READ = 1 << 0, VFIO_DMA_MAP_FLAG_WRITE = 1 << 1,
        VFIO_DMA_MAP_FLAG_VADDR = 1 << 2;
    internal const uint VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP = 1 << 0, VFIO_DMA_UNMAP_FLAG_ALL = 1 << 1,
        VFIO_DMA_UNMAP_FLAG_VADDR = 1 << 2;

    /// <summary>Page sizes of a type1 container; with its capability chain where it has one.</summary>
    internal static VfioInfo<vfio_iommu_type1_info> GetIommuInfo(SafeFileHandle container)
    {
        byte[] bytes = GetWithChain(container, VFIO_IOMMU_GET_INFO, new vfio_iommu_type1_info(),
            "VFIO_IOMMU_GET_INFO");
        var info = MemoryMarshal.Read<vfio_iommu_type1_info>(bytes);
        return new(info, bytes, (info.flags & VFIO_IOMMU_INFO_CAPS) != 0 ? info.cap_offset : 0);
    }

    /// <summary>Pins memory and lets devices reach it at <paramref name="iova"/>.</summary>
    /// <param name="container">A container with its IOMMU set.</param>
    /// <param name="address">First byte, a multiple of the IOMMU's page size like all three.</param>
    /// <param name="iova">Where devices see it.</param>
    /// <param name="sizeBytes">How much.</param>
    /// <param name="flags">VFIO_DMA_MAP_FLAG_READ and WRITE: what devices may do.</param>
    /// <exception cref="NativeException">EEXIST: the IOVA is taken. ENOMEM: RLIMIT_MEMLOCK. ENOSPC: too many
    /// mappings. EINVAL: outside the usable ranges.</exception>
    internal static void MapDma(SafeFileHandle container, void* address, ulong iova, ulong sizeBytes, uint flags)
    {
        var map = new vfio_iommu_type1_dma_map
        {
            argsz = (uint)sizeof(vfio_iommu_type1_dma_map), flags = flags, vaddr = (ulong)address, iova = iova,
            size = sizeBytes,
        };
        Ioctl.Call(container, VFIO_IOMMU_MAP_DMA, &map,
            $"VFIO_IOMMU_MAP_DMA of 0x{sizeBytes:x} bytes at 0x{(nuint)address:x} to IOVA 0x{iova:x}");
    }

    /// <summary>Unmaps every mapping inside a range.</summary>
    /// <returns>Bytes that were mapped there.</returns>
    internal static ulong UnmapDma(SafeFileHandle container, ulong iova, ulong sizeBytes) =>
        UnmapDma(container, iova, sizeBytes, 0);

    /// <summary>Unmaps everything. Only where <see cref="VFIO_UNMAP_ALL"/> is an extension.</summary>
    internal static void UnmapAllDma(SafeFileHandle container) => UnmapDma(container, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL);

    private static ulong UnmapDma(SafeFileHandle container, ulong iova, ulong sizeBytes, uint flags)
    {
        var unmap = new vfio_iommu_type1_dma_unmap
        {
            argsz = (uint)sizeof(vfio_iommu_type1_dma_unmap), flags = flags, iova = iova, size = sizeBytes,
        };
        Ioctl.Call(container, VFIO_IOMMU_UNMAP_DMA, &unmap,
            $"VFIO_IOMMU_UNMAP_DMA of 0x{sizeBytes:x} bytes at IOVA 0x{iova:x}");
        return unmap.size;
    }
}
