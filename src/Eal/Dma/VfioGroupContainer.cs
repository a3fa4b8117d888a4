using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// Devices through <c>/dev/vfio/vfio</c> and a descriptor per IOMMU group (linux/vfio.h): what the backends with and
/// without an IOMMU share. A group is opened with its first device and given back with its last.
/// </summary>
internal abstract class VfioGroupContainer : DmaContainer
{
    internal const string ContainerNode = "/dev/vfio/vfio";

    private readonly Dictionary<int, Group> _groups = [];   // guarded by itself
    private readonly Interrupts _interrupts;
    private readonly Guid? _vfToken;
    private bool _iommuSet;

    /// <summary>Opens the container.</summary>
    /// <exception cref="DeviceException">There is no VFIO here, or it may not be used.</exception>
    private protected VfioGroupContainer(Memory memory, Interrupts interrupts, Guid? vfToken, ILogger? log)
        : base(memory, log)
    {
        _interrupts = interrupts;
        _vfToken = vfToken;
        Container = Fcntl.open(ContainerNode, Fcntl.O_RDWR | Fcntl.O_CLOEXEC, 0);
        if (Container.IsInvalid)
            throw VfioErrors.ContainerNode(NativeException.FromErrno(ContainerNode).Errno);
        try
        {
            int version = Vfio.GetApiVersion(Container);
            if (version != Vfio.VFIO_API_VERSION)
                throw new DeviceException($"{ContainerNode} speaks version {version} of VFIO",
                    $"this library speaks version {Vfio.VFIO_API_VERSION}", errno: Errno.EPROTO);
        }
        catch
        {
            Container.Dispose();
            throw;
        }
    }

    /// <summary>The container's descriptor.</summary>
    private protected SafeFileHandle Container { get; }

    /// <summary>The node of a group.</summary>
    private protected abstract string GroupNode(int group);

    /// <summary>Sets the kind of IOMMU, once the first group is in.</summary>
    private protected abstract void SetIommu(PciDevice device);

    private protected override PciFunction OpenCore(PciDevice device)
    {
        int number = device.IommuGroup
            ?? throw new DeviceException($"cannot open {device}", "it is in no IOMMU group",
                $"sudo dpctl bind {device.Address}", DmaBackends.See, Errno.ENODEV);
        Group group = Join(device, number);
        group.Devices++;
        try
        {
            return new VfioPciFunction(device, this, OpenDevice(device, group), _interrupts, Logger, HotReset);
        }
        catch
        {
            Leave(number);
            throw;
        }
    }

    private protected override void CloseCore(PciFunction function)
    {
        ((VfioPciFunction)function).Fd.Dispose();   // before its group, which is busy as long as it is open
        Leave(function.Device.IommuGroup!.Value);
    }

    private protected override void DisposeCore() => Container.Dispose();

    private Group Join(PciDevice device, int number)
    {
        lock (_groups)
            if (_groups.TryGetValue(number, out Group? known))
                return known;
        string node = GroupNode(number);
        SafeFileHandle fd = Fcntl.open(node, Fcntl.O_RDWR | Fcntl.O_CLOEXEC, 0);
        if (fd.IsInvalid)
            throw VfioErrors.GroupNode(device, node, NativeException.FromErrno(node).Errno);
        try
        {
            uint status = Vfio.GetGroupStatus(fd);
            if ((status & Vfio.VFIO_GROUP_FLAGS_VIABLE) == 0)
                throw VfioErrors.NotViable(device, number);
            Vfio.SetContainer(fd, Container);
            if (!_iommuSet)
                SetIommu(device);
            _iommuSet = true;
            lock (_groups)
                return _groups[number] = new Group(fd);
        }
        catch (Exception e)
        {
            fd.Dispose();   // takes the group out of the container, should it be in
            if (e is NativeException native && VfioErrors.Attach(device, native) is { } better)
                throw better;
            throw;
        }
    }

    // The last group takes the kind of IOMMU along: the container is as it was when it was opened.
    private void Leave(int number)
    {
        Group group;
        lock (_groups)
        {
            group = _groups[number];
            if (--group.Devices > 0)
                return;
            _groups.Remove(number);
        }
        try
        {
            Vfio.UnsetContainer(group.Fd);
        }
        catch (NativeException e)
        {
            Logger?.LogWarning("{Message}", e.Message);   // closing the descriptor does the same
        }
        group.Fd.Dispose();
        _iommuSet = _groups.Count > 0;
    }

    // A token is for virtual functions whose physical one has one set; the kernel refuses it for all others.
    private SafeFileHandle OpenDevice(PciDevice device, Group group)
    {
        string name = device.Address.ToString();
        NativeException? withToken = null;
        if (_vfToken is { } token)
            try
            {
                return Vfio.GetDeviceFd(group.Fd, $"{name} vf_token={token}");
            }
            catch (NativeException e) when (e.Errno is Errno.EINVAL or Errno.EACCES or Errno.ENODEV)
            {
                withToken = e;
            }
        try
        {
            return Vfio.GetDeviceFd(group.Fd, name);
        }
        catch (NativeException e)
        {
            throw VfioErrors.OpenDevice(device, e, withToken);
        }
    }

    private bool HotReset(VfioPciFunction function) =>
        VfioHotReset.TryReset(function, Functions, number =>
        {
            lock (_groups)
                return _groups.GetValueOrDefault(number)?.Fd;
        }, Logger);

    private sealed class Group(SafeFileHandle fd)
    {
        internal SafeFileHandle Fd => fd;

        internal int Devices { get; set; }
    }
}
