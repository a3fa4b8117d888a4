using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct iommu_destroy
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint id;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 12)]
internal struct iommu_ioas_alloc
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint out_ioas_id;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct iommu_iova_range
{
    [FieldOffset(0)] internal ulong start;
    [FieldOffset(8)] internal ulong last;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal unsafe struct iommu_ioas_iova_ranges
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint ioas_id;
    [FieldOffset(8)] internal uint num_iovas;
    [FieldOffset(12)] internal uint __reserved;
    [FieldOffset(16)] internal iommu_iova_range* allowed_iovas;
    [FieldOffset(24)] internal ulong out_iova_alignment;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal unsafe struct iommu_ioas_allow_iovas
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint ioas_id;
    [FieldOffset(8)] internal uint num_iovas;
    [FieldOffset(12)] internal uint __reserved;
    [FieldOffset(16)] internal iommu_iova_range* allowed_iovas;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal unsafe struct iommu_ioas_map
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint ioas_id;
    [FieldOffset(12)] internal uint __reserved;
    [FieldOffset(16)] internal void* user_va;
    [FieldOffset(24)] internal ulong length;
    [FieldOffset(32)] internal ulong iova;
}

/// <summary>linux/iommufd.h since 6.13.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal struct iommu_ioas_map_file
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint ioas_id;
    [FieldOffset(12)] internal int fd;
    [FieldOffset(16)] internal ulong start;
    [FieldOffset(24)] internal ulong length;
    [FieldOffset(32)] internal ulong iova;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal struct iommu_ioas_copy
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint dst_ioas_id;
    [FieldOffset(12)] internal uint src_ioas_id;
    [FieldOffset(16)] internal ulong length;
    [FieldOffset(24)] internal ulong dst_iova;
    [FieldOffset(32)] internal ulong src_iova;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal struct iommu_ioas_unmap
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint ioas_id;
    [FieldOffset(8)] internal ulong iova;
    [FieldOffset(16)] internal ulong length;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal struct iommu_option
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint option_id;
    [FieldOffset(8)] internal ushort op;
    [FieldOffset(10)] internal ushort __reserved;
    [FieldOffset(12)] internal uint object_id;
    [FieldOffset(16)] internal ulong val64;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 48)]
internal struct iommu_hwpt_alloc
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint dev_id;
    [FieldOffset(12)] internal uint pt_id;
    [FieldOffset(16)] internal uint out_hwpt_id;
    [FieldOffset(20)] internal uint __reserved;
    [FieldOffset(24)] internal uint data_type;
    [FieldOffset(28)] internal uint data_len;
    [FieldOffset(32)] internal ulong data_uptr;
    [FieldOffset(40)] internal uint fault_id;
    [FieldOffset(44)] internal uint __reserved2;
}

/// <summary>linux/iommufd.h; out_max_pasid_log2 was reserved before 6.15.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal unsafe struct iommu_hw_info
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint dev_id;
    [FieldOffset(12)] internal uint data_len;
    [FieldOffset(16)] internal void* data_uptr;
    [FieldOffset(24)] internal uint out_data_type;
    [FieldOffset(28)] internal byte out_max_pasid_log2;
    [FieldOffset(32)] internal ulong out_capabilities;
}

/// <summary>linux/iommufd.h: VT-d's two capability registers, §11.4.2 and §11.4.3 of its specification.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal struct iommu_hw_info_vtd
{
    [FieldOffset(0)] internal uint flags;
    [FieldOffset(4)] internal uint __reserved;
    [FieldOffset(8)] internal ulong cap_reg;
    [FieldOffset(16)] internal ulong ecap_reg;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct iommu_hwpt_set_dirty_tracking
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint hwpt_id;
    [FieldOffset(12)] internal uint __reserved;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 48)]
internal unsafe struct iommu_hwpt_get_dirty_bitmap
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint hwpt_id;
    [FieldOffset(8)] internal uint flags;
    [FieldOffset(12)] internal uint __reserved;
    [FieldOffset(16)] internal ulong iova;
    [FieldOffset(24)] internal ulong length;
    [FieldOffset(32)] internal ulong page_size;
    [FieldOffset(40)] internal ulong* data;
}

/// <summary>linux/iommufd.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct iommu_fault_alloc
{
    [FieldOffset(0)] internal uint size;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint out_fault_id;
    [FieldOffset(12)] internal int out_fault_fd;
}

/// <summary>linux/iommufd.h: what a fault queue's descriptor is read for.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal struct iommu_hwpt_pgfault
{
    [FieldOffset(0)] internal uint flags;
    [FieldOffset(4)] internal uint dev_id;
    [FieldOffset(8)] internal uint pasid;
    [FieldOffset(12)] internal uint grpid;
    [FieldOffset(16)] internal uint perm;
    [FieldOffset(20)] internal uint __reserved;
    [FieldOffset(24)] internal ulong addr;
    [FieldOffset(32)] internal uint length;
    [FieldOffset(36)] internal uint cookie;
}

/// <summary>linux/iommufd.h: what is written to a fault queue's descriptor in answer.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct iommu_hwpt_page_response
{
    [FieldOffset(0)] internal uint cookie;
    [FieldOffset(4)] internal uint code;
}
