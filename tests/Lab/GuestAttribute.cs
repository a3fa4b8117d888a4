namespace Dataplane.Tests;

/// <summary>The machines that guest tests run in. Each is described in <see cref="LabMachine"/>.</summary>
[Flags]
public enum Machines
{
    None = 0,
    /// <summary>Intel's IOMMU with interrupt remapping, kernel 6.12, a pair of each NIC.</summary>
    Intel612 = 1 << 0,
    /// <summary>The same with kernel 7.2.</summary>
    Intel72 = 1 << 1,
    /// <summary>No IOMMU, VFIO's no-iommu mode allowed; kernel 6.12, a pair of each NIC.</summary>
    Bare612 = 1 << 2,
    /// <summary>The same with kernel 7.2.</summary>
    Bare72 = 1 << 3,
    /// <summary>virtio-iommu, which remaps no interrupts, so that opening a device is refused (EPERM).</summary>
    NoRemapping = 1 << 4,
    /// <summary>virtio NICs with four queue pairs, checksum and segmentation offloads.</summary>
    MultiQueue = 1 << 5,
    /// <summary>The kernel that Debian installs: VFIO's groups without iommufd, and the bond driver.</summary>
    Debian = 1 << 6,

    Intel = Intel612 | Intel72,
    Bare = Bare612 | Bare72,
    /// <summary>The matrix of acceptance: with and without an IOMMU, on both kernels.</summary>
    Matrix = Intel | Bare,
}

/// <summary>A class of tests that run inside lab machines. On the host each of its tests is a row of
/// that machine's <see cref="GuestTests"/>; they never run on the host itself.</summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class GuestAttribute(Machines machines) : Attribute
{
    public Machines Machines { get; } = machines;
}
