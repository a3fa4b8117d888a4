using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>The offload header of packet sockets, TUN and virtio. linux/virtio_net.h, VIRTIO 1.2 §5.1.6.</summary>
internal static class VirtioNet
{
    internal const byte VIRTIO_NET_HDR_F_NEEDS_CSUM = 1, VIRTIO_NET_HDR_F_DATA_VALID = 2;
    internal const byte VIRTIO_NET_HDR_GSO_NONE = 0, VIRTIO_NET_HDR_GSO_TCPV4 = 1, VIRTIO_NET_HDR_GSO_UDP = 3,
        VIRTIO_NET_HDR_GSO_TCPV6 = 4, VIRTIO_NET_HDR_GSO_UDP_L4 = 5, VIRTIO_NET_HDR_GSO_ECN = 0x80;
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
