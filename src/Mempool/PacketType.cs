namespace Dataplane;

/// <summary>
/// What a packet is, one value per layer in <see cref="MbufHeader.PacketType"/>: compare after masking with the
/// layer's mask, combine layers with <c>|</c>. Values of DPDK's RTE_PTYPE_* (lib/mbuf/rte_mbuf_ptype.h).
/// </summary>
public static class PacketType
{
    /// <summary>Nothing is known.</summary>
    public const uint Unknown = 0;

    /// <summary>All layers.</summary>
    public const uint AllMask = 0x0fffffff;

    /// <summary>Bits of: layer 2.</summary>
    public const uint L2Mask = 0x0000000f;

    /// <summary>Layer 2: Ethernet.</summary>
    public const uint L2Ether = 0x00000001;

    /// <summary>Layer 2: Ethernet, IEEE 1588 (type 0x88F7).</summary>
    public const uint L2EtherTimesync = 0x00000002;

    /// <summary>Layer 2: ARP (type 0x0806).</summary>
    public const uint L2EtherArp = 0x00000003;

    /// <summary>Layer 2: LLDP (type 0x88CC).</summary>
    public const uint L2EtherLldp = 0x00000004;

    /// <summary>Layer 2: Network service header (type 0x894F).</summary>
    public const uint L2EtherNsh = 0x00000005;

    /// <summary>Layer 2: One VLAN tag (type 0x8100).</summary>
    public const uint L2EtherVlan = 0x00000006;

    /// <summary>Layer 2: Two VLAN tags (type 0x88A8 or 0x9100 outside).</summary>
    public const uint L2EtherQinq = 0x00000007;

    /// <summary>Layer 2: PPPoE session (type 0x8864).</summary>
    public const uint L2EtherPppoe = 0x00000008;

    /// <summary>Layer 2: FCoE (type 0x8906).</summary>
    public const uint L2EtherFcoe = 0x00000009;

    /// <summary>Layer 2: MPLS (types 0x8847, 0x8848).</summary>
    public const uint L2EtherMpls = 0x0000000a;

    /// <summary>Bits of: layer 3.</summary>
    public const uint L3Mask = 0x000000f0;

    /// <summary>Layer 3: IPv4, no options.</summary>
    public const uint L3Ipv4 = 0x00000010;

    /// <summary>Layer 3: IPv4 with options.</summary>
    public const uint L3Ipv4Ext = 0x00000030;

    /// <summary>Layer 3: IPv6, no extension header.</summary>
    public const uint L3Ipv6 = 0x00000040;

    /// <summary>Layer 3: IPv4, options or not.</summary>
    public const uint L3Ipv4ExtUnknown = 0x00000090;

    /// <summary>Layer 3: IPv6 with extension headers.</summary>
    public const uint L3Ipv6Ext = 0x000000c0;

    /// <summary>Layer 3: IPv6, extension headers or not.</summary>
    public const uint L3Ipv6ExtUnknown = 0x000000e0;

    /// <summary>Bits of: layer 4.</summary>
    public const uint L4Mask = 0x00000f00;

    /// <summary>Layer 4: TCP.</summary>
    public const uint L4Tcp = 0x00000100;

    /// <summary>Layer 4: UDP.</summary>
    public const uint L4Udp = 0x00000200;

    /// <summary>Layer 4: A fragment (not the L4 header's, or not known).</summary>
    public const uint L4Frag = 0x00000300;

    /// <summary>Layer 4: SCTP.</summary>
    public const uint L4Sctp = 0x00000400;

    /// <summary>Layer 4: ICMP or ICMPv6.</summary>
    public const uint L4Icmp = 0x00000500;

    /// <summary>Layer 4: No fragment, and none of the others.</summary>
    public const uint L4NonFrag = 0x00000600;

    /// <summary>Layer 4: IGMP.</summary>
    public const uint L4Igmp = 0x00000700;

    /// <summary>Bits of: tunnel.</summary>
    public const uint TunnelMask = 0x0000f000;

    /// <summary>Tunnel: IP in IP.</summary>
    public const uint TunnelIp = 0x00001000;

    /// <summary>Tunnel: GRE.</summary>
    public const uint TunnelGre = 0x00002000;

    /// <summary>Tunnel: VXLAN (UDP port 4789).</summary>
    public const uint TunnelVxlan = 0x00003000;

