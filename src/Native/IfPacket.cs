using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>Packet sockets. linux/if_packet.h, linux/if_ether.h.</summary>
internal static class IfPacket
{
    internal const ushort ETH_P_ALL = 0x0003, ETH_P_IP = 0x0800, ETH_P_8021Q = 0x8100, ETH_P_IPV6 = 0x86dd,
        ETH_P_8021AD = 0x88a8;
    internal const int ETH_HLEN = 14, VLAN_HLEN = 4;

    internal const int PACKET_ADD_MEMBERSHIP = 1, PACKET_DROP_MEMBERSHIP = 2, PACKET_RX_RING = 5, PACKET_STATISTICS = 6,
        PACKET_AUXDATA = 8, PACKET_VERSION = 10, PACKET_TX_RING = 13, PACKET_VNET_HDR = 15, PACKET_FANOUT = 18,
        PACKET_QDISC_BYPASS = 20, PACKET_IGNORE_OUTGOING = 23;

    internal const int PACKET_FANOUT_HASH = 0, PACKET_FANOUT_LB = 1, PACKET_FANOUT_CPU = 2, PACKET_FANOUT_ROLLOVER = 3,
        PACKET_FANOUT_RND = 4, PACKET_FANOUT_QM = 5, PACKET_FANOUT_FLAG_UNIQUEID = 0x2000;

    internal const uint TP_STATUS_KERNEL = 0, TP_STATUS_USER = 1 << 0, TP_STATUS_LOSING = 1 << 2,
        TP_STATUS_CSUMNOTREADY = 1 << 3, TP_STATUS_VLAN_VALID = 1 << 4, TP_STATUS_VLAN_TPID_VALID = 1 << 6,
        TP_STATUS_CSUM_VALID = 1 << 7;

    internal const uint TP_STATUS_AVAILABLE = 0, TP_STATUS_SEND_REQUEST = 1 << 0, TP_STATUS_SENDING = 1 << 1,
        TP_STATUS_WRONG_FORMAT = 1 << 2;

    internal const int TPACKET_V2 = 1, TPACKET_V3 = 2;
    internal const uint TP_FT_REQ_FILL_RXHASH = 0x1;
    internal const ushort PACKET_MR_MULTICAST = 0, PACKET_MR_PROMISC = 1, PACKET_MR_ALLMULTI = 2, PACKET_MR_UNICAST = 3;

    /// <summary>Where the kernel looks for the frame in a transmit slot: TPACKET2_HDRLEN -
    /// sizeof(sockaddr_ll).</summary>
    internal const int Tpacket2DataOffset = 32;
}

/// <summary>linux/if_packet.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 20)]
internal unsafe struct sockaddr_ll
{
    [FieldOffset(0)] internal ushort sll_family;
    [FieldOffset(2)] internal ushort sll_protocol;   // network order
    [FieldOffset(4)] internal int sll_ifindex;
    [FieldOffset(8)] internal ushort sll_hatype;
    [FieldOffset(10)] internal byte sll_pkttype;
    [FieldOffset(11)] internal byte sll_halen;
    [FieldOffset(12)] internal fixed byte sll_addr[8];
}

/// <summary>linux/if_packet.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 20)]
internal struct tpacket_auxdata
{
    [FieldOffset(0)] internal uint tp_status;
    [FieldOffset(4)] internal uint tp_len;
    [FieldOffset(8)] internal uint tp_snaplen;
    [FieldOffset(12)] internal ushort tp_mac;
    [FieldOffset(14)] internal ushort tp_net;
    [FieldOffset(16)] internal ushort tp_vlan_tci;
    [FieldOffset(18)] internal ushort tp_vlan_tpid;
}

/// <summary>linux/if_packet.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 12)]
internal struct tpacket_stats_v3
{
    [FieldOffset(0)] internal uint tp_packets;
    [FieldOffset(4)] internal uint tp_drops;
    [FieldOffset(8)] internal uint tp_freeze_q_cnt;
}

/// <summary>linux/if_packet.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct tpacket2_hdr
{
    [FieldOffset(0)] internal uint tp_status;
    [FieldOffset(4)] internal uint tp_len;
    [FieldOffset(8)] internal uint tp_snaplen;
    [FieldOffset(12)] internal ushort tp_mac;
    [FieldOffset(14)] internal ushort tp_net;
    [FieldOffset(16)] internal uint tp_sec;
    [FieldOffset(20)] internal uint tp_nsec;
    [FieldOffset(24)] internal ushort tp_vlan_tci;
    [FieldOffset(26)] internal ushort tp_vlan_tpid;
}

/// <summary>linux/if_packet.h. hv1 is flattened.</summary>
[StructLayout(LayoutKind.Explicit, Size = 48)]
internal struct tpacket3_hdr
{
    [FieldOffset(0)] internal uint tp_next_offset;
    [FieldOffset(4)] internal uint tp_sec;
    [FieldOffset(8)] internal uint tp_nsec;
    [FieldOffset(12)] internal uint tp_snaplen;
    [FieldOffset(16)] internal uint tp_len;
    [FieldOffset(20)] internal uint tp_status;
    [FieldOffset(24)] internal ushort tp_mac;
    [FieldOffset(26)] internal ushort tp_net;
    [FieldOffset(28)] internal uint tp_rxhash;
    [FieldOffset(32)] internal uint tp_vlan_tci;
    [FieldOffset(36)] internal ushort tp_vlan_tpid;
}

/// <summary>linux/if_packet.h. hdr.bh1 is flattened.</summary>
[StructLayout(LayoutKind.Explicit, Size = 48)]
internal struct tpacket_block_desc
{
    [FieldOffset(0)] internal uint version;
    [FieldOffset(4)] internal uint offset_to_priv;
    [FieldOffset(8)] internal uint block_status;
    [FieldOffset(12)] internal uint num_pkts;
    [FieldOffset(16)] internal uint offset_to_first_pkt;
    [FieldOffset(20)] internal uint blk_len;
    [FieldOffset(24)] internal ulong seq_num;
    [FieldOffset(32)] internal ulong ts_first_pkt;
    [FieldOffset(40)] internal ulong ts_last_pkt;
}

/// <summary>linux/if_packet.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct tpacket_req
{
    [FieldOffset(0)] internal uint tp_block_size;
    [FieldOffset(4)] internal uint tp_block_nr;
    [FieldOffset(8)] internal uint tp_frame_size;
    [FieldOffset(12)] internal uint tp_frame_nr;
}

/// <summary>linux/if_packet.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 28)]
internal struct tpacket_req3
{
    [FieldOffset(0)] internal uint tp_block_size;
    [FieldOffset(4)] internal uint tp_block_nr;
    [FieldOffset(8)] internal uint tp_frame_size;
    [FieldOffset(12)] internal uint tp_frame_nr;
    [FieldOffset(16)] internal uint tp_retire_blk_tov;   // milliseconds
    [FieldOffset(20)] internal uint tp_sizeof_priv;
    [FieldOffset(24)] internal uint tp_feature_req_word;
}

/// <summary>linux/if_packet.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal unsafe struct packet_mreq
{
    [FieldOffset(0)] internal int mr_ifindex;
    [FieldOffset(4)] internal ushort mr_type;
    [FieldOffset(6)] internal ushort mr_alen;
    [FieldOffset(8)] internal fixed byte mr_address[8];
}
