using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>Hardware page tables (HWPT): dirty tracking, faults, what the IOMMU can do. linux/iommufd.h.</summary>
internal static unsafe partial class Iommufd
{
    internal const nuint IOMMU_HWPT_ALLOC = Base + 0x09, IOMMU_GET_HW_INFO = Base + 0x0a,
        IOMMU_HWPT_SET_DIRTY_TRACKING = Base + 0x0b, IOMMU_HWPT_GET_DIRTY_BITMAP = Base + 0x0c,
        IOMMU_FAULT_QUEUE_ALLOC = Base + 0x0e;
    internal const uint IOMMU_HWPT_ALLOC_NEST_PARENT = 1 << 0, IOMMU_HWPT_ALLOC_DIRTY_TRACKING = 1 << 1,
        IOMMU_HWPT_FAULT_ID_VALID = 1 << 2;
    internal const uint IOMMU_HW_INFO_TYPE_NONE = 0, IOMMU_HW_INFO_TYPE_INTEL_VTD = 1,
        IOMMU_HW_INFO_TYPE_ARM_SMMUV3 = 2;
    internal const ulong IOMMU_HW_CAP_DIRTY_TRACKING = 1 << 0;
    internal const uint IOMMU_HWPT_DIRTY_TRACKING_ENABLE = 1, IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR = 1;
    internal const uint IOMMU_PGFAULT_PERM_READ = 1 << 0, IOMMU_PGFAULT_PERM_WRITE = 1 << 1;
    internal const uint IOMMUFD_PAGE_RESP_SUCCESS = 0, IOMMUFD_PAGE_RESP_INVALID = 1;

    /// <summary>Makes a page table for a device, filled from an address space. Linux 6.6; flags 6.7.</summary>
    /// <param name="iommu">/dev/iommu.</param>
    /// <param name="device">Id of the device, from <see cref="VfioCdev.Bind"/>.</param>
    /// <param name="ioas">Address space.</param>
    /// <param name="flags">IOMMU_HWPT_*.</param>
    /// <param name="faultQueue">With IOMMU_HWPT_FAULT_ID_VALID, where its faults go.</param>
    /// <returns>Its id, to attach devices to in place of the address space's.</returns>
    /// <exception cref="NativeException">EOPNOTSUPP: the IOMMU cannot do what the flags ask.</exception>
    internal static uint AllocHwpt(SafeFileHandle iommu, uint device, uint ioas, uint flags, uint faultQueue = 0)
    {
        var call = new iommu_hwpt_alloc
        {
            size = (uint)sizeof(iommu_hwpt_alloc), flags = flags, dev_id = device, pt_id = ioas,
            fault_id = faultQueue,
        };
        Ioctl.Call(iommu, IOMMU_HWPT_ALLOC, &call, $"IOMMU_HWPT_ALLOC with flags 0x{flags:x}");
        return call.out_hwpt_id;
    }

    /// <summary>What the IOMMU in front of a device is and can do. Linux 6.6.</summary>
    /// <param name="iommu">/dev/iommu.</param>
    /// <param name="device">Id of the device.</param>
    /// <param name="data">Filled with what the kind of IOMMU has to say, e.g. <see cref="iommu_hw_info_vtd"/>.</param>
    internal static iommu_hw_info GetHwInfo(SafeFileHandle iommu, uint device, Span<byte> data)
    {
        fixed (byte* first = data)
        {
            var call = new iommu_hw_info
            {
                size = (uint)sizeof(iommu_hw_info), dev_id = device, data_len = (uint)data.Length, data_uptr = first,
            };
            Ioctl.Call(iommu, IOMMU_GET_HW_INFO, &call, "IOMMU_GET_HW_INFO");
            call.data_uptr = null;
            return call;
        }
    }

    /// <summary>Starts or stops noting which pages devices write. Linux 6.7.</summary>
    /// <exception cref="NativeException">EOPNOTSUPP: the page table was made without
    /// IOMMU_HWPT_ALLOC_DIRTY_TRACKING.</exception>
    internal static void SetDirtyTracking(SafeFileHandle iommu, uint hwpt, bool on)
    {
        var call = new iommu_hwpt_set_dirty_tracking
        {
            size = (uint)sizeof(iommu_hwpt_set_dirty_tracking),
            flags = on ? IOMMU_HWPT_DIRTY_TRACKING_ENABLE : 0, hwpt_id = hwpt,
        };
        Ioctl.Call(iommu, IOMMU_HWPT_SET_DIRTY_TRACKING, &call, "IOMMU_HWPT_SET_DIRTY_TRACKING");
    }

    /// <summary>Which pages were written since they were last asked for. Linux 6.7.</summary>
    /// <param name="iommu">/dev/iommu.</param>
    /// <param name="hwpt">A page table that tracks.</param>
    /// <param name="iova">First byte.</param>
    /// <param name="length">Bytes, all mapped.</param>
    /// <param name="pageSize">Bytes each bit stands for, a power of two.</param>
    /// <param name="bitmap">Bits are set in it, none is cleared.</param>
    /// <param name="flags">IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR, or 0: what was asked for counts as clean.</param>
    internal static void GetDirtyBitmap(SafeFileHandle iommu, uint hwpt, ulong iova, ulong length, ulong pageSize,
        Span<ulong> bitmap, uint flags)
    {
        // The kernel writes a bit per 1 << ffs(pageSize), so any other size would have it write behind the bitmap.
        if (!ulong.IsPow2(pageSize) || length % pageSize != 0)
            throw new ArgumentOutOfRangeException(nameof(pageSize), pageSize,
                $"a power of two that divides the {length} bytes");
        ArgumentOutOfRangeException.ThrowIfLessThan((ulong)bitmap.Length * 64, length / pageSize, nameof(bitmap));
        fixed (ulong* first = bitmap)
        {
            var call = new iommu_hwpt_get_dirty_bitmap
            {
                size = (uint)sizeof(iommu_hwpt_get_dirty_bitmap), hwpt_id = hwpt, flags = flags, iova = iova,
                length = length, page_size = pageSize, data = first,
            };
            Ioctl.Call(iommu, IOMMU_HWPT_GET_DIRTY_BITMAP, &call,
                $"IOMMU_HWPT_GET_DIRTY_BITMAP of {length} bytes at IOVA 0x{iova:x}");
        }
    }

    /// <summary>Makes a queue of page faults that user space answers. Linux 6.11.</summary>
    /// <param name="iommu">/dev/iommu.</param>
    /// <param name="queue">Its id.</param>
    /// <returns>Read it for <see cref="iommu_hwpt_pgfault"/>, write <see cref="iommu_hwpt_page_response"/>.</returns>
    internal static SafeFileHandle AllocFaultQueue(SafeFileHandle iommu, out uint queue)
    {
        var call = new iommu_fault_alloc { size = (uint)sizeof(iommu_fault_alloc) };
        Ioctl.Call(iommu, IOMMU_FAULT_QUEUE_ALLOC, &call, "IOMMU_FAULT_QUEUE_ALLOC");
        queue = call.out_fault_id;
        return new(call.out_fault_fd, ownsHandle: true);
    }
}
