using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

internal static unsafe partial class Vfio
{
    internal const nuint VFIO_DEVICE_GET_INFO = Base + 7, VFIO_DEVICE_GET_REGION_INFO = Base + 8,
        VFIO_DEVICE_GET_IRQ_INFO = Base + 9, VFIO_DEVICE_SET_IRQS = Base + 10, VFIO_DEVICE_RESET = Base + 11,
        VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = Base + 12, VFIO_DEVICE_PCI_HOT_RESET = Base + 13,
        VFIO_DEVICE_FEATURE = Base + 17;

    internal const uint VFIO_DEVICE_FLAGS_RESET = 1 << 0, VFIO_DEVICE_FLAGS_PCI = 1 << 1,
        VFIO_DEVICE_FLAGS_CAPS = 1 << 7;

    internal const uint VFIO_PCI_BAR0_REGION_INDEX = 0, VFIO_PCI_BAR5_REGION_INDEX = 5, VFIO_PCI_ROM_REGION_INDEX = 6,
        VFIO_PCI_CONFIG_REGION_INDEX = 7, VFIO_PCI_VGA_REGION_INDEX = 8;
    internal const uint VFIO_REGION_INFO_FLAG_READ = 1 << 0, VFIO_REGION_INFO_FLAG_WRITE = 1 << 1,
        VFIO_REGION_INFO_FLAG_MMAP = 1 << 2, VFIO_REGION_INFO_FLAG_CAPS = 1 << 3;
    internal const ushort VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1, VFIO_REGION_INFO_CAP_TYPE = 2,
        VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3;

    internal const uint VFIO_PCI_INTX_IRQ_INDEX = 0, VFIO_PCI_MSI_IRQ_INDEX = 1, VFIO_PCI_MSIX_IRQ_INDEX = 2,
        VFIO_PCI_ERR_IRQ_INDEX = 3, VFIO_PCI_REQ_IRQ_INDEX = 4;
    internal const uint VFIO_IRQ_INFO_EVENTFD = 1 << 0, VFIO_IRQ_INFO_MASKABLE = 1 << 1,
        VFIO_IRQ_INFO_AUTOMASKED = 1 << 2, VFIO_IRQ_INFO_NORESIZE = 1 << 3;
    internal const uint VFIO_IRQ_SET_DATA_NONE = 1 << 0, VFIO_IRQ_SET_DATA_BOOL = 1 << 1,
        VFIO_IRQ_SET_DATA_EVENTFD = 1 << 2, VFIO_IRQ_SET_ACTION_MASK = 1 << 3, VFIO_IRQ_SET_ACTION_UNMASK = 1 << 4,
        VFIO_IRQ_SET_ACTION_TRIGGER = 1 << 5;

    internal const uint VFIO_PCI_HOT_RESET_FLAG_DEV_ID = 1 << 0, VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED = 1 << 1;
    internal const uint VFIO_PCI_DEVID_OWNED = 0;   // a device id: not open, but of a group that is
    internal const uint VFIO_DEVICE_FEATURE_MASK = 0xffff, VFIO_DEVICE_FEATURE_GET = 1 << 16,
        VFIO_DEVICE_FEATURE_SET = 1 << 17, VFIO_DEVICE_FEATURE_PROBE = 1 << 18;
    internal const uint VFIO_DEVICE_FEATURE_PCI_VF_TOKEN = 0;

    /// <summary>What a device has, without its capability chain.</summary>
    internal static vfio_device_info GetDeviceInfo(SafeFileHandle device)
    {
        var info = new vfio_device_info { argsz = (uint)sizeof(vfio_device_info) };
        Ioctl.Call(device, VFIO_DEVICE_GET_INFO, &info, "VFIO_DEVICE_GET_INFO");
        return info;
    }

