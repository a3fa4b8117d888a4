using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>linux/vfio.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct vfio_info_cap_header
{
    [FieldOffset(0)] internal ushort id;
    [FieldOffset(2)] internal ushort version;
    [FieldOffset(4)] internal uint next;   // from the start of the info struct; 0 ends the chain
}

/// <summary>linux/vfio.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct vfio_group_status
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
}

/// <summary>linux/vfio.h, as it was before 6.6 added padding.</summary>
[StructLayout(LayoutKind.Explicit, Size = 20)]
internal struct vfio_device_info
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint num_regions;
    [FieldOffset(12)] internal uint num_irqs;
    [FieldOffset(16)] internal uint cap_offset;
}

/// <summary>linux/vfio.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct vfio_region_info
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint index;
    [FieldOffset(12)] internal uint cap_offset;
    [FieldOffset(16)] internal ulong size;
    [FieldOffset(24)] internal ulong offset;   // in the device's file, for pread, pwrite and mmap
}

/// <summary>linux/vfio.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct vfio_region_sparse_mmap_area
{
    [FieldOffset(0)] internal ulong offset;
    [FieldOffset(8)] internal ulong size;
}

/// <summary>linux/vfio.h, without the array at its end.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct vfio_region_info_cap_sparse_mmap
{
    [FieldOffset(0)] internal vfio_info_cap_header header;
    [FieldOffset(8)] internal uint nr_areas;
    [FieldOffset(12)] internal uint reserved;
}

/// <summary>linux/vfio.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct vfio_irq_info
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint index;
    [FieldOffset(12)] internal uint count;
}

/// <summary>linux/vfio.h, without the data at its end.</summary>
[StructLayout(LayoutKind.Explicit, Size = 20)]
internal struct vfio_irq_set
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint index;
    [FieldOffset(12)] internal uint start;
    [FieldOffset(16)] internal uint count;
}

/// <summary>linux/vfio.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct vfio_pci_dependent_device
{
    [FieldOffset(0)] internal uint group_id;   // iommufd's device id where the info's flags say DEV_ID
    [FieldOffset(4)] internal ushort segment;
    [FieldOffset(6)] internal byte bus;
    [FieldOffset(7)] internal byte devfn;
}

/// <summary>linux/vfio.h, without the array at its end.</summary>
[StructLayout(LayoutKind.Explicit, Size = 12)]
internal struct vfio_pci_hot_reset_info
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint count;
}

/// <summary>linux/vfio.h, without the array at its end.</summary>
[StructLayout(LayoutKind.Explicit, Size = 12)]
internal struct vfio_pci_hot_reset
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint count;
}

/// <summary>linux/vfio.h, without the data at its end.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct vfio_device_feature
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
}

/// <summary>linux/vfio.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal struct vfio_iommu_type1_info
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal ulong iova_pgsizes;   // bit n: pages of 2^n bytes
    [FieldOffset(16)] internal uint cap_offset;
}

/// <summary>linux/vfio.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct vfio_iova_range
{
    [FieldOffset(0)] internal ulong start;
    [FieldOffset(8)] internal ulong end;   // inclusive
}

/// <summary>linux/vfio.h, without the array at its end.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct vfio_iommu_type1_info_cap_iova_range
{
    [FieldOffset(0)] internal vfio_info_cap_header header;
    [FieldOffset(8)] internal uint nr_iovas;
    [FieldOffset(12)] internal uint reserved;
}

/// <summary>linux/vfio.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct vfio_iommu_type1_info_cap_migration
{
    [FieldOffset(0)] internal vfio_info_cap_header header;
    [FieldOffset(8)] internal uint flags;
    [FieldOffset(16)] internal ulong pgsize_bitmap;
    [FieldOffset(24)] internal ulong max_dirty_bitmap_size;
}

/// <summary>linux/vfio.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 12)]
internal struct vfio_iommu_type1_info_dma_avail
{
    [FieldOffset(0)] internal vfio_info_cap_header header;
    [FieldOffset(8)] internal uint avail;
}

/// <summary>linux/vfio.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct vfio_iommu_type1_dma_map
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal ulong vaddr;
    [FieldOffset(16)] internal ulong iova;
    [FieldOffset(24)] internal ulong size;
}

/// <summary>linux/vfio.h, without the data at its end.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal struct vfio_iommu_type1_dma_unmap
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal ulong iova;
    [FieldOffset(16)] internal ulong size;
}
