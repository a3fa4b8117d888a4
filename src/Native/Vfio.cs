using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>VFIO: containers and groups here, devices and type1 in the other parts. linux/vfio.h.</summary>
internal static unsafe partial class Vfio
{
    internal const int VFIO_API_VERSION = 0;
    internal const uint VFIO_TYPE1_IOMMU = 1, VFIO_TYPE1v2_IOMMU = 3, VFIO_DMA_CC_IOMMU = 4,
        VFIO_TYPE1_NESTING_IOMMU = 6, VFIO_NOIOMMU_IOMMU = 8, VFIO_UNMAP_ALL = 9, VFIO_UPDATE_VADDR = 10;

    internal const nuint VFIO_GET_API_VERSION = Base + 0, VFIO_CHECK_EXTENSION = Base + 1, VFIO_SET_IOMMU = Base + 2,
        VFIO_GROUP_GET_STATUS = Base + 3, VFIO_GROUP_SET_CONTAINER = Base + 4, VFIO_GROUP_UNSET_CONTAINER = Base + 5,
        VFIO_GROUP_GET_DEVICE_FD = Base + 6;
    internal const uint VFIO_GROUP_FLAGS_VIABLE = 1 << 0, VFIO_GROUP_FLAGS_CONTAINER_SET = 1 << 1;

    private const nuint Base = (';' << 8) | 100;   // _IO(VFIO_TYPE, VFIO_BASE)

    /// <summary>The interface's version; anything but <see cref="VFIO_API_VERSION"/> is not for us.</summary>
    internal static int GetApiVersion(SafeFileHandle container) =>
        Ioctl.Call(container, VFIO_GET_API_VERSION, null, "VFIO_GET_API_VERSION");

    /// <summary>Whether the kernel has a VFIO_*_IOMMU or one of the other extensions.</summary>
    internal static bool CheckExtension(SafeFileHandle container, uint extension) =>
        Ioctl.Call(container, VFIO_CHECK_EXTENSION, (void*)extension, $"VFIO_CHECK_EXTENSION {extension}") > 0;

    /// <summary>Chooses the kind of IOMMU, after the first group was put into the container.</summary>
    /// <exception cref="NativeException">EPERM: it does not remap interrupts. ENODEV: no such kind.</exception>
    internal static void SetIommu(SafeFileHandle container, uint type) =>
        Ioctl.Call(container, VFIO_SET_IOMMU, (void*)type, $"VFIO_SET_IOMMU {type}");

    /// <summary>VFIO_GROUP_FLAGS_* of a group.</summary>
    internal static uint GetGroupStatus(SafeFileHandle group)
    {
        var status = new vfio_group_status { argsz = (uint)sizeof(vfio_group_status) };
        Ioctl.Call(group, VFIO_GROUP_GET_STATUS, &status, "VFIO_GROUP_GET_STATUS");
        return status.flags;
    }

    /// <summary>Puts a group into a container.</summary>
    /// <exception cref="NativeException">EINVAL: it is in one. EPERM: not viable, or no right. EBUSY: its devices
    /// are in use through their own files.</exception>
    internal static void SetContainer(SafeFileHandle group, SafeFileHandle container)
    {
        int fd = Socket.Fd(container);
        Ioctl.Call(group, VFIO_GROUP_SET_CONTAINER, &fd, "VFIO_GROUP_SET_CONTAINER");
        GC.KeepAlive(container);
    }

    /// <summary>Takes a group out of its container; its devices are closed.</summary>
    internal static void UnsetContainer(SafeFileHandle group) =>
        Ioctl.Call(group, VFIO_GROUP_UNSET_CONTAINER, null, "VFIO_GROUP_UNSET_CONTAINER");

    /// <summary>Opens a device of a group that is in a container.</summary>
    /// <param name="group">Its group.</param>
    /// <param name="name">Its address, for a virtual function behind a token followed by <c> vf_token=UUID</c>.</param>
    /// <exception cref="NativeException">EACCES: the token. ENODEV: it is not in the group, or has no driver of
    /// VFIO.</exception>
    internal static SafeFileHandle GetDeviceFd(SafeFileHandle group, string name)
    {
        byte[] text = Encoding.UTF8.GetBytes(name + '\0');
        fixed (byte* pointer = text)
            return new(Ioctl.Call(group, VFIO_GROUP_GET_DEVICE_FD, pointer, $"VFIO_GROUP_GET_DEVICE_FD {name}"),
                ownsHandle: true);
    }
}
