namespace Dataplane.Net;

/// <summary>
/// Tells what a packet is, layer by layer, in the values of <see cref="PacketType"/>. A layer is named only when its
/// header is there whole and makes sense; nothing outside the bytes given is read. Any thread; never allocates or
/// throws.
/// </summary>
public static class PacketParser
{
    /// <summary>Labels walked over at most.</summary>
    private const int MaxLabels = 8;

    /// <summary>Stands for a transport that could not be reached; reserved by IANA, so no packet means it.</summary>
    private const byte CutOff = 255;

    /// <summary>Parses a frame that starts with its Ethernet header.</summary>
    /// <param name="frame">The frame, or as much of its start as is known.</param>
    /// <param name="lengths">Bytes of each layer named.</param>
    /// <returns>A value of <see cref="PacketType"/>, one name per layer.</returns>
    public static uint Parse(ReadOnlySpan<byte> frame, out HeaderLengths lengths)
    {
        lengths = default;
        uint type = ParseL2(frame, out int l2, out ushort etherType);
        lengths.L2 = l2;
        uint l3Type = ParseL3(frame[l2..], etherType, out int l3, out byte protocol);
        if (l3Type == 0)
            return type;
        lengths.L3 = l3;
        type |= l3Type & PacketType.L3Mask;
        ReadOnlySpan<byte> rest = frame[(l2 + l3)..];
        if ((l3Type & PacketType.L4Mask) != 0)
            return type | PacketType.L4Frag;
        uint l4Type = ParseL4(rest, protocol, out int l4);
        lengths.L4 = l4;
        return type | l4Type | ParseTunnel(rest, protocol, ref lengths);
    }

    /// <summary>Parses a packet; one whose headers may lie in several segments is gathered first.</summary>
    /// <param name="packet">First segment. Stays the caller's.</param>
    /// <param name="lengths">Bytes of each layer named.</param>
    /// <returns>A value of <see cref="PacketType"/>; the mbuf's own field is left alone.</returns>
    public static uint Parse(Mbuf packet, out HeaderLengths lengths)
    {
        if (packet.Next.IsNull)
            return Parse(packet.Data, out lengths);
        Span<byte> head = stackalloc byte[256];
        int have = 0;
        for (Mbuf segment = packet; !segment.IsNull && have < head.Length; segment = segment.Next)
        {
            int take = Math.Min(segment.DataLength, head.Length - have);
            segment.Data[..take].CopyTo(head[have..]);
            have += take;
        }
        return Parse(head[..have], out lengths);
    }

    private static uint ParseL2(ReadOnlySpan<byte> frame, out int bytes, out ushort etherType)
    {
        bytes = 0;
        etherType = 0;
        if (frame.Length < EtherHeader.Size)
            return PacketType.Unknown;
        etherType = frame.HeaderAt<EtherHeader>().EtherType;
        bytes = EtherHeader.Size;
        int tags = 0;
        while (tags < 2 && IsTag(etherType) && frame.Length - bytes >= VlanHeader.Size)
        {
            etherType = frame.HeaderAt<VlanHeader>(bytes).EtherType;
            bytes += VlanHeader.Size;
            tags++;
        }
        if (etherType is EtherTypes.Mpls or EtherTypes.MplsMulticast)
            return SkipLabels(frame, ref bytes, ref etherType) ? PacketType.L2EtherMpls : PacketType.L2Ether;
        return tags switch
        {
            1 => PacketType.L2EtherVlan,
            2 => PacketType.L2EtherQinq,
            _ => NameL2(etherType),
        };
    }

    private static bool IsTag(ushort etherType) =>
        etherType is EtherTypes.Vlan or EtherTypes.QinQ or EtherTypes.QinQLegacy;

    private static uint NameL2(ushort etherType) => etherType switch
    {
        EtherTypes.Arp => PacketType.L2EtherArp,
        EtherTypes.Timesync => PacketType.L2EtherTimesync,
        EtherTypes.Lldp => PacketType.L2EtherLldp,
        _ => PacketType.L2Ether,
    };