    /// <summary>Tunnel: NVGRE.</summary>
    public const uint TunnelNvgre = 0x00004000;

    /// <summary>Tunnel: GENEVE (UDP port 6081).</summary>
    public const uint TunnelGeneve = 0x00005000;

    /// <summary>Tunnel: One of GRE, NVGRE, VXLAN or GENEVE, the device cannot say which.</summary>
    public const uint TunnelGrenat = 0x00006000;

    /// <summary>Tunnel: GTP-C (UDP port 2123).</summary>
    public const uint TunnelGtpc = 0x00007000;

    /// <summary>Tunnel: GTP-U (UDP port 2152).</summary>
    public const uint TunnelGtpu = 0x00008000;

    /// <summary>Tunnel: IPsec ESP.</summary>
    public const uint TunnelEsp = 0x00009000;

    /// <summary>Tunnel: L2TP.</summary>
    public const uint TunnelL2tp = 0x0000a000;

    /// <summary>Tunnel: VXLAN-GPE (UDP port 4790).</summary>
    public const uint TunnelVxlanGpe = 0x0000b000;

    /// <summary>Tunnel: MPLS in GRE.</summary>
    public const uint TunnelMplsInGre = 0x0000c000;

    /// <summary>Tunnel: MPLS in UDP (port 6635).</summary>
    public const uint TunnelMplsInUdp = 0x0000d000;

    /// <summary>Bits of: inner layer 2.</summary>
    public const uint InnerL2Mask = 0x000f0000;

    /// <summary>Inner layer 2: Ethernet in a tunnel.</summary>
    public const uint InnerL2Ether = 0x00010000;

    /// <summary>Inner layer 2: Ethernet with a VLAN tag in a tunnel.</summary>
    public const uint InnerL2EtherVlan = 0x00020000;

    /// <summary>Inner layer 2: Ethernet with two VLAN tags in a tunnel.</summary>
    public const uint InnerL2EtherQinq = 0x00030000;

    /// <summary>Bits of: inner layer 3.</summary>
    public const uint InnerL3Mask = 0x00f00000;

    /// <summary>Inner layer 3: IPv4 without options in a tunnel.</summary>
    public const uint InnerL3Ipv4 = 0x00100000;

    /// <summary>Inner layer 3: IPv4 with options in a tunnel.</summary>
    public const uint InnerL3Ipv4Ext = 0x00200000;

    /// <summary>Inner layer 3: IPv6 without extension header in a tunnel.</summary>
    public const uint InnerL3Ipv6 = 0x00300000;

    /// <summary>Inner layer 3: IPv4 in a tunnel, options or not.</summary>
    public const uint InnerL3Ipv4ExtUnknown = 0x00400000;

    /// <summary>Inner layer 3: IPv6 with extension headers in a tunnel.</summary>
    public const uint InnerL3Ipv6Ext = 0x00500000;

    /// <summary>Inner layer 3: IPv6 in a tunnel, extension headers or not.</summary>
    public const uint InnerL3Ipv6ExtUnknown = 0x00600000;

    /// <summary>Bits of: inner layer 4.</summary>
    public const uint InnerL4Mask = 0x0f000000;

    /// <summary>Inner layer 4: TCP in a tunnel.</summary>
    public const uint InnerL4Tcp = 0x01000000;

    /// <summary>Inner layer 4: UDP in a tunnel.</summary>
    public const uint InnerL4Udp = 0x02000000;

    /// <summary>Inner layer 4: A fragment in a tunnel.</summary>
    public const uint InnerL4Frag = 0x03000000;

    /// <summary>Inner layer 4: SCTP in a tunnel.</summary>
    public const uint InnerL4Sctp = 0x04000000;

    /// <summary>Inner layer 4: ICMP in a tunnel.</summary>
    public const uint InnerL4Icmp = 0x05000000;

    /// <summary>Inner layer 4: No fragment, and none of the others, in a tunnel.</summary>
    public const uint InnerL4NonFrag = 0x06000000;

    /// <summary>True when layer 3 is IPv4 in any form.</summary>
    public static bool IsIpv4(uint packetType) => (packetType & L3Ipv4) != 0;

    /// <summary>True when layer 3 is IPv6 in any form.</summary>
    public static bool IsIpv6(uint packetType) => (packetType & L3Ipv6) != 0;

