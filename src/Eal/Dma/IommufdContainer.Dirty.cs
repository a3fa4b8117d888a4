using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

public sealed partial class IommufdContainer
{
    private readonly List<IommufdPageTable> _tracking = [];   // one per IOMMU in front of devices; empty: not tracking

    /// <summary>What the IOMMU in front of a function is and can do.</summary>
    /// <exception cref="DataplaneException">The kernel does not say (before 6.6).</exception>
    public unsafe IommuInfo GetInfo(PciFunction function)
    {
        var vtd = default(iommu_hw_info_vtd);
        iommu_hw_info info = Iommufd.GetHwInfo(_context.Fd, IdOf(function),
            new Span<byte>(&vtd, sizeof(iommu_hw_info_vtd)));
        bool isVtd = info.out_data_type == Iommufd.IOMMU_HW_INFO_TYPE_INTEL_VTD;
        return new(info.out_data_type switch
        {
            Iommufd.IOMMU_HW_INFO_TYPE_INTEL_VTD => IommuKind.IntelVtd,
            Iommufd.IOMMU_HW_INFO_TYPE_ARM_SMMUV3 => IommuKind.ArmSmmuV3,
            _ => IommuKind.Unknown,
        }, (info.out_capabilities & Iommufd.IOMMU_HW_CAP_DIRTY_TRACKING) != 0, info.out_max_pasid_log2,
            isVtd ? vtd.cap_reg : 0, isVtd ? vtd.ecap_reg : 0);
    }

    /// <summary>
    /// Starts noting which pages devices write, without stopping them: each gets another page table with the same
    /// mappings. Does nothing where it was started.
    /// </summary>
    /// <exception cref="DeviceException">An IOMMU cannot (see <see cref="IommuInfo.DirtyTracking"/>); nothing is
    /// tracked.</exception>
    public void StartDirtyTracking()
    {
        if (_tracking.Count > 0)
            return;
        PciFunction[] functions = [.. Functions];
        if (functions.Length == 0)
            throw new DeviceException("dirty pages cannot be tracked", "no device is attached",
                errno: Errno.ENODEV);
        try
        {
            foreach (PciFunction function in functions)
                AttachTracked(function.Device, ((VfioPciFunction)function).Fd, IdOf(function));
        }
        catch
        {
            StopDirtyTracking();
            throw;
        }
    }

    /// <summary>Which pages devices have written since they were last asked for, or since the start.</summary>
    /// <param name="address">First byte, mapped here.</param>
    /// <param name="sizeBytes">Length, mapped here, a multiple of <paramref name="pageBytes"/>.</param>
    /// <param name="pageBytes">What each bit stands for: a power of two, an ordinary page or more.</param>
    /// <param name="bitmap">A bit per page, lowest first; set for written ones, the others left alone.</param>
    /// <param name="clear">They count as clean from now on.</param>
    /// <exception cref="DataplaneException">Tracking was not started, or it is not mapped.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The bitmap is too short, or the page no power of two that divides
    /// the length.</exception>
    public unsafe void ReadDirty(void* address, nuint sizeBytes, nuint pageBytes, Span<ulong> bitmap, bool clear)
    {
        if (_tracking.Count == 0)
            throw new DataplaneException("cannot read dirty pages", "tracking was not started",
                "call StartDirtyTracking", errno: Errno.EINVAL);
        Iova iova = ToIova(address);
        if (iova == Iova.Bad)
            throw new DataplaneException("cannot read dirty pages", $"0x{(nuint)address:x} is not mapped here",
                errno: Errno.ENOENT);
        foreach (IommufdPageTable table in _tracking)
            table.ReadDirty(iova.Value, sizeBytes, pageBytes, bitmap, clear);
    }

    /// <summary>Ends it: devices get their first page table back.</summary>
    public void StopDirtyTracking()
    {
        foreach (PciFunction function in Functions)
            VfioCdev.Attach(((VfioPciFunction)function).Fd, _ioas);
        EndTracking();
    }

    private void EndTracking()
    {
        foreach (IommufdPageTable table in _tracking)
            table.Dispose();
        _tracking.Clear();
    }

    private uint IdOf(PciFunction function)
    {
        lock (_ids)
            return _ids.TryGetValue(function, out uint id) ? id
                : throw new DataplaneException($"{function.Device} is not attached here", errno: Errno.ENOENT);
    }

    private void Attach(PciDevice device, SafeFileHandle fd, uint id)
    {
        if (_tracking.Count > 0)
        {
            AttachTracked(device, fd, id);
            return;
        }
        try
        {
            VfioCdev.Attach(fd, _ioas);
        }
        catch (NativeException e) when (IommufdErrors.Attach(device, e) is { } better)
        {
            throw better;
        }
    }

    // A page table serves all devices behind IOMMUs alike; one behind another gets a table of its own.
    private void AttachTracked(PciDevice device, SafeFileHandle fd, uint id)
    {
        foreach (IommufdPageTable known in _tracking)
            try
            {
                VfioCdev.Attach(fd, known.Id);
                return;
            }
            catch (NativeException e) when (e.Errno == Errno.EINVAL)
            {
                // behind another IOMMU
            }
        IommufdPageTable table;
        try
        {
            table = new(_context.Fd, id, _ioas, Iommufd.IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
        }
        catch (NativeException e) when (e.Errno is Errno.EOPNOTSUPP or Errno.ENOTTY or Errno.EINVAL)
        {
            throw IommufdErrors.Unsupported(device, "tracking which pages it writes", e);
        }
        try
        {
            table.Track(true);
            VfioCdev.Attach(fd, table.Id);
            _tracking.Add(table);
        }
        catch
        {
            table.Dispose();
            throw;
        }
    }
}

/// <summary>Kinds of IOMMU whose details iommufd tells.</summary>
public enum IommuKind
{
    /// <summary>It does not say.</summary>
    Unknown,
    /// <summary>Intel VT-d, or a model of it.</summary>
    IntelVtd,
    /// <summary>Arm SMMUv3.</summary>
    ArmSmmuV3,
}

/// <summary>What the IOMMU in front of a device is and can do.</summary>
/// <param name="Kind">Which it is.</param>
/// <param name="DirtyTracking">It notes which pages devices write.</param>
/// <param name="PasidBits">Address spaces per device, as a power of two; 0 for one. Linux 6.15.</param>
/// <param name="Capabilities">VT-d's capability register (§11.4.2), else 0.</param>
/// <param name="ExtendedCapabilities">VT-d's extended capability register (§11.4.3), else 0.</param>
public readonly record struct IommuInfo(IommuKind Kind, bool DirtyTracking, int PasidBits, ulong Capabilities,
    ulong ExtendedCapabilities);
