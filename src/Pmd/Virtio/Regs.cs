using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>virtio-pci common configuration, offsets from the capability's start. VIRTIO 1.2 §4.1.4.3.</summary>
internal static class CommonCfgRegs
{
    /// <summary>Bytes every device has: up to and with queue_used.</summary>
    internal const uint Bytes = 56;

    /// <summary>Which 32 feature bits <see cref="DeviceFeature"/> shows.</summary>
    internal static RwReg32 DeviceFeatureSelect => new(VirtioPci.VIRTIO_PCI_COMMON_DFSELECT);

    /// <summary>Features offered.</summary>
    internal static RoReg32 DeviceFeature => new(VirtioPci.VIRTIO_PCI_COMMON_DF);

    /// <summary>Which 32 feature bits <see cref="DriverFeature"/> sets.</summary>
    internal static RwReg32 DriverFeatureSelect => new(VirtioPci.VIRTIO_PCI_COMMON_GFSELECT);

    /// <summary>Features taken.</summary>
    internal static RwReg32 DriverFeature => new(VirtioPci.VIRTIO_PCI_COMMON_GF);

    /// <summary>Vector of configuration changes; reads back NO_VECTOR where the device has no room for it.</summary>
    internal static RwReg16 ConfigVector => new(VirtioPci.VIRTIO_PCI_COMMON_MSIX);

    /// <summary>Virtqueues there can be.</summary>
    internal static RoReg16 QueueCount => new(VirtioPci.VIRTIO_PCI_COMMON_NUMQ);

    /// <summary>§2.1. Write 0 to reset, then poll until it reads 0.</summary>
    internal static RwReg8 DeviceStatus => new(VirtioPci.VIRTIO_PCI_COMMON_STATUS);

    /// <summary>Changes whenever the device configuration has.</summary>
    internal static RoReg8 ConfigGeneration => new(VirtioPci.VIRTIO_PCI_COMMON_CFGGENERATION);

    /// <summary>The registers below act on this queue.</summary>
    internal static RwReg16 QueueSelect => new(VirtioPci.VIRTIO_PCI_COMMON_Q_SELECT);

    /// <summary>Descriptors; at first the most it can have, 0 where there is no such queue.</summary>
    internal static RwReg16 QueueSize => new(VirtioPci.VIRTIO_PCI_COMMON_Q_SIZE);

    /// <summary>Its vector; reads back NO_VECTOR where the device has no room for it.</summary>
    internal static RwReg16 QueueVector => new(VirtioPci.VIRTIO_PCI_COMMON_Q_MSIX);

    /// <summary>Write 1 when all else is set.</summary>
    internal static RwReg16 QueueEnable => new(VirtioPci.VIRTIO_PCI_COMMON_Q_ENABLE);

    /// <summary>Where to notify, in multiples that the notify capability gives.</summary>
    internal static RoReg16 QueueNotifyOffset => new(VirtioPci.VIRTIO_PCI_COMMON_Q_NOFF);

    /// <summary>Descriptor area; 64 bits written as two halves (§4.1.3.1).</summary>
    internal static RwReg32 QueueDescLow => new(VirtioPci.VIRTIO_PCI_COMMON_Q_DESCLO);

    /// <inheritdoc cref="QueueDescLow"/>
    internal static RwReg32 QueueDescHigh => new(VirtioPci.VIRTIO_PCI_COMMON_Q_DESCHI);

    /// <summary>Driver area: available ring, or driver event suppression.</summary>
    internal static RwReg32 QueueDriverLow => new(VirtioPci.VIRTIO_PCI_COMMON_Q_AVAILLO);

    /// <inheritdoc cref="QueueDriverLow"/>
    internal static RwReg32 QueueDriverHigh => new(VirtioPci.VIRTIO_PCI_COMMON_Q_AVAILHI);

    /// <summary>Device area: used ring, or device event suppression.</summary>
    internal static RwReg32 QueueDeviceLow => new(VirtioPci.VIRTIO_PCI_COMMON_Q_USEDLO);

    /// <inheritdoc cref="QueueDeviceLow"/>
    internal static RwReg32 QueueDeviceHigh => new(VirtioPci.VIRTIO_PCI_COMMON_Q_USEDHI);
}

/// <summary>The interrupt status structure. VIRTIO 1.2 §4.1.4.5.</summary>
internal static class IsrRegs
{
    internal const uint Bytes = 1;

    /// <summary>Bit 0: a queue; bit 1: the configuration changed. Reading clears it and takes the pin down.</summary>
    internal static RcReg8 Status => new(0);
}
