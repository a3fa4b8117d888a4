namespace Dataplane;

/// <summary>
/// What a device found out about a received packet (Rx...), and what it shall do to one that is sent (Tx...). Bits of
/// DPDK's RTE_MBUF_F_* (lib/mbuf/rte_mbuf_core.h). Bits 23 to 40 are for dynamic flags: <see cref="MbufDynamic"/>.
/// </summary>
[Flags]
public enum MbufFlags : ulong
{
    /// <summary>None; all checksums unknown.</summary>
    None = 0,

    /// <summary>The packet had a VLAN tag; its TCI is in VlanTci.</summary>
    RxVlan = 1ul << 0,

    /// <summary>RssHash is set.</summary>
    RxRssHash = 1ul << 1,

    /// <summary>A flow director rule matched.</summary>
    RxFdir = 1ul << 2,

    /// <summary>The L4 checksum is wrong. See RxL4ChecksumMask.</summary>
    RxL4ChecksumBad = 1ul << 3,

    /// <summary>The IP checksum is wrong. See RxIpChecksumMask.</summary>
    RxIpChecksumBad = 1ul << 4,

    /// <summary>The outer IP header's checksum is wrong.</summary>
    RxOuterIpChecksumBad = 1ul << 5,

    /// <summary>The VLAN tag was taken out of the data. With RxVlan.</summary>
    RxVlanStripped = 1ul << 6,

    /// <summary>The IP checksum is right.</summary>
    RxIpChecksumGood = 1ul << 7,

    /// <summary>The L4 checksum is right.</summary>
    RxL4ChecksumGood = 1ul << 8,

    /// <summary>An IEEE 1588 packet.</summary>
    RxIeee1588Ptp = 1ul << 9,

    /// <summary>An IEEE 1588 packet that was stamped.</summary>
    RxIeee1588Timestamp = 1ul << 10,

    /// <summary>The flow director's id is in the hash's high part.</summary>
    RxFdirId = 1ul << 13,

    /// <summary>The flow director reported flexible bytes.</summary>
    RxFdirFlexible = 1ul << 14,

    /// <summary>Two tags were taken out of the data. With RxVlan, RxVlanStripped and RxQinq.</summary>
    RxQinqStripped = 1ul << 15,

    /// <summary>Several TCP segments merged into one packet.</summary>
    RxLro = 1ul << 16,

    /// <summary>A security offload was applied.</summary>
    RxSecurityOffload = 1ul << 18,

    /// <summary>A security offload failed.</summary>
    RxSecurityOffloadFailed = 1ul << 19,

    /// <summary>The packet had two tags: VlanTciOuter and VlanTci.</summary>
    RxQinq = 1ul << 20,

    /// <summary>The outer L4 checksum is wrong. See RxOuterL4ChecksumMask.</summary>
    RxOuterL4ChecksumBad = 1ul << 21,

    /// <summary>The outer L4 checksum is right.</summary>
    RxOuterL4ChecksumGood = 1ul << 22,

    /// <summary>0: unknown; Bad; Good; both: none in the data, but known to be intact.</summary>
    RxL4ChecksumMask = RxL4ChecksumBad | RxL4ChecksumGood,

    /// <summary>The L4 checksum in the data is not right, the packet is intact.</summary>
    RxL4ChecksumNone = RxL4ChecksumMask,

    /// <summary>0: unknown; Bad; Good; both: none in the data, but known to be intact.</summary>
    RxIpChecksumMask = RxIpChecksumBad | RxIpChecksumGood,

    /// <summary>The IP checksum in the data is not right, the packet is intact.</summary>
    RxIpChecksumNone = RxIpChecksumMask,

    /// <summary>0: unknown; Bad; Good; both: invalid.</summary>
    RxOuterL4ChecksumMask = RxOuterL4ChecksumBad | RxOuterL4ChecksumGood,

    /// <summary>The outer L4 checksum could not be checked.</summary>
    RxOuterL4ChecksumInvalid = RxOuterL4ChecksumMask,

    /// <summary>Fill the outer UDP checksum.</summary>
    TxOuterUdpChecksum = 1ul << 41,

