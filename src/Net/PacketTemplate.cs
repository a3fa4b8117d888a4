namespace Dataplane.Net;

/// <summary>
/// A ready UDP frame that generators stamp into packets: correct lengths and checksums, and as many flows of it as
/// wanted at the price of one incremental checksum each. Make it on the control path; copying is for the data path:
/// any thread, nothing allocated, nothing thrown when the frame fits.
/// </summary>
/// <example><code>
/// var template = PacketTemplate.Udp4(from, to, IPv4Address.Parse("198.18.0.1"), IPv4Address.Parse("198.18.0.2"),
///     1024, 9, frameBytes: 60);
/// if (mbuf.Append(template.Length) != null)
///     template.CopyTo(mbuf.Data, flow: i % 64);
/// </code></example>
public sealed class PacketTemplate
{
    private readonly byte[] _frame;
    private readonly int _l3, _l4;
    private readonly bool _isIPv6;

    private PacketTemplate(int frameBytes, int l2Bytes, bool isIPv6)
    {
        _isIPv6 = isIPv6;
        _l3 = l2Bytes;
        _l4 = l2Bytes + (isIPv6 ? IPv6Header.Size : IPv4Header.Size);
        if (frameBytes < HeaderBytes || frameBytes - _l3 > ushort.MaxValue)
            throw new ArgumentOutOfRangeException(nameof(frameBytes), frameBytes,
                $"the headers take {HeaderBytes} bytes and the IP packet can have 65535");
        _frame = new byte[frameBytes];
    }

    /// <summary>Bytes of the frame, check sequence not counted: 60 is the "64-byte" frame of benchmarks.</summary>
    public int Length => _frame.Length;

    /// <summary>Bytes before the UDP payload.</summary>
    public int HeaderBytes => _l4 + UdpHeader.Size;

    /// <summary>The frame.</summary>
    public ReadOnlySpan<byte> Frame => _frame;

    /// <summary>A UDP frame over IPv4, payload all zero, checksums right.</summary>
    /// <param name="source">Sender's Ethernet address.</param>
    /// <param name="destination">Receiver's Ethernet address.</param>
    /// <param name="sourceAddress">Sender's address.</param>
    /// <param name="destinationAddress">Receiver's address.</param>
    /// <param name="sourcePort">Sender's port.</param>
    /// <param name="destinationPort">Receiver's port.</param>
    /// <param name="frameBytes">Bytes of the frame without its check sequence, headers (42, tagged 46) and up.</param>
    /// <param name="vlanTci">Tag control information of an 802.1Q tag, or null for none.</param>
    /// <param name="udpChecksum">False leaves the UDP checksum 0, none made, so payloads may change freely.</param>
    /// <exception cref="ArgumentOutOfRangeException">The headers do not fit, or the IP packet would pass 65,535 bytes.
    /// </exception>
    public static PacketTemplate Udp4(MacAddress source, MacAddress destination, IPv4Address sourceAddress,
        IPv4Address destinationAddress, ushort sourcePort, ushort destinationPort, int frameBytes,
        ushort? vlanTci = null, bool udpChecksum = true)
    {
        var template = new PacketTemplate(frameBytes, L2Bytes(vlanTci), isIPv6: false);
        template.WriteL2(source, destination, vlanTci, EtherTypes.IPv4);
        Span<byte> frame = template._frame;
        ref IPv4Header ip = ref frame.HeaderAt<IPv4Header>(template._l3);
        ip.VersionIhl = IPv4Header.VersionIhlPlain;
        ip.TotalLength = (ushort)(frameBytes - template._l3);
        ip.TimeToLive = 64;
        ip.Protocol = IPProtocols.Udp;
        ip.Source = sourceAddress;
        ip.Destination = destinationAddress;
        ip.Checksum = Checksum.IPv4(in ip);
        template.WriteUdp(sourcePort, destinationPort);
        if (udpChecksum)
            frame.HeaderAt<UdpHeader>(template._l4).Checksum = Checksum.UdpTcp(in ip, frame[template._l4..]);
        return template;
    }

    /// <summary>A UDP frame over IPv6, payload all zero, checksum right (IPv6 has no UDP without one).</summary>
    /// <inheritdoc cref="Udp4"/>
    /// <param name="source"></param>
    /// <param name="destination"></param>
    /// <param name="sourceAddress"></param>
    /// <param name="destinationAddress"></param>
    /// <param name="sourcePort"></param>
    /// <param name="destinationPort"></param>
    /// <param name="frameBytes">Bytes of the frame without its check sequence, headers (62, tagged 66) and up.</param>
    /// <param name="vlanTci"></param>
    public static PacketTemplate Udp6(MacAddress source, MacAddress destination, IPv6Address sourceAddress,
        IPv6Address destinationAddress, ushort sourcePort, ushort destinationPort, int frameBytes,
        ushort? vlanTci = null)
    {
        var template = new PacketTemplate(frameBytes, L2Bytes(vlanTci), isIPv6: true);
        template.WriteL2(source, destination, vlanTci, EtherTypes.IPv6);
        Span<byte> frame = template._frame;
        ref IPv6Header ip = ref frame.HeaderAt<IPv6Header>(template._l3);
        ip.VersionClassFlow = 6u << 28;
        ip.PayloadLength = (ushort)(frameBytes - template._l4);
        ip.NextHeader = IPProtocols.Udp;
        ip.HopLimit = 64;
        ip.Source = sourceAddress;
        ip.Destination = destinationAddress;
        template.WriteUdp(sourcePort, destinationPort);
        Span<byte> l4 = frame[template._l4..];
        l4.HeaderAt<UdpHeader>().Checksum = Checksum.UdpTcp(in ip, IPProtocols.Udp, l4);
        return template;
    }

