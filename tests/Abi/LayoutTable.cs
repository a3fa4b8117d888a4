namespace Dataplane.Tests;

/// <summary>
/// Which C struct each of ours must equal. To add one: a line. Fields are matched by name; where ours has another,
/// <c>Ours=c_name</c>, and <c>Ours=-</c> where C has no such field (an overlay of ours).
/// </summary>
internal static class LayoutTable
{
    private const string N = "Dataplane.Native.", Net = "Dataplane.Net.";
    private const string Libc = "libc6-dev", Uapi = "linux-libc-dev", Dpdk = "libdpdk-dev",
        NewUapi = "-t bookworm-backports linux-libc-dev";

    /// <summary>A row: our struct, the C headers and struct, names that differ, and the package with the
    /// headers. A macro tells headers that are too old.</summary>
    public sealed record Row(string Struct, string Headers, string CType, string Renames, string Package,
        string? PkgConfig = null, string? Macro = null);

    public static IReadOnlyList<Row> Rows { get; } =
    [
        // libc and kernel, names verbatim
        new(N + "Clock+timespec", "time.h", "struct timespec", "", Libc),
        new(N + "Statfs+statfs_t", "sys/vfs.h", "struct statfs", "", Libc),
        new(N + "Timerfd+itimerspec", "time.h", "struct itimerspec", "", Libc),
        new(N + "epoll_event", "sys/epoll.h", "struct epoll_event", "", Libc),
        new(N + "iovec", "sys/uio.h", "struct iovec", "", Libc),
        new(N + "ucred", "sys/socket.h", "struct ucred", "", Libc),
        new(N + "sockaddr_un", "sys/un.h", "struct sockaddr_un", "", Libc),
        new(N + "msghdr", "sys/socket.h", "struct msghdr", "", Libc),
        new(N + "ifreq", "net/if.h", "struct ifreq",
            "ifr_ifindex=ifr_ifru.ifru_ivalue ifr_mtu=ifr_ifru.ifru_mtu ifr_flags=ifr_ifru.ifru_flags "
            + "ifr_hwaddr_family=ifr_ifru.ifru_hwaddr.sa_family ifr_hwaddr_data=ifr_ifru.ifru_hwaddr.sa_data", Libc),
        new(N + "sock_filter", "linux/filter.h", "struct sock_filter", "", Uapi),
        new(N + "sock_fprog", "linux/filter.h", "struct sock_fprog", "", Uapi),
        new(N + "bpf_program", "pcap/pcap.h", "struct bpf_program", "", "libpcap0.8-dev"),
        new(N + "sockaddr_ll", "linux/if_packet.h", "struct sockaddr_ll", "", Uapi),
        new(N + "tpacket_auxdata", "linux/if_packet.h", "struct tpacket_auxdata", "", Uapi),
        new(N + "tpacket_stats_v3", "linux/if_packet.h", "struct tpacket_stats_v3", "", Uapi),
        new(N + "tpacket2_hdr", "linux/if_packet.h", "struct tpacket2_hdr", "", Uapi),
        new(N + "tpacket3_hdr", "linux/if_packet.h", "struct tpacket3_hdr",
            "tp_rxhash=hv1.tp_rxhash tp_vlan_tci=hv1.tp_vlan_tci tp_vlan_tpid=hv1.tp_vlan_tpid", Uapi),
        new(N + "tpacket_block_desc", "linux/if_packet.h", "struct tpacket_block_desc",
            "block_status=hdr.bh1.block_status num_pkts=hdr.bh1.num_pkts "
            + "offset_to_first_pkt=hdr.bh1.offset_to_first_pkt blk_len=hdr.bh1.blk_len seq_num=hdr.bh1.seq_num "
            + "ts_first_pkt=hdr.bh1.ts_first_pkt ts_last_pkt=hdr.bh1.ts_last_pkt", Uapi),
        new(N + "tpacket_req", "linux/if_packet.h", "struct tpacket_req", "", Uapi),
        new(N + "tpacket_req3", "linux/if_packet.h", "struct tpacket_req3", "", Uapi),
        new(N + "packet_mreq", "linux/if_packet.h", "struct packet_mreq", "", Uapi),
        new(N + "sockaddr_xdp", "linux/if_xdp.h", "struct sockaddr_xdp", "", Uapi),
        new(N + "xdp_ring_offset", "linux/if_xdp.h", "struct xdp_ring_offset", "", Uapi),
        new(N + "xdp_mmap_offsets", "linux/if_xdp.h", "struct xdp_mmap_offsets", "", Uapi),
        new(N + "xdp_umem_reg", "linux/if_xdp.h", "struct xdp_umem_reg", "", Uapi),
        new(N + "xdp_statistics", "linux/if_xdp.h", "struct xdp_statistics", "", Uapi),
        new(N + "xdp_desc", "linux/if_xdp.h", "struct xdp_desc", "", Uapi),
        new(N + "bpf_insn", "linux/bpf.h", "struct bpf_insn", "registers=-", Uapi),
        new(N + "bpf_attr", "linux/bpf.h", "union bpf_attr",
            "link_prog_fd=link_create.prog_fd link_target_ifindex=link_create.target_ifindex "
            + "link_attach_type=link_create.attach_type link_flags=link_create.flags info_bpf_fd=info.bpf_fd "
            + "info_len=info.info_len info=info.info", Uapi),
        new(N + "bpf_map_info", "linux/bpf.h", "struct bpf_map_info", "", Uapi),
        new(N + "bpf_prog_info", "linux/bpf.h", "struct bpf_prog_info", "", Uapi),
        .. ((string[])
        [
            "vfio_info_cap_header", "vfio_group_status", "vfio_device_info", "vfio_region_info",
            "vfio_region_sparse_mmap_area", "vfio_region_info_cap_sparse_mmap", "vfio_irq_info", "vfio_irq_set",
            "vfio_pci_dependent_device", "vfio_pci_hot_reset_info", "vfio_pci_hot_reset", "vfio_device_feature",
            "vfio_iommu_type1_info", "vfio_iova_range", "vfio_iommu_type1_info_cap_iova_range",
            "vfio_iommu_type1_info_cap_migration", "vfio_iommu_type1_info_dma_avail", "vfio_iommu_type1_dma_map",
            "vfio_iommu_type1_dma_unmap",
        ]).Select(name => new Row(N + name, "linux/vfio.h", $"struct {name}", "", Uapi)),
        new(N + "Netlink+sockaddr_nl", "linux/netlink.h", "struct sockaddr_nl", "", Uapi),
        new(N + "virtio_net_hdr", "linux/virtio_net.h", "struct virtio_net_hdr", "", Uapi),
        new(N + "virtio_net_hdr_v1_hash", "linux/virtio_net.h", "struct virtio_net_hdr_v1_hash",
            "hdr=- num_buffers=hdr.num_buffers", Uapi),
        new("Dataplane.Pmd.vhost_vring_state", "linux/vhost_types.h", "struct vhost_vring_state", "", Uapi),
        new("Dataplane.Pmd.vhost_vring_addr", "linux/vhost_types.h", "struct vhost_vring_addr", "", Uapi),
        new(N + "virtio_net_config", "linux/virtio_net.h", "struct virtio_net_config", "", Uapi),
        new(N + "virtio_pci_cap", "linux/virtio_pci.h", "struct virtio_pci_cap", "", Uapi),
        new(N + "vring_desc", "linux/virtio_ring.h", "struct vring_desc", "", Uapi),
        new(N + "vring_used_elem", "linux/virtio_ring.h", "struct vring_used_elem", "", Uapi),
        new(N + "vring_packed_desc", "linux/virtio_ring.h", "struct vring_packed_desc", "", Uapi),
        new(N + "vring_packed_desc_event", "linux/virtio_ring.h", "struct vring_packed_desc_event", "", Uapi),

        // protocol headers, against libc's and the kernel's, and DPDK's where those have none
        new(Net + "EtherAddr", "net/ethernet.h", "struct ether_addr", "_high=- _low=-", Libc),
        new(Net + "EtherHeader", "net/ethernet.h", "struct ether_header",
            "Destination=ether_dhost Source=ether_shost EtherType=ether_type _first8=- _next4=-", Libc),
        new(Net + "ArpHeader", "netinet/if_ether.h", "struct ether_arp",
            "HardwareType=ea_hdr.ar_hrd ProtocolType=ea_hdr.ar_pro HardwareLength=ea_hdr.ar_hln "
            + "ProtocolLength=ea_hdr.ar_pln Operation=ea_hdr.ar_op SenderHardware=arp_sha SenderProtocol=arp_spa "
            + "TargetHardware=arp_tha TargetProtocol=arp_tpa", Libc),
        new(Net + "IPv4Address", "netinet/in.h", "struct in_addr", "_bits=s_addr", Libc),
        new(Net + "IPv6Address", "netinet/in.h", "struct in6_addr", "_rawHigh=- _rawLow=-", Libc),
        new(Net + "IPv4Header", "linux/ip.h", "struct iphdr",
            "VersionIhl=- TypeOfService=tos TotalLength=tot_len Identification=id FragmentField=frag_off "
            + "TimeToLive=ttl Protocol=protocol Checksum=check Source=saddr Destination=daddr", Uapi),
        new(Net + "IPv6Header", "netinet/ip6.h", "struct ip6_hdr",
            "VersionClassFlow=ip6_ctlun.ip6_un1.ip6_un1_flow PayloadLength=ip6_ctlun.ip6_un1.ip6_un1_plen "
            + "NextHeader=ip6_ctlun.ip6_un1.ip6_un1_nxt HopLimit=ip6_ctlun.ip6_un1.ip6_un1_hlim "
            + "Source=ip6_src Destination=ip6_dst", Libc),
        new(Net + "IPv6ExtensionHeader", "netinet/ip6.h", "struct ip6_frag",
            "NextHeader=ip6f_nxt Length=ip6f_reserved FragmentField=ip6f_offlg Identification=ip6f_ident", Libc),
        new(Net + "TcpHeader", "netinet/tcp.h", "struct tcphdr",
            "SourcePort=th_sport DestinationPort=th_dport Sequence=th_seq Acknowledgment=th_ack DataOffset=- "
            + "Flags=th_flags Window=th_win Checksum=th_sum UrgentPointer=th_urp", Libc),
        new(Net + "UdpHeader", "netinet/udp.h", "struct udphdr",
            "SourcePort=uh_sport DestinationPort=uh_dport Length=uh_ulen Checksum=uh_sum", Libc),
        new(Net + "IcmpHeader", "netinet/ip_icmp.h", "struct icmphdr",
            "Type=type Code=code Checksum=checksum Identifier=un.echo.id Sequence=un.echo.sequence", Libc),
        new(Net + "MplsHeader", "linux/mpls.h", "struct mpls_label", "Entry=entry", Uapi),
        new(Net + "GreHeader", "rte_gre.h", "struct rte_gre_hdr", "FlagsVersion=- Protocol=proto", Dpdk, "libdpdk"),
        new(Net + "VlanHeader", "rte_ether.h", "struct rte_vlan_hdr",
            "Tci=vlan_tci EtherType=eth_proto", Dpdk, "libdpdk"),
        new(Net + "SctpHeader", "rte_sctp.h", "struct rte_sctp_hdr",
            "SourcePort=src_port DestinationPort=dst_port Tag=tag Checksum=cksum", Dpdk, "libdpdk"),
        new(Net + "VxlanHeader", "rte_vxlan.h", "struct rte_vxlan_hdr", "Flags=- VniField=vx_vni", Dpdk, "libdpdk"),
        new(Net + "GeneveHeader", "rte_geneve.h", "struct rte_geneve_hdr",
            "VersionLength=- Flags=- Protocol=proto VniField=-", Dpdk, "libdpdk"),
        new("Dataplane.MbufHeader", "rte_mbuf.h", "struct rte_mbuf",
            "BufAddr=buf_addr BufIova=buf_iova RearmData=- DataOff=data_off RefCnt=refcnt NbSegs=nb_segs Port=port "
            + "OlFlags=ol_flags PacketType=packet_type PktLen=pkt_len DataLen=data_len VlanTci=vlan_tci "
            + "RssHash=hash.rss HashHigh=hash.fdir.hi VlanTciOuter=vlan_tci_outer BufLen=buf_len Pool=pool Next=next "
            + "TxOffload=tx_offload SharedInfo=shinfo PrivSize=priv_size Timesync=timesync DynField=dynfield1",
            Dpdk, "libdpdk"),
    ];

