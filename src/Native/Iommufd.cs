using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>
/// I/O address spaces (IOAS) and what is mapped in them; page tables in the other part. linux/iommufd.h, Linux 6.2 and
/// later where nothing else is said.
/// </summary>
internal static unsafe partial class Iommufd
{
    internal const nuint IOMMU_DESTROY = Base + 0x00, IOMMU_IOAS_ALLOC = Base + 0x01,
        IOMMU_IOAS_ALLOW_IOVAS = Base + 0x02, IOMMU_IOAS_COPY = Base + 0x03, IOMMU_IOAS_IOVA_RANGES = Base + 0x04,
        IOMMU_IOAS_MAP = Base + 0x05, IOMMU_IOAS_UNMAP = Base + 0x06, IOMMU_OPTION = Base + 0x07,
        IOMMU_IOAS_MAP_FILE = Base + 0x0f;
    internal const uint IOMMU_IOAS_MAP_FIXED_IOVA = 1 << 0, IOMMU_IOAS_MAP_WRITEABLE = 1 << 1,
        IOMMU_IOAS_MAP_READABLE = 1 << 2;
    internal const uint IOMMU_OPTION_RLIMIT_MODE = 0, IOMMU_OPTION_HUGE_PAGES = 1;
    internal const ushort IOMMU_OPTION_OP_SET = 0, IOMMU_OPTION_OP_GET = 1;

    private const nuint Base = (';' << 8) | 0x80;   // _IO(IOMMUFD_TYPE, IOMMUFD_CMD_BASE)
    private const uint Fixed = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE;

    /// <summary>Ends an object that nothing uses: an IOAS, a page table, a fault queue.</summary>
    /// <exception cref="NativeException">EBUSY: something uses it.</exception>
    internal static void Destroy(SafeFileHandle iommu, uint id)
    {
        var call = new iommu_destroy { size = (uint)sizeof(iommu_destroy), id = id };
        Ioctl.Call(iommu, IOMMU_DESTROY, &call, $"IOMMU_DESTROY of object {id}");
    }

    /// <summary>Makes an address space, empty.</summary>
    /// <returns>Its id.</returns>
    internal static uint AllocIoas(SafeFileHandle iommu)
    {
        var call = new iommu_ioas_alloc { size = (uint)sizeof(iommu_ioas_alloc) };
        Ioctl.Call(iommu, IOMMU_IOAS_ALLOC, &call, "IOMMU_IOAS_ALLOC");
        return call.out_ioas_id;
    }

    /// <summary>What can be mapped with the devices attached now, ascending.</summary>
    /// <param name="iommu">/dev/iommu.</param>
    /// <param name="ioas">Address space.</param>
    /// <param name="alignment">Least alignment of a mapping's ends, bytes.</param>
    internal static iommu_iova_range[] GetIovaRanges(SafeFileHandle iommu, uint ioas, out ulong alignment)
    {
        for (uint room = 16; ; )
        {
            var ranges = new iommu_iova_range[room];
            fixed (iommu_iova_range* first = ranges)
            {
                var call = new iommu_ioas_iova_ranges
                {
                    size = (uint)sizeof(iommu_ioas_iova_ranges), ioas_id = ioas, num_iovas = room,
                    allowed_iovas = first,
                };
                try
                {
                    Ioctl.Call(iommu, IOMMU_IOAS_IOVA_RANGES, &call, "IOMMU_IOAS_IOVA_RANGES");
                }
                catch (NativeException e) when (e.Errno == Errno.EMSGSIZE && call.num_iovas > room)
                {
                    room = call.num_iovas;
                    continue;
                }
                alignment = call.out_iova_alignment;
                return ranges[..(int)call.num_iovas];
            }
        }
    }

    /// <summary>Has the kernel refuse every device with which these could not be mapped. Replaces the list before.
    /// </summary>
    /// <exception cref="NativeException">EADDRINUSE: a device attached now does not leave them all.</exception>
    internal static void AllowIovas(SafeFileHandle iommu, uint ioas, ReadOnlySpan<iommu_iova_range> ranges)
    {
        fixed (iommu_iova_range* first = ranges)
        {
            var call = new iommu_ioas_allow_iovas
            {
                size = (uint)sizeof(iommu_ioas_allow_iovas), ioas_id = ioas, num_iovas = (uint)ranges.Length,
                allowed_iovas = first,
            };
            Ioctl.Call(iommu, IOMMU_IOAS_ALLOW_IOVAS, &call, $"IOMMU_IOAS_ALLOW_IOVAS, {ranges.Length} ranges");
        }
    }