    /// <summary>Gives the frame another payload and mends its checksum. Control path.</summary>
    /// <param name="payload">As many bytes as the frame has behind its headers, or fewer: the rest stays.</param>
    /// <exception cref="ArgumentException">It is too long.</exception>
    public void SetPayload(ReadOnlySpan<byte> payload)
    {
        Span<byte> room = _frame.AsSpan(HeaderBytes);
        if (payload.Length > room.Length)
            throw new ArgumentException($"{payload.Length} bytes in a payload of {room.Length}", nameof(payload));
        ref UdpHeader udp = ref _frame.AsSpan().HeaderAt<UdpHeader>(_l4);
        Be16 mended = Checksum.Update(udp.Checksum, room[..payload.Length], payload);
        udp.Checksum = udp.Checksum == 0 ? (ushort)0 : mended == 0 ? (ushort)0xffff : mended;
        payload.CopyTo(room);
    }

    /// <summary>Writes the frame.</summary>
    /// <param name="packet">At least <see cref="Length"/> bytes.</param>
    public void CopyTo(Span<byte> packet) => _frame.CopyTo(packet);

    /// <summary>Writes the frame as one of many flows: its source address is the template's plus a number.</summary>
    /// <param name="packet">At least <see cref="Length"/> bytes.</param>
    /// <param name="flow">0 is the template itself.</param>
    public void CopyTo(Span<byte> packet, int flow)
    {
        _frame.CopyTo(packet);
        SetFlow(packet, flow);
    }

    /// <summary>Writes the headers only, as flow <paramref name="flow"/>, over a buffer that has the payload already
    /// (or when the template has no UDP checksum).</summary>
    /// <param name="packet">At least <see cref="HeaderBytes"/> bytes.</param>
    /// <param name="flow">0 is the template itself.</param>
    public void CopyHeadersTo(Span<byte> packet, int flow = 0)
    {
        _frame.AsSpan(0, HeaderBytes).CopyTo(packet);
        SetFlow(packet, flow);
    }

    private void SetFlow(Span<byte> packet, int flow)
    {
        if (flow == 0)
            return;
        ref UdpHeader udp = ref packet.HeaderAt<UdpHeader>(_l4);
        Be32 before, after;
        if (_isIPv6)
        {
            // Only the last 32 bits change, so only they enter the checksum.
            ref Be32 low = ref packet.HeaderAt<Be32>(_l3 + 8 + 12);
            before = low;
            low = after = before.Value + (uint)flow;
        }
        else
        {
            ref IPv4Header ip = ref packet.HeaderAt<IPv4Header>(_l3);
            before = Be32.FromRaw(ip.Source.Raw);
            after = before.Value + (uint)flow;
            ip.Source = new IPv4Address(after.Value);
            ip.Checksum = Checksum.Update(ip.Checksum, before, after);
        }
        if (udp.Checksum.Raw == 0)
            return;
        Be16 checksum = Checksum.Update(udp.Checksum, before, after);
        udp.Checksum = checksum.Raw == 0 ? Be16.FromRaw(0xffff) : checksum;
    }

    private static int L2Bytes(ushort? vlanTci) => EtherHeader.Size + (vlanTci.HasValue ? VlanHeader.Size : 0);

    private void WriteL2(MacAddress source, MacAddress destination, ushort? vlanTci, ushort etherType)
    {
        Span<byte> frame = _frame;
        ref EtherHeader ether = ref frame.HeaderAt<EtherHeader>();
        ether.Destination = destination;
        ether.Source = source;
        ether.EtherType = vlanTci.HasValue ? EtherTypes.Vlan : etherType;
        if (vlanTci.HasValue)
            frame.HeaderAt<VlanHeader>(EtherHeader.Size) = new() { Tci = vlanTci.Value, EtherType = etherType };
    }

    private void WriteUdp(ushort sourcePort, ushort destinationPort)
    {
        ref UdpHeader udp = ref _frame.AsSpan().HeaderAt<UdpHeader>(_l4);
        udp.SourcePort = sourcePort;
        udp.DestinationPort = destinationPort;
        udp.Length = (ushort)(_frame.Length - _l4);
    }
}
