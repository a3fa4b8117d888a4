using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>Devices opened by their character device and attached through iommufd. linux/vfio.h since 6.6.</summary>
internal static unsafe class VfioCdev
{
    internal const nuint VFIO_DEVICE_BIND_IOMMUFD = Base + 18, VFIO_DEVICE_ATTACH_IOMMUFD_PT = Base + 19,
        VFIO_DEVICE_DETACH_IOMMUFD_PT = Base + 20;
    internal const uint VFIO_DEVICE_BIND_FLAG_TOKEN = 1 << 0;

    private const nuint Base = (';' << 8) | 100;   // _IO(VFIO_TYPE, VFIO_BASE)

    /// <summary>Puts a device, opened by <c>/dev/vfio/devices/vfioN</c>, under an iommufd.</summary>
    /// <param name="device">The device.</param>
    /// <param name="iommu">/dev/iommu.</param>
    /// <param name="token">For a virtual function whose physical one has a token (Linux 6.17), or null.</param>
    /// <returns>The id iommufd knows it by.</returns>
    /// <exception cref="NativeException">EPERM: the IOMMU does not remap interrupts. EBUSY or EINVAL: its group is in
    /// use through the old interface, or it is bound. EACCES: the token.</exception>
    internal static uint Bind(SafeFileHandle device, SafeFileHandle iommu, Guid? token = null)
    {
        byte* uuid = stackalloc byte[16];
        var call = new vfio_device_bind_iommufd
        {
            argsz = (uint)Marshal.OffsetOf<vfio_device_bind_iommufd>(nameof(vfio_device_bind_iommufd.token_uuid_ptr)),
            iommufd = Socket.Fd(iommu),
        };
        if (token is { } secret)
        {
            secret.TryWriteBytes(new(uuid, 16), bigEndian: true, out _);
            call.argsz = (uint)sizeof(vfio_device_bind_iommufd);
            call.flags = VFIO_DEVICE_BIND_FLAG_TOKEN;
            call.token_uuid_ptr = uuid;
        }
        Ioctl.Call(device, VFIO_DEVICE_BIND_IOMMUFD, &call, "VFIO_DEVICE_BIND_IOMMUFD");
        GC.KeepAlive(iommu);
        return call.out_devid;
    }

    /// <summary>Has a device see an address space or page table, in place of the one before.</summary>
    /// <param name="device">Bound.</param>
    /// <param name="pageTable">Id of an IOAS or HWPT.</param>
    /// <returns>Id of the page table it got.</returns>
    /// <exception cref="NativeException">EADDRINUSE: its reserved addresses are mapped or were allowed.</exception>
    internal static uint Attach(SafeFileHandle device, uint pageTable)
    {
        var call = new vfio_device_attach_iommufd_pt
        {
            argsz = (uint)sizeof(vfio_device_attach_iommufd_pt), pt_id = pageTable,
        };
        Ioctl.Call(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &call, "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
        return call.pt_id;
    }

    /// <summary>Has a device see nothing. Its DMA is blocked from then on.</summary>
    internal static void Detach(SafeFileHandle device)
    {
        var call = new vfio_device_detach_iommufd_pt { argsz = (uint)sizeof(vfio_device_detach_iommufd_pt) };
        Ioctl.Call(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &call, "VFIO_DEVICE_DETACH_IOMMUFD_PT");
    }
}

/// <summary>linux/vfio.h since 6.6; the token since 6.17.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal unsafe struct vfio_device_bind_iommufd
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal int iommufd;
    [FieldOffset(12)] internal uint out_devid;
    [FieldOffset(16)] internal void* token_uuid_ptr;
}

/// <summary>linux/vfio.h since 6.6, without the PASID of 6.15.</summary>
[StructLayout(LayoutKind.Explicit, Size = 12)]
internal struct vfio_device_attach_iommufd_pt
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal uint pt_id;
}

/// <summary>linux/vfio.h since 6.6, without the PASID of 6.15.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct vfio_device_detach_iommufd_pt
{
    [FieldOffset(0)] internal uint argsz;
    [FieldOffset(4)] internal uint flags;
}