    /// <summary>Size and place of one region; with its capability chain where it has one.</summary>
    /// <exception cref="NativeException">EINVAL: the device has no region <paramref name="index"/>.</exception>
    internal static VfioInfo<vfio_region_info> GetRegionInfo(SafeFileHandle device, uint index)
    {
        var asked = new vfio_region_info { index = index };
        byte[] bytes = GetWithChain(device, VFIO_DEVICE_GET_REGION_INFO, asked,
            $"VFIO_DEVICE_GET_REGION_INFO, region {index}");
        var info = MemoryMarshal.Read<vfio_region_info>(bytes);
        return new(info, bytes, (info.flags & VFIO_REGION_INFO_FLAG_CAPS) != 0 ? info.cap_offset : 0);
    }

    /// <summary>Count and kind of one interrupt index.</summary>
    /// <exception cref="NativeException">EINVAL: the device has no such index.</exception>
    internal static vfio_irq_info GetIrqInfo(SafeFileHandle device, uint index)
    {
        var info = new vfio_irq_info { argsz = (uint)sizeof(vfio_irq_info), index = index };
        Ioctl.Call(device, VFIO_DEVICE_GET_IRQ_INFO, &info, $"VFIO_DEVICE_GET_IRQ_INFO, index {index}");
        return info;
    }

    /// <summary>Triggers, masks or unmasks interrupts, with no data.</summary>
    /// <param name="device">The device.</param>
    /// <param name="index">VFIO_PCI_*_IRQ_INDEX.</param>
    /// <param name="action">VFIO_IRQ_SET_ACTION_*.</param>
    /// <param name="start">First interrupt.</param>
    /// <param name="count">How many; none with ACTION_TRIGGER turns the index off.</param>
    internal static void SetIrqs(SafeFileHandle device, uint index, uint action, uint start, uint count)
    {
        var set = new vfio_irq_set
        {
            argsz = (uint)sizeof(vfio_irq_set), flags = VFIO_IRQ_SET_DATA_NONE | action, index = index, start = start,
            count = count,
        };
        Ioctl.Call(device, VFIO_DEVICE_SET_IRQS, &set, $"VFIO_DEVICE_SET_IRQS, index {index}");
    }

    /// <summary>Has interrupts of an index signal eventfds, which turns the index on.</summary>
    /// <param name="device">The device.</param>
    /// <param name="index">VFIO_PCI_*_IRQ_INDEX.</param>
    /// <param name="eventfds">One per interrupt, from the first on.</param>
    /// <returns>0, or how many interrupts there could be where that is fewer: then none is on.</returns>
    internal static int SetIrqs(SafeFileHandle device, uint index, ReadOnlySpan<SafeFileHandle> eventfds)
    {
        byte[] bytes = new byte[sizeof(vfio_irq_set) + sizeof(int) * eventfds.Length];
        fixed (byte* pointer = bytes)
        {
            *(vfio_irq_set*)pointer = new()
            {
                argsz = (uint)bytes.Length, flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                index = index, start = 0, count = (uint)eventfds.Length,
            };
            for (int i = 0; i < eventfds.Length; i++)
                ((int*)(pointer + sizeof(vfio_irq_set)))[i] = Socket.Fd(eventfds[i]);
            return Ioctl.Call(device, VFIO_DEVICE_SET_IRQS, pointer,
                $"VFIO_DEVICE_SET_IRQS, index {index}, {eventfds.Length} eventfds");
        }
    }

    /// <summary>Resets a function.</summary>
    /// <exception cref="NativeException">EINVAL: it has no reset of its own.</exception>
    internal static void Reset(SafeFileHandle device) =>
        Ioctl.Call(device, VFIO_DEVICE_RESET, null, "VFIO_DEVICE_RESET");

