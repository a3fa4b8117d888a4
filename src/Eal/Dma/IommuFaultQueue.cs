using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>A device asks for a page that is not mapped (PCIe page request).</summary>
/// <param name="Device">iommufd's id of the device.</param>
/// <param name="Address">The I/O address.</param>
/// <param name="Write">It wants to write there.</param>
/// <param name="Cookie">For the answer.</param>
internal readonly record struct IommuFault(uint Device, ulong Address, bool Write, uint Cookie);

/// <summary>
/// Page requests of devices that can wait for a page. Most devices and IOMMUs cannot: their DMA to an unmapped address
/// is dropped and noted in the kernel's log. Linux 6.11.
/// </summary>
internal sealed unsafe class IommuFaultQueue : IDisposable
{
    private readonly SafeFileHandle _iommu;

    /// <summary>Makes it.</summary>
    /// <exception cref="NativeException">ENOTTY: an older kernel.</exception>
    internal IommuFaultQueue(SafeFileHandle iommu)
    {
        _iommu = iommu;
        Fd = Iommufd.AllocFaultQueue(iommu, out uint id);
        Id = id;
    }

    /// <summary>To make page tables with.</summary>
    internal uint Id { get; }

    /// <summary>Readable when there is a request.</summary>
    internal SafeFileHandle Fd { get; }

    /// <summary>Takes requests; does not wait where <see cref="Fd"/> is not readable.</summary>
    internal IommuFault[] Read()
    {
        Span<iommu_hwpt_pgfault> room = stackalloc iommu_hwpt_pgfault[16];
        fixed (iommu_hwpt_pgfault* first = room)
        {
            nint bytes = Unistd.read(Fd, first, (nuint)(room.Length * sizeof(iommu_hwpt_pgfault)));
            if (bytes < 0)
                throw NativeException.FromErrno("reading page requests");
            return [.. room[..(int)(bytes / sizeof(iommu_hwpt_pgfault))].ToArray().Select(fault => new IommuFault(
                fault.dev_id, fault.addr, (fault.perm & Iommufd.IOMMU_PGFAULT_PERM_WRITE) != 0, fault.cookie))];
        }
    }

    /// <summary>Answers a request.</summary>
    /// <param name="fault">As read.</param>
    /// <param name="mapped">The page is there now, try again; else it stays away.</param>
    internal void Answer(IommuFault fault, bool mapped)
    {
        var response = new iommu_hwpt_page_response
        {
            cookie = fault.Cookie,
            code = mapped ? Iommufd.IOMMUFD_PAGE_RESP_SUCCESS : Iommufd.IOMMUFD_PAGE_RESP_INVALID,
        };
        if (Unistd.write(Fd, &response, (nuint)sizeof(iommu_hwpt_page_response)) < 0)
            throw NativeException.FromErrno("answering a page request");
    }

    /// <summary>Ends it; no page table uses it any more.</summary>
    public void Dispose()
    {
        Fd.Dispose();
        Iommufd.Destroy(_iommu, Id);
    }
}
