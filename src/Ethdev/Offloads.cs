namespace Dataplane;

/// <summary>What a port can do to received packets. Names and bits as RTE_ETH_RX_OFFLOAD_*.</summary>
[Flags]
public enum RxOffloads : ulong
{
    /// <summary>None.</summary>
    None = 0,
    /// <summary>Takes the VLAN tag out of the frame into the mbuf.</summary>
    VlanStrip = 1ul << 0,
    /// <summary>Checks IPv4 header checksums.</summary>
    Ipv4Checksum = 1ul << 1,
    /// <summary>Checks UDP checksums.</summary>
    UdpChecksum = 1ul << 2,
    /// <summary>Checks TCP checksums.</summary>
    TcpChecksum = 1ul << 3,
    /// <summary>Merges TCP segments.</summary>
    TcpLro = 1ul << 4,
    /// <summary>Strips two VLAN tags.</summary>
    QinqStrip = 1ul << 5,
    /// <summary>Drops frames of VLANs not asked for.</summary>
    VlanFilter = 1ul << 9,
    /// <summary>Spreads a large frame over several mbufs.</summary>
    Scatter = 1ul << 13,
    /// <summary>Stamps packets with their arrival time.</summary>
    Timestamp = 1ul << 14,
    /// <summary>Delivers the frame check sequence.</summary>
    KeepCrc = 1ul << 16,
    /// <summary>Delivers the RSS hash.</summary>
    RssHash = 1ul << 19,
}

/// <summary>What a port can do to packets it sends. Names and bits as RTE_ETH_TX_OFFLOAD_*.</summary>
[Flags]
public enum TxOffloads : ulong
{
    /// <summary>None.</summary>
    None = 0,
    /// <summary>Puts a VLAN tag in.</summary>
    VlanInsert = 1ul << 0,
    /// <summary>Fills IPv4 header checksums.</summary>
    Ipv4Checksum = 1ul << 1,
    /// <summary>Fills UDP checksums.</summary>
    UdpChecksum = 1ul << 2,
    /// <summary>Fills TCP checksums.</summary>
    TcpChecksum = 1ul << 3,
    /// <summary>Cuts large TCP packets into segments.</summary>
    TcpTso = 1ul << 5,
    /// <summary>Cuts large UDP packets into datagrams.</summary>
    UdpTso = 1ul << 6,
    /// <summary>Puts two VLAN tags in.</summary>
    QinqInsert = 1ul << 8,
    /// <summary>Many threads may send on one queue.</summary>
    LockFree = 1ul << 14,
    /// <summary>Sends packets of several segments.</summary>
    MultiSegments = 1ul << 15,
    /// <summary>All mbufs sent are of one pool, direct and unshared: freed without a look.</summary>
    FastFree = 1ul << 16,
}