    /// <summary>Whom a reset of the bus or slot would reset.</summary>
    /// <param name="device">One of them.</param>
    /// <param name="flags">VFIO_PCI_HOT_RESET_FLAG_*: with DEV_ID the ids are those of iommufd, not groups.</param>
    /// <exception cref="NativeException">ENODEV: it cannot be reset so.</exception>
    internal static vfio_pci_dependent_device[] GetHotResetInfo(SafeFileHandle device, out uint flags)
    {
        for (int room = 8; ; room *= 2)
        {
            byte[] bytes = new byte[sizeof(vfio_pci_hot_reset_info) + room * sizeof(vfio_pci_dependent_device)];
            fixed (byte* pointer = bytes)
            {
                var info = (vfio_pci_hot_reset_info*)pointer;
                info->argsz = (uint)bytes.Length;
                try
                {
                    Ioctl.Call(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, pointer,
                        "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO");
                }
                catch (NativeException e) when (e.Errno == Errno.ENOSPC && room < 65536)
                {
                    continue;
                }
                flags = info->flags;
                return MemoryMarshal.Cast<byte, vfio_pci_dependent_device>(
                    bytes.AsSpan(sizeof(vfio_pci_hot_reset_info)))[..(int)Math.Min(info->count, (uint)room)].ToArray();
            }
        }
    }

    /// <summary>Resets the bus or slot a device is on.</summary>
    /// <param name="device">One of those on it.</param>
    /// <param name="groups">All groups with a device on it; none where one iommufd opened all its devices.</param>
    /// <exception cref="NativeException">EINVAL: a group is missing. EPERM: a device is somebody else's.</exception>
    internal static void HotReset(SafeFileHandle device, ReadOnlySpan<SafeFileHandle> groups)
    {
        byte[] bytes = new byte[sizeof(vfio_pci_hot_reset) + sizeof(int) * groups.Length];
        fixed (byte* pointer = bytes)
        {
            *(vfio_pci_hot_reset*)pointer = new() { argsz = (uint)bytes.Length, count = (uint)groups.Length };
            for (int i = 0; i < groups.Length; i++)
                ((int*)(pointer + sizeof(vfio_pci_hot_reset)))[i] = Socket.Fd(groups[i]);
            Ioctl.Call(device, VFIO_DEVICE_PCI_HOT_RESET, pointer, "VFIO_DEVICE_PCI_HOT_RESET");
        }
    }

    /// <summary>Gets, sets or probes a feature.</summary>
    /// <param name="device">The device.</param>
    /// <param name="flags">VFIO_DEVICE_FEATURE_GET, SET or PROBE, and which.</param>
    /// <param name="data">Read or written; empty to probe.</param>
    /// <exception cref="NativeException">ENOTTY: the device or the kernel does not have it.</exception>
    internal static void Feature(SafeFileHandle device, uint flags, Span<byte> data)
    {
        byte[] bytes = new byte[sizeof(vfio_device_feature) + data.Length];
        data.CopyTo(bytes.AsSpan(sizeof(vfio_device_feature)));
        fixed (byte* pointer = bytes)
        {
            *(vfio_device_feature*)pointer = new() { argsz = (uint)bytes.Length, flags = flags };
            Ioctl.Call(device, VFIO_DEVICE_FEATURE, pointer,
                $"VFIO_DEVICE_FEATURE {flags & VFIO_DEVICE_FEATURE_MASK}");
        }
        bytes.AsSpan(sizeof(vfio_device_feature)).CopyTo(data);
    }

    // Every info struct begins with argsz, which the kernel raises where the chain needs more room.
    private static byte[] GetWithChain<T>(SafeFileHandle fd, nuint request, T asked, string what) where T : unmanaged
    {
        int size = sizeof(T);
        while (true)
        {
            byte[] bytes = new byte[size];
            fixed (byte* pointer = bytes)
            {
                Unsafe.WriteUnaligned(pointer, asked);
                *(uint*)pointer = (uint)size;
                Ioctl.Call(fd, request, pointer, what);
                uint needed = *(uint*)pointer;
                if (needed <= (uint)size || needed > MaxInfoBytes)
                    return bytes;
                size = (int)needed;
            }
        }
    }

    private const uint MaxInfoBytes = 1 << 20;
}