    private static bool SkipLabels(ReadOnlySpan<byte> frame, ref int bytes, ref ushort etherType)
    {
        int at = bytes;
        for (int labels = 0; labels < MaxLabels && frame.Length - at >= MplsHeader.Size; labels++)
        {
            bool bottom = frame.HeaderAt<MplsHeader>(at).IsBottom;
            at += MplsHeader.Size;
            if (!bottom)
                continue;
            // No field says what follows the last label; IP is told by its version, others must not look so (RFC
            // 4928 §3).
            etherType = at == frame.Length ? (ushort)0 : (frame[at] >> 4) switch
            {
                4 => EtherTypes.IPv4,
                6 => EtherTypes.IPv6,
                _ => (ushort)0,
            };
            bytes = at;
            return true;
        }
        return false;
    }

    /// <summary>Names an IP header; the L4 bits are set when it is a fragment's.</summary>
    private static uint ParseL3(ReadOnlySpan<byte> rest, ushort etherType, out int bytes, out byte protocol) =>
        etherType switch
        {
            EtherTypes.IPv4 => ParseIPv4(rest, out bytes, out protocol),
            EtherTypes.IPv6 => ParseIPv6(rest, out bytes, out protocol),
            _ => NoL3(out bytes, out protocol),
        };

    private static uint NoL3(out int bytes, out byte protocol)
    {
        bytes = 0;
        protocol = 0;
        return PacketType.Unknown;
    }

    private static uint ParseIPv4(ReadOnlySpan<byte> rest, out int bytes, out byte protocol)
    {
        if (rest.Length < IPv4Header.Size)
            return NoL3(out bytes, out protocol);
        ref readonly IPv4Header ip = ref rest.HeaderAt<IPv4Header>();
        bytes = ip.HeaderLength;
        protocol = ip.Protocol;
        if (ip.Version != 4 || bytes < IPv4Header.Size || bytes > rest.Length)
            return NoL3(out bytes, out protocol);
        uint type = bytes == IPv4Header.Size ? PacketType.L3Ipv4 : PacketType.L3Ipv4Ext;
        return ip.IsFragment ? type | PacketType.L4Frag : type;
    }

    private static uint ParseIPv6(ReadOnlySpan<byte> rest, out int bytes, out byte protocol)
    {
        if (rest.Length < IPv6Header.Size)
            return NoL3(out bytes, out protocol);
        ref readonly IPv6Header ip = ref rest.HeaderAt<IPv6Header>();
        if (ip.Version != 6)
            return NoL3(out bytes, out protocol);
        bytes = IPv6Header.Size;
        protocol = ip.NextHeader;
        if (!IPv6Extensions.IsExtension(protocol))
            return PacketType.L3Ipv6;
        bool whole = IPv6Extensions.TryWalk(rest[IPv6Header.Size..], ref protocol, out int extensions,
            out bool fragment);
        bytes += extensions;
        if (!whole)
            protocol = CutOff;
        return fragment ? PacketType.L3Ipv6Ext | PacketType.L4Frag : PacketType.L3Ipv6Ext;
    }

    private static uint ParseL4(ReadOnlySpan<byte> rest, byte protocol, out int bytes)
    {
        switch (protocol)
        {
            case IPProtocols.Udp:
                return Fixed(rest, UdpHeader.Size, PacketType.L4Udp, out bytes);
            case IPProtocols.Tcp:
                bytes = rest.Length >= TcpHeader.Size ? rest.HeaderAt<TcpHeader>().HeaderLength : 0;
                if (bytes >= TcpHeader.Size && bytes <= rest.Length)
                    return PacketType.L4Tcp;
                bytes = 0;
                return PacketType.Unknown;
            case IPProtocols.Icmp or IPProtocols.IcmpV6:
                return Fixed(rest, IcmpHeader.Size, PacketType.L4Icmp, out bytes);
            case IPProtocols.Sctp:
                return Fixed(rest, SctpHeader.Size, PacketType.L4Sctp, out bytes);
            case IPProtocols.Igmp:
                return Fixed(rest, 8, PacketType.L4Igmp, out bytes);
            case IPProtocols.Gre or IPProtocols.IPv4 or IPProtocols.IPv6 or CutOff:
                bytes = 0;
                return PacketType.Unknown;
            default:
                bytes = 0;
                return PacketType.L4NonFrag;
        }
    }

    private static uint Fixed(ReadOnlySpan<byte> rest, int size, uint type, out int bytes)
    {
        bytes = rest.Length >= size ? size : 0;
        return rest.Length >= size ? type : PacketType.Unknown;
    }

