using System.Globalization;

namespace Dataplane;

/// <summary>Names of <see cref="MbufFlags"/> as DPDK prints them, without its RTE_MBUF_F_ prefix.</summary>
public static class MbufFlagNames
{
    private static readonly (MbufFlags Mask, MbufFlags Value, string Name)[] s_names =
    [
        (MbufFlags.RxVlan, MbufFlags.RxVlan, "RX_VLAN"),
        (MbufFlags.RxRssHash, MbufFlags.RxRssHash, "RX_RSS_HASH"),
        (MbufFlags.RxFdir, MbufFlags.RxFdir, "RX_FDIR"),
        (MbufFlags.RxL4ChecksumMask, MbufFlags.RxL4ChecksumBad, "RX_L4_CKSUM_BAD"),
        (MbufFlags.RxIpChecksumMask, MbufFlags.RxIpChecksumBad, "RX_IP_CKSUM_BAD"),
        (MbufFlags.RxOuterIpChecksumBad, MbufFlags.RxOuterIpChecksumBad, "RX_OUTER_IP_CKSUM_BAD"),
        (MbufFlags.RxVlanStripped, MbufFlags.RxVlanStripped, "RX_VLAN_STRIPPED"),
        (MbufFlags.RxIpChecksumMask, MbufFlags.RxIpChecksumGood, "RX_IP_CKSUM_GOOD"),
        (MbufFlags.RxL4ChecksumMask, MbufFlags.RxL4ChecksumGood, "RX_L4_CKSUM_GOOD"),
        (MbufFlags.RxIeee1588Ptp, MbufFlags.RxIeee1588Ptp, "RX_IEEE1588_PTP"),
        (MbufFlags.RxIeee1588Timestamp, MbufFlags.RxIeee1588Timestamp, "RX_IEEE1588_TMST"),
        (MbufFlags.RxFdirId, MbufFlags.RxFdirId, "RX_FDIR_ID"),
        (MbufFlags.RxFdirFlexible, MbufFlags.RxFdirFlexible, "RX_FDIR_FLX"),
        (MbufFlags.RxQinqStripped, MbufFlags.RxQinqStripped, "RX_QINQ_STRIPPED"),
        (MbufFlags.RxLro, MbufFlags.RxLro, "RX_LRO"),
        (MbufFlags.RxSecurityOffload, MbufFlags.RxSecurityOffload, "RX_SEC_OFFLOAD"),
        (MbufFlags.RxSecurityOffloadFailed, MbufFlags.RxSecurityOffloadFailed, "RX_SEC_OFFLOAD_FAILED"),
        (MbufFlags.RxQinq, MbufFlags.RxQinq, "RX_QINQ"),
        (MbufFlags.RxOuterL4ChecksumMask, MbufFlags.RxOuterL4ChecksumBad, "RX_OUTER_L4_CKSUM_BAD"),
        (MbufFlags.RxOuterL4ChecksumMask, MbufFlags.RxOuterL4ChecksumGood, "RX_OUTER_L4_CKSUM_GOOD"),
        (MbufFlags.RxL4ChecksumMask, MbufFlags.RxL4ChecksumNone, "RX_L4_CKSUM_NONE"),
        (MbufFlags.RxIpChecksumMask, MbufFlags.RxIpChecksumNone, "RX_IP_CKSUM_NONE"),
        (MbufFlags.RxOuterL4ChecksumMask, MbufFlags.RxOuterL4ChecksumInvalid, "RX_OUTER_L4_CKSUM_INVALID"),
        (MbufFlags.TxOuterUdpChecksum, MbufFlags.TxOuterUdpChecksum, "TX_OUTER_UDP_CKSUM"),
        (MbufFlags.TxUdpSegment, MbufFlags.TxUdpSegment, "TX_UDP_SEG"),
        (MbufFlags.TxSecurityOffload, MbufFlags.TxSecurityOffload, "TX_SEC_OFFLOAD"),
        (MbufFlags.TxMacsec, MbufFlags.TxMacsec, "TX_MACSEC"),
        (MbufFlags.TxQinq, MbufFlags.TxQinq, "TX_QINQ"),
        (MbufFlags.TxTcpSegment, MbufFlags.TxTcpSegment, "TX_TCP_SEG"),
        (MbufFlags.TxIeee1588Timestamp, MbufFlags.TxIeee1588Timestamp, "TX_IEEE1588_TMST"),
        (MbufFlags.TxIpChecksum, MbufFlags.TxIpChecksum, "TX_IP_CKSUM"),
        (MbufFlags.TxIpv4, MbufFlags.TxIpv4, "TX_IPV4"),
        (MbufFlags.TxIpv6, MbufFlags.TxIpv6, "TX_IPV6"),
        (MbufFlags.TxVlan, MbufFlags.TxVlan, "TX_VLAN"),
        (MbufFlags.TxOuterIpChecksum, MbufFlags.TxOuterIpChecksum, "TX_OUTER_IP_CKSUM"),
        (MbufFlags.TxOuterIpv4, MbufFlags.TxOuterIpv4, "TX_OUTER_IPV4"),
        (MbufFlags.TxOuterIpv6, MbufFlags.TxOuterIpv6, "TX_OUTER_IPV6"),
        (MbufFlags.TxL4ChecksumMask, MbufFlags.TxTcpChecksum, "TX_TCP_CKSUM"),
        (MbufFlags.TxL4ChecksumMask, MbufFlags.TxSctpChecksum, "TX_SCTP_CKSUM"),
        (MbufFlags.TxL4ChecksumMask, MbufFlags.TxUdpChecksum, "TX_UDP_CKSUM"),
        (MbufFlags.TxTunnelMask, MbufFlags.TxTunnelVxlan, "TX_TUNNEL_VXLAN"),
        (MbufFlags.TxTunnelMask, MbufFlags.TxTunnelGre, "TX_TUNNEL_GRE"),
        (MbufFlags.TxTunnelMask, MbufFlags.TxTunnelIpip, "TX_TUNNEL_IPIP"),
        (MbufFlags.TxTunnelMask, MbufFlags.TxTunnelGeneve, "TX_TUNNEL_GENEVE"),
        (MbufFlags.TxTunnelMask, MbufFlags.TxTunnelMplsInUdp, "TX_TUNNEL_MPLSINUDP"),
        (MbufFlags.TxTunnelMask, MbufFlags.TxTunnelVxlanGpe, "TX_TUNNEL_VXLAN_GPE"),
        (MbufFlags.TxTunnelMask, MbufFlags.TxTunnelGtp, "TX_TUNNEL_GTP"),
        (MbufFlags.TxTunnelMask, MbufFlags.TxTunnelEsp, "TX_TUNNEL_ESP"),
        (MbufFlags.TxTunnelMask, MbufFlags.TxTunnelIp, "TX_TUNNEL_IP"),
        (MbufFlags.TxTunnelMask, MbufFlags.TxTunnelUdp, "TX_TUNNEL_UDP"),
        (MbufFlags.External, MbufFlags.External, "EXTERNAL"),
        (MbufFlags.Indirect, MbufFlags.Indirect, "INDIRECT"),
    ];

    /// <summary>
    /// The names of all flags set, separated by spaces; "NONE" for none; what has no name as hexadecimal.
    /// </summary>
    public static string GetNames(MbufFlags flags)
    {
        var names = new List<string>();
        MbufFlags left = flags;
        foreach ((MbufFlags mask, MbufFlags value, string name) in s_names)
        {
            if ((flags & mask) != value)
                continue;
            names.Add(name);
            left &= ~mask;
        }
        if (left != 0)
            names.Add(string.Create(CultureInfo.InvariantCulture, $"0x{(ulong)left:x}"));
        return names.Count == 0 ? "NONE" : string.Join(' ', names);
    }
}
