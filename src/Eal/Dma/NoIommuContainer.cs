using Dataplane.Native;
using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>
/// No I/O address space at all: devices see physical memory, all of it. A fault in a driver or a device can overwrite
/// anything, so only <c>--unsafe-noiommu</c> allows it. linux/vfio.h, VFIO_NOIOMMU_IOMMU.
/// </summary>
internal sealed class NoIommuContainer : VfioGroupContainer
{
    private const string Switch = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

    /// <summary>Opens the container, and warns.</summary>
    /// <param name="memory">Taken with its physical addresses, on hugepages.</param>
    /// <param name="interrupts">Where devices report that they are lost.</param>
    /// <param name="log">For the warning; may be null.</param>
    /// <exception cref="DataplaneException">Memory is of the wrong kind, the kernel's switch is off, or a right is
    /// missing: what to do.</exception>
    internal NoIommuContainer(Memory memory, Interrupts interrupts, ILogger? log = null)
        : base(memory, interrupts, null, log)
    {
        try
        {
            CheckMemory(memory);
            if (!Vfio.CheckExtension(Container, Vfio.VFIO_NOIOMMU_IOMMU))
                throw Refused();
        }
        catch
        {
            Container.Dispose();
            throw;
        }
        log?.LogWarning("no IOMMU: devices reach all memory of this machine, and a fault can overwrite any of it "
            + "(--unsafe-noiommu)");
    }

    /// <inheritdoc/>
    public override string Backend => "noiommu";

    /// <inheritdoc/>
    public override IovaMode IovaMode => IovaMode.Pa;

    private protected override string GroupNode(int group) => $"/dev/vfio/noiommu-{group}";

    private protected override void SetIommu(PciDevice device) => Vfio.SetIommu(Container, Vfio.VFIO_NOIOMMU_IOMMU);

    private protected override void MapCore(DmaPiece piece)
    {
    }

    private protected override void UnmapCore(DmaPiece piece)
    {
    }

    // Ordinary pages move and are not contiguous; only hugepages stay where they are.
    private static void CheckMemory(Memory memory)
    {
        if (memory.IovaMode != IovaMode.Pa)
            throw new ConfigException("cannot use devices without an IOMMU",
                "memory was taken without its physical addresses", "start with --unsafe-noiommu", DmaBackends.See);
        foreach (Memseg memseg in memory.Memsegs)
            if (memseg.PageSizeBytes == PageSource.OrdinaryPageSize)
                throw new ConfigException("cannot use devices without an IOMMU",
                    "some memory is on ordinary pages, which the kernel moves",
                    "reserve hugepages, and leave --no-huge out: sudo dpctl hugepages", "docs/setup/hugepages.md");
    }

    private static DeviceException Refused()
    {
        bool on = false;
        try
        {
            on = File.ReadAllText(Switch).Trim() is "Y" or "1";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new("cannot use devices without an IOMMU", "this kernel's VFIO has no such mode "
                + "(CONFIG_VFIO_NOIOMMU)", "switch the IOMMU on in the firmware and with intel_iommu=on on the "
                + "kernel's command line", DmaBackends.See, Errno.ENODEV);
        }
        return on
            ? new("cannot use devices without an IOMMU", "it takes the right CAP_SYS_RAWIO", "run as root",
                DmaBackends.See, Errno.EPERM)
            : new("cannot use devices without an IOMMU", "VFIO's mode for that is off",
                $"echo 1 | sudo tee {Switch}, then bind the device again", DmaBackends.See, Errno.EPERM);
    }
}