    /// <summary>Cut into UDP datagrams of TxSegmentSize.</summary>
    TxUdpSegment = 1ul << 42,

    /// <summary>Apply a security offload.</summary>
    TxSecurityOffload = 1ul << 43,

    /// <summary>Apply MACsec.</summary>
    TxMacsec = 1ul << 44,

    /// <summary>Insert two tags: VlanTciOuter and VlanTci.</summary>
    TxQinq = 1ul << 49,

    /// <summary>Cut into TCP segments of TxSegmentSize; wants TxTcpChecksum and the header lengths.</summary>
    TxTcpSegment = 1ul << 50,

    /// <summary>Stamp an IEEE 1588 packet.</summary>
    TxIeee1588Timestamp = 1ul << 51,

    /// <summary>Fill the IPv4 header checksum. With TxIpv4.</summary>
    TxIpChecksum = 1ul << 54,

    /// <summary>The packet is IPv4.</summary>
    TxIpv4 = 1ul << 55,

    /// <summary>The packet is IPv6.</summary>
    TxIpv6 = 1ul << 56,

    /// <summary>Insert a tag: VlanTci.</summary>
    TxVlan = 1ul << 57,

    /// <summary>Fill the outer IPv4 header checksum.</summary>
    TxOuterIpChecksum = 1ul << 58,

    /// <summary>The outer header is IPv4.</summary>
    TxOuterIpv4 = 1ul << 59,

    /// <summary>The outer header is IPv6.</summary>
    TxOuterIpv6 = 1ul << 60,

    /// <summary>Which L4 checksum to fill; 0: none.</summary>
    TxL4ChecksumMask = 3ul << 52,

    /// <summary>
    /// Fill the TCP checksum; wants the header lengths, TxIpv4 or TxIpv6, and the pseudo-header's sum in place.
    /// </summary>
    TxTcpChecksum = 1ul << 52,

    /// <summary>Fill the SCTP checksum.</summary>
    TxSctpChecksum = 2ul << 52,

    /// <summary>Fill the UDP checksum; wants what TxTcpChecksum wants.</summary>
    TxUdpChecksum = 3ul << 52,

    /// <summary>Which tunnel the packet is of; 0: none.</summary>
    TxTunnelMask = 0xful << 45,

    /// <summary>A VXLAN tunnel.</summary>
    TxTunnelVxlan = 0x1ul << 45,

    /// <summary>A GRE tunnel.</summary>
    TxTunnelGre = 0x2ul << 45,

    /// <summary>A IPIP tunnel.</summary>
    TxTunnelIpip = 0x3ul << 45,

    /// <summary>A GENEVE tunnel.</summary>
    TxTunnelGeneve = 0x4ul << 45,

    /// <summary>A MPLSINUDP tunnel.</summary>
    TxTunnelMplsInUdp = 0x5ul << 45,

    /// <summary>A VXLAN_GPE tunnel.</summary>
    TxTunnelVxlanGpe = 0x6ul << 45,

    /// <summary>A GTP tunnel.</summary>
    TxTunnelGtp = 0x7ul << 45,

    /// <summary>A ESP tunnel.</summary>
    TxTunnelEsp = 0x8ul << 45,

    /// <summary>A IP tunnel.</summary>
    TxTunnelIp = 0xdul << 45,

    /// <summary>A UDP tunnel.</summary>
    TxTunnelUdp = 0xeul << 45,

    /// <summary>All that asks a device to do something.</summary>
    TxOffloadMask = TxOuterUdpChecksum | TxUdpSegment | TxSecurityOffload | TxMacsec | TxTunnelMask | TxQinq
        | TxTcpSegment | TxIeee1588Timestamp | TxL4ChecksumMask | TxIpChecksum | TxIpv4 | TxIpv6 | TxVlan
        | TxOuterIpChecksum | TxOuterIpv4 | TxOuterIpv6,

    /// <summary>The data is in a buffer that is not the mbuf's: <see cref="Mbuf.AttachExternal"/>.</summary>
    External = 1ul << 61,

    /// <summary>The data is in another mbuf's buffer: <see cref="Mbuf.Attach"/>.</summary>
    Indirect = 1ul << 62,
}