    /// <summary>
    /// Structs that headers newer than Debian 12's have. Their layout is written down in own-layouts.txt too, so that
    /// it is checked where there is no such header.
    /// </summary>
    public static IReadOnlyList<Row> Newer { get; } =
    [
        .. ((string[])
        [
            "iommu_destroy", "iommu_ioas_alloc", "iommu_iova_range", "iommu_ioas_iova_ranges",
            "iommu_ioas_allow_iovas", "iommu_ioas_map", "iommu_ioas_copy", "iommu_ioas_unmap", "iommu_option",
            "iommu_hwpt_alloc", "iommu_hw_info_vtd", "iommu_hwpt_set_dirty_tracking", "iommu_hwpt_get_dirty_bitmap",
            "iommu_fault_alloc", "iommu_hwpt_pgfault", "iommu_hwpt_page_response",
        ]).Select(name => new Row(N + name, "linux/iommufd.h", $"struct {name}", "", NewUapi,
            Macro: "IOMMU_FAULT_QUEUE_ALLOC")),
        new(N + "iommu_hw_info", "linux/iommufd.h", "struct iommu_hw_info", "out_max_pasid_log2=-", NewUapi,
            Macro: "IOMMU_FAULT_QUEUE_ALLOC"),
        .. ((string[])["vfio_device_attach_iommufd_pt", "vfio_device_detach_iommufd_pt"])
            .Select(name => new Row(N + name, "linux/vfio.h", $"struct {name}", "", NewUapi,
                Macro: "VFIO_DEVICE_BIND_IOMMUFD")),
    ];

    /// <summary>
    /// Structs that are ours alone: full name, bytes, and every field as name@offset:bytes, a line each in
    /// own-layouts.txt. They are memory that processes share, so a change there is a change of the format.
    /// </summary>
    public static IReadOnlyDictionary<string, string> Own { get; } =
        File.ReadLines(Path.Combine(AppContext.BaseDirectory, "own-layouts.txt"))
            .Where(line => line.Length > 0 && line[0] != '#')
            .ToDictionary(line => line.Split(' ')[0], line => line);
}