    /// <summary>Maps memory of this process for reading and writing.</summary>
    /// <exception cref="NativeException">ENOMEM: the limit of locked memory. EEXIST: the place is taken. EINVAL: it is
    /// outside the usable ranges, or not aligned.</exception>
    internal static void Map(SafeFileHandle iommu, uint ioas, void* address, ulong length, ulong iova)
    {
        var call = new iommu_ioas_map
        {
            size = (uint)sizeof(iommu_ioas_map), flags = Fixed, ioas_id = ioas, user_va = address, length = length,
            iova = iova,
        };
        Ioctl.Call(iommu, IOMMU_IOAS_MAP, &call, $"IOMMU_IOAS_MAP of {length} bytes at IOVA 0x{iova:x}");
    }

    /// <summary>Maps a part of a memfd for reading and writing, whether this process has it mapped or not. Linux 6.13.
    /// </summary>
    /// <exception cref="NativeException">ENOTTY: an older kernel. Else as <see cref="Map"/>.</exception>
    internal static void MapFile(SafeFileHandle iommu, uint ioas, int fd, ulong offset, ulong length, ulong iova)
    {
        var call = new iommu_ioas_map_file
        {
            size = (uint)sizeof(iommu_ioas_map_file), flags = Fixed, ioas_id = ioas, fd = fd, start = offset,
            length = length, iova = iova,
        };
        Ioctl.Call(iommu, IOMMU_IOAS_MAP_FILE, &call, $"IOMMU_IOAS_MAP_FILE of {length} bytes at IOVA 0x{iova:x}");
    }

    /// <summary>Maps what another address space maps, without pinning it again.</summary>
    /// <exception cref="NativeException">ENOENT: nothing is mapped there in just that length.</exception>
    internal static void Copy(SafeFileHandle iommu, uint fromIoas, ulong fromIova, uint toIoas, ulong toIova,
        ulong length)
    {
        var call = new iommu_ioas_copy
        {
            size = (uint)sizeof(iommu_ioas_copy), flags = Fixed, dst_ioas_id = toIoas, src_ioas_id = fromIoas,
            length = length, dst_iova = toIova, src_iova = fromIova,
        };
        Ioctl.Call(iommu, IOMMU_IOAS_COPY, &call, $"IOMMU_IOAS_COPY of {length} bytes to IOVA 0x{toIova:x}");
    }

    /// <summary>Unmaps whole mappings.</summary>
    /// <returns>Bytes unmapped.</returns>
    /// <exception cref="NativeException">ENOENT: none there, or one lies across an end.</exception>
    internal static ulong Unmap(SafeFileHandle iommu, uint ioas, ulong iova, ulong length)
    {
        var call = new iommu_ioas_unmap
        {
            size = (uint)sizeof(iommu_ioas_unmap), ioas_id = ioas, iova = iova, length = length,
        };
        Ioctl.Call(iommu, IOMMU_IOAS_UNMAP, &call, $"IOMMU_IOAS_UNMAP of {length} bytes at IOVA 0x{iova:x}");
        return call.length;
    }

    /// <summary>Sets an option.</summary>
    /// <param name="iommu">/dev/iommu.</param>
    /// <param name="option">IOMMU_OPTION_*.</param>
    /// <param name="id">The address space, 0 for options of the whole descriptor.</param>
    /// <param name="value">IOMMU_OPTION_HUGE_PAGES: 1 or 0. IOMMU_OPTION_RLIMIT_MODE: 0 counts locked memory per user,
    /// 1 per process.</param>
    /// <exception cref="NativeException">EPERM: RLIMIT_MODE takes CAP_SYS_RESOURCE.</exception>
    internal static void SetOption(SafeFileHandle iommu, uint option, uint id, ulong value)
    {
        var call = Option(option, IOMMU_OPTION_OP_SET, id);
        call.val64 = value;
        Ioctl.Call(iommu, IOMMU_OPTION, &call, $"IOMMU_OPTION {option} = {value}");
    }

    /// <summary>Reads an option.</summary>
    internal static ulong GetOption(SafeFileHandle iommu, uint option, uint id)
    {
        var call = Option(option, IOMMU_OPTION_OP_GET, id);
        Ioctl.Call(iommu, IOMMU_OPTION, &call, $"IOMMU_OPTION {option}");
        return call.val64;
    }

    private static iommu_option Option(uint option, ushort operation, uint id) => new()
    {
        size = (uint)sizeof(iommu_option), option_id = option, op = operation, object_id = id,
    };
}
