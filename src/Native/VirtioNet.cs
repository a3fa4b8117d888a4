using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>The virtio network device, and the offload header that packet sockets and TUN share with it.
/// linux/virtio_net.h, VIRTIO 1.2 §5.1.</summary>
internal static class VirtioNet
{
    /// <summary>Feature bits.</summary>
    internal const int VIRTIO_NET_F_CSUM = 0, VIRTIO_NET_F_GUEST_CSUM = 1, VIRTIO_NET_F_MTU = 3, VIRTIO_NET_F_MAC = 5,
        VIRTIO_NET_F_GUEST_TSO4 = 7, VIRTIO_NET_F_GUEST_TSO6 = 8, VIRTIO_NET_F_GUEST_ECN = 9,
        VIRTIO_NET_F_HOST_TSO4 = 11, VIRTIO_NET_F_HOST_TSO6 = 12, VIRTIO_NET_F_HOST_ECN = 13,
        VIRTIO_NET_F_MRG_RXBUF = 15, VIRTIO_NET_F_STATUS = 16, VIRTIO_NET_F_CTRL_VQ = 17, VIRTIO_NET_F_CTRL_RX = 18,
        VIRTIO_NET_F_CTRL_VLAN = 19, VIRTIO_NET_F_MQ = 22, VIRTIO_NET_F_CTRL_MAC_ADDR = 23,
        VIRTIO_NET_F_HOST_USO = 56, VIRTIO_NET_F_HASH_REPORT = 57, VIRTIO_NET_F_RSS = 60,
        VIRTIO_NET_F_SPEED_DUPLEX = 63;

    internal const byte VIRTIO_NET_HDR_F_NEEDS_CSUM = 1, VIRTIO_NET_HDR_F_DATA_VALID = 2;
    internal const byte VIRTIO_NET_HDR_GSO_NONE = 0, VIRTIO_NET_HDR_GSO_TCPV4 = 1, VIRTIO_NET_HDR_GSO_UDP = 3,
        VIRTIO_NET_HDR_GSO_TCPV6 = 4, VIRTIO_NET_HDR_GSO_UDP_L4 = 5, VIRTIO_NET_HDR_GSO_ECN = 0x80;

    internal const ushort VIRTIO_NET_S_LINK_UP = 1;

    internal const uint VIRTIO_NET_RSS_HASH_TYPE_IPv4 = 1 << 0, VIRTIO_NET_RSS_HASH_TYPE_TCPv4 = 1 << 1,
        VIRTIO_NET_RSS_HASH_TYPE_UDPv4 = 1 << 2, VIRTIO_NET_RSS_HASH_TYPE_IPv6 = 1 << 3,
        VIRTIO_NET_RSS_HASH_TYPE_TCPv6 = 1 << 4, VIRTIO_NET_RSS_HASH_TYPE_UDPv6 = 1 << 5;

    internal const ushort VIRTIO_NET_HASH_REPORT_NONE = 0;

    internal const byte VIRTIO_NET_OK = 0, VIRTIO_NET_ERR = 1;
    internal const byte VIRTIO_NET_CTRL_RX = 0, VIRTIO_NET_CTRL_RX_PROMISC = 0, VIRTIO_NET_CTRL_RX_ALLMULTI = 1;
    internal const byte VIRTIO_NET_CTRL_MAC = 1, VIRTIO_NET_CTRL_MAC_TABLE_SET = 0, VIRTIO_NET_CTRL_MAC_ADDR_SET = 1;
    internal const byte VIRTIO_NET_CTRL_VLAN = 2, VIRTIO_NET_CTRL_VLAN_ADD = 0, VIRTIO_NET_CTRL_VLAN_DEL = 1;
    internal const byte VIRTIO_NET_CTRL_MQ = 4, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET = 0,
        VIRTIO_NET_CTRL_MQ_RSS_CONFIG = 1, VIRTIO_NET_CTRL_MQ_HASH_CONFIG = 2;
    internal const int VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX = 0x8000;
}

/// <summary>linux/virtio_net.h, the 10-byte form.</summary>
[StructLayout(LayoutKind.Explicit, Size = 10)]
internal struct virtio_net_hdr
{
    [FieldOffset(0)] internal byte flags;
    [FieldOffset(1)] internal byte gso_type;
    [FieldOffset(2)] internal ushort hdr_len;
    [FieldOffset(4)] internal ushort gso_size;
    [FieldOffset(6)] internal ushort csum_start;
    [FieldOffset(8)] internal ushort csum_offset;
}

/// <summary>What a device of today puts before each packet, <see cref="virtio_net_hdr"/> at its start; the hash is
/// there with VIRTIO_NET_F_HASH_REPORT. linux/virtio_net.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 20)]
internal struct virtio_net_hdr_v1_hash
{
    [FieldOffset(0)] internal virtio_net_hdr hdr;
    [FieldOffset(10)] internal ushort num_buffers;
    [FieldOffset(12)] internal uint hash_value;
    [FieldOffset(16)] internal ushort hash_report;
    [FieldOffset(18)] internal ushort padding;
}

/// <summary>The device's own configuration. linux/virtio_net.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal unsafe struct virtio_net_config
{
    [FieldOffset(0)] internal fixed byte mac[6];
    [FieldOffset(6)] internal ushort status;
    [FieldOffset(8)] internal ushort max_virtqueue_pairs;
    [FieldOffset(10)] internal ushort mtu;
    [FieldOffset(12)] internal uint speed;
    [FieldOffset(16)] internal byte duplex;
    [FieldOffset(17)] internal byte rss_max_key_size;
    [FieldOffset(18)] internal ushort rss_max_indirection_table_length;
    [FieldOffset(20)] internal uint supported_hash_types;
}