    /// <summary>Names a tunnel and what is inside; <paramref name="rest"/> starts behind the outer IP header.</summary>
    private static uint ParseTunnel(ReadOnlySpan<byte> rest, byte protocol, ref HeaderLengths lengths)
    {
        ushort etherType = EtherTypes.Ethernet;
        uint type = protocol switch
        {
            IPProtocols.Udp when lengths.L4 != 0 => ParseUdpTunnel(rest, ref lengths, ref etherType),
            IPProtocols.Gre => ParseGre(rest, ref lengths, ref etherType),
            IPProtocols.IPv4 => NameIpInIp(EtherTypes.IPv4, out etherType),
            IPProtocols.IPv6 => NameIpInIp(EtherTypes.IPv6, out etherType),
            _ => PacketType.Unknown,
        };
        return type == 0 ? 0 : type | ParseInner(rest[(lengths.L4 + lengths.Tunnel)..], etherType, ref lengths);
    }

    private static uint NameIpInIp(ushort inner, out ushort etherType)
    {
        etherType = inner;
        return PacketType.TunnelIp;
    }

    private static uint ParseUdpTunnel(ReadOnlySpan<byte> rest, ref HeaderLengths lengths, ref ushort etherType)
    {
        ushort port = rest.HeaderAt<UdpHeader>().DestinationPort;
        ReadOnlySpan<byte> tunnel = rest[UdpHeader.Size..];
        if (port == VxlanHeader.Port && tunnel.Length >= VxlanHeader.Size)
        {
            lengths.Tunnel = VxlanHeader.Size;
            return PacketType.TunnelVxlan;
        }
        if (port != GeneveHeader.Port || tunnel.Length < GeneveHeader.Size)
            return PacketType.Unknown;
        ref readonly GeneveHeader geneve = ref tunnel.HeaderAt<GeneveHeader>();
        if (geneve.Version != 0 || geneve.HeaderLength > tunnel.Length)
            return PacketType.Unknown;
        lengths.Tunnel = geneve.HeaderLength;
        etherType = geneve.Protocol;
        return PacketType.TunnelGeneve;
    }

    private static uint ParseGre(ReadOnlySpan<byte> rest, ref HeaderLengths lengths, ref ushort etherType)
    {
        if (rest.Length < GreHeader.Size)
            return PacketType.Unknown;
        ref readonly GreHeader gre = ref rest.HeaderAt<GreHeader>();
        if (gre.Version != 0 || gre.HasRouting || gre.HeaderLength > rest.Length)
            return PacketType.Unknown;
        lengths.Tunnel = gre.HeaderLength;
        etherType = gre.Protocol;
        return etherType == EtherTypes.Ethernet ? PacketType.TunnelNvgre : PacketType.TunnelGre;
    }

    private static uint ParseInner(ReadOnlySpan<byte> rest, ushort etherType, ref HeaderLengths lengths)
    {
        uint type = 0;
        if (etherType == EtherTypes.Ethernet)
        {
            type = NameInnerL2(ParseL2(rest, out int l2, out etherType));
            lengths.InnerL2 = l2;
            rest = rest[l2..];
        }
        uint l3Type = ParseL3(rest, etherType, out int l3, out byte protocol);
        if (l3Type == 0)
            return type;
        lengths.InnerL3 = l3;
        type |= NameInnerL3(l3Type);
        if ((l3Type & PacketType.L4Mask) != 0)
            return type | PacketType.InnerL4Frag;
        uint l4Type = ParseL4(rest[l3..], protocol, out int l4);
        lengths.InnerL4 = l4;
        // Inner layer 4 has the outer's numbers 16 bits up, but none for IGMP.
        return type | (l4Type == PacketType.L4Igmp ? PacketType.L4NonFrag : l4Type) << 16;
    }

    private static uint NameInnerL2(uint type) => type switch
    {
        PacketType.Unknown => PacketType.Unknown,
        PacketType.L2EtherVlan => PacketType.InnerL2EtherVlan,
        PacketType.L2EtherQinq => PacketType.InnerL2EtherQinq,
        _ => PacketType.InnerL2Ether,
    };

    private static uint NameInnerL3(uint type) => (type & PacketType.L3Mask) switch
    {
        PacketType.L3Ipv4 => PacketType.InnerL3Ipv4,
        PacketType.L3Ipv4Ext => PacketType.InnerL3Ipv4Ext,
        PacketType.L3Ipv6 => PacketType.InnerL3Ipv6,
        _ => PacketType.InnerL3Ipv6Ext,
    };
}
