namespace Dataplane;

/// <summary>A PCI function as the kernel's sysfs shows it when it was scanned. Nothing is opened.</summary>
public sealed record PciDevice
{
    /// <summary>Where it sits.</summary>
    public required PciAddress Address { get; init; }

    /// <summary>Vendor id.</summary>
    public required ushort Vendor { get; init; }

    /// <summary>Device id.</summary>
    public required ushort Device { get; init; }

    /// <summary>Subsystem vendor id.</summary>
    public ushort SubsystemVendor { get; init; }

    /// <summary>Subsystem device id.</summary>
    public ushort SubsystemDevice { get; init; }

    /// <summary>Base class, subclass and interface, 24 bits.</summary>
    public uint Class { get; init; }

    /// <summary>Revision id.</summary>
    public byte Revision { get; init; }

    /// <summary>NUMA node, 0 where the machine does not say.</summary>
    public int NumaNode { get; init; }

    /// <summary>The kernel driver it is bound to, e.g. <c>vfio-pci</c>, or null.</summary>
    public string? KernelDriver { get; init; }

    /// <summary>IOMMU group, or null without an IOMMU (a no-iommu group counts: see <see cref="IsNoIommu"/>).</summary>
    public int? IommuGroup { get; init; }

    /// <summary>Its group is one VFIO made up because there is no IOMMU.</summary>
    public bool IsNoIommu { get; init; }

    /// <summary>Kernel network interfaces on it.</summary>
    public IReadOnlyList<string> Interfaces { get; init; } = [];

    /// <summary>The function it is a virtual function of, or null.</summary>
    public PciAddress? PhysicalFunction { get; init; }

    /// <summary>Its enabled virtual functions.</summary>
    public IReadOnlyList<PciAddress> VirtualFunctions { get; init; } = [];

    /// <summary>Most virtual functions it can have, 0 without SR-IOV.</summary>
    public int MaxVirtualFunctions { get; init; }

    /// <summary>Name of its VFIO character device, e.g. <c>vfio0</c> (sysfs <c>vfio-dev</c>), or null.</summary>
    public string? VfioDevice { get; init; }

    /// <summary>Its directory in sysfs.</summary>
    public required string SysfsPath { get; init; }

    /// <summary>It is bound to vfio-pci or one of its variants, so that a process may open it.</summary>
    public bool IsBoundToVfio => VfioDevice != null
        || KernelDriver?.Replace('_', '-').EndsWith("vfio-pci", StringComparison.Ordinal) == true;

    /// <summary>It is a network controller (base class 0x02).</summary>
    public bool IsNetwork => Class >> 16 == 0x02;

    /// <inheritdoc/>
    public override string ToString() => $"{Address} [{Vendor:x4}:{Device:x4}]";
}
