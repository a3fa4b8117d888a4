namespace Dataplane;

/// <summary>A port's totals since it was made or its counters were reset. Fields as struct rte_eth_stats.</summary>
/// <param name="RxPackets">ipackets: packets given to the application.</param>
/// <param name="TxPackets">opackets: packets sent.</param>
/// <param name="RxBytes">ibytes: bytes given to the application, without frame check sequence.</param>
/// <param name="TxBytes">obytes: bytes sent, without frame check sequence.</param>
/// <param name="RxMissed">imissed: packets lost because nobody polled in time.</param>
/// <param name="RxErrors">ierrors: bad packets, not given to the application.</param>
/// <param name="TxErrors">oerrors: packets taken by TxBurst that could not be sent, freed.</param>
/// <param name="RxNoMbuf">rx_nombuf: packets not received for want of a mbuf.</param>
public readonly record struct PortStats(ulong RxPackets, ulong TxPackets, ulong RxBytes, ulong TxBytes,
    ulong RxMissed, ulong RxErrors, ulong TxErrors, ulong RxNoMbuf);

/// <summary>One extended statistic.</summary>
/// <param name="Name">Unique in its port, named as DPDK does, e.g. <c>rx_q0_packets</c>.</param>
/// <param name="Value">Counts up only, from the last reset.</param>
public readonly record struct Xstat(string Name, ulong Value);