    /// <summary>True when the packet is a tunnel's.</summary>
    public static bool IsTunnel(uint packetType) =>
        (packetType & (TunnelMask | InnerL2Mask | InnerL3Mask | InnerL4Mask)) != 0;

    /// <summary>
    /// The names of the layers set, as DPDK prints them: "L2_ETHER L3_IPV4 L4_UDP"; "UNKNOWN" for none.
    /// </summary>
    public static string GetName(uint packetType)
    {
        if ((packetType & AllMask) == 0)
            return "UNKNOWN";
        var names = new List<string>(7);
        for (int shift = 0; shift < 28; shift += 4)
        {
            uint layer = packetType & (0xfu << shift);
            if (layer != 0)
                names.Add(NameLayer(layer, shift));
        }
        return string.Join(' ', names);
    }

    private static string NameLayer(uint layer, int shift) => layer switch
    {
        L2Ether => "L2_ETHER",
        L2EtherTimesync => "L2_ETHER_TIMESYNC",
        L2EtherArp => "L2_ETHER_ARP",
        L2EtherLldp => "L2_ETHER_LLDP",
        L2EtherNsh => "L2_ETHER_NSH",
        L2EtherVlan => "L2_ETHER_VLAN",
        L2EtherQinq => "L2_ETHER_QINQ",
        L2EtherPppoe => "L2_ETHER_PPPOE",
        L2EtherFcoe => "L2_ETHER_FCOE",
        L2EtherMpls => "L2_ETHER_MPLS",
        L3Ipv4 => "L3_IPV4",
        L3Ipv4Ext => "L3_IPV4_EXT",
        L3Ipv6 => "L3_IPV6",
        L3Ipv4ExtUnknown => "L3_IPV4_EXT_UNKNOWN",
        L3Ipv6Ext => "L3_IPV6_EXT",
        L3Ipv6ExtUnknown => "L3_IPV6_EXT_UNKNOWN",
        L4Tcp => "L4_TCP",
        L4Udp => "L4_UDP",
        L4Frag => "L4_FRAG",
        L4Sctp => "L4_SCTP",
        L4Icmp => "L4_ICMP",
        L4NonFrag => "L4_NONFRAG",
        L4Igmp => "L4_IGMP",
        TunnelIp => "TUNNEL_IP",
        TunnelGre => "TUNNEL_GRE",
        TunnelVxlan => "TUNNEL_VXLAN",
        TunnelNvgre => "TUNNEL_NVGRE",
        TunnelGeneve => "TUNNEL_GENEVE",
        TunnelGrenat => "TUNNEL_GRENAT",
        TunnelGtpc => "TUNNEL_GTPC",
        TunnelGtpu => "TUNNEL_GTPU",
        TunnelEsp => "TUNNEL_ESP",
        TunnelL2tp => "TUNNEL_L2TP",
        TunnelVxlanGpe => "TUNNEL_VXLAN_GPE",
        TunnelMplsInGre => "TUNNEL_MPLS_IN_GRE",
        TunnelMplsInUdp => "TUNNEL_MPLS_IN_UDP",
        InnerL2Ether => "INNER_L2_ETHER",
        InnerL2EtherVlan => "INNER_L2_ETHER_VLAN",
        InnerL2EtherQinq => "INNER_L2_ETHER_QINQ",
        InnerL3Ipv4 => "INNER_L3_IPV4",
        InnerL3Ipv4Ext => "INNER_L3_IPV4_EXT",
        InnerL3Ipv6 => "INNER_L3_IPV6",
        InnerL3Ipv4ExtUnknown => "INNER_L3_IPV4_EXT_UNKNOWN",
        InnerL3Ipv6Ext => "INNER_L3_IPV6_EXT",
        InnerL3Ipv6ExtUnknown => "INNER_L3_IPV6_EXT_UNKNOWN",
        InnerL4Tcp => "INNER_L4_TCP",
        InnerL4Udp => "INNER_L4_UDP",
        InnerL4Frag => "INNER_L4_FRAG",
        InnerL4Sctp => "INNER_L4_SCTP",
        InnerL4Icmp => "INNER_L4_ICMP",
        InnerL4NonFrag => "INNER_L4_NONFRAG",
        _ => s_layers[shift / 4] + "_UNKNOWN",
    };

    private static readonly string[] s_layers = ["L2", "L3", "L4", "TUNNEL", "INNER_L2", "INNER_L3", "INNER_L4"];
}
