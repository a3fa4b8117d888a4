namespace Dataplane.Native;

/// <summary>Life of any virtio device. linux/virtio_config.h, VIRTIO 1.2 §2.1, §6.</summary>
internal static class VirtioConfig
{
    internal const byte VIRTIO_CONFIG_S_ACKNOWLEDGE = 1, VIRTIO_CONFIG_S_DRIVER = 2, VIRTIO_CONFIG_S_DRIVER_OK = 4,
        VIRTIO_CONFIG_S_FEATURES_OK = 8, VIRTIO_CONFIG_S_NEEDS_RESET = 0x40, VIRTIO_CONFIG_S_FAILED = 0x80;

    /// <summary>Feature bits.</summary>
    internal const int VIRTIO_F_VERSION_1 = 32, VIRTIO_F_ACCESS_PLATFORM = 33, VIRTIO_F_RING_PACKED = 34,
        VIRTIO_F_IN_ORDER = 35, VIRTIO_F_ORDER_PLATFORM = 36, VIRTIO_F_SR_IOV = 37, VIRTIO_F_NOTIFICATION_DATA = 38,
        VIRTIO_F_RING_RESET = 40;
}
