using System.Runtime.CompilerServices;
using Dataplane.Net;

namespace Dataplane.Apps.Forward;

/// <summary>
/// <c>csum</c>: checks IPv4, TCP and UDP checksums in software and writes them anew. A packet that came with a wrong
/// one is counted, and sent on with it. Looks at what lies in the first segment; the rest passes as it is.
/// </summary>
internal readonly struct CsumMode : ITransform
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Process(Span<Mbuf> packets, ref StreamCounters counters)
    {
        foreach (Mbuf packet in packets)
            if (!Renew(packet.Data))
                counters.BadChecksum++;
        return packets.Length;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool Renew(Span<byte> data)
    {
        var cursor = new HeaderCursor(data);
        if (!cursor.TryRead(out HeaderRef<EtherHeader> ether))
            return true;
        ushort type = ether.Value.EtherType;
        for (int tags = 0; tags < 2 && type is EtherTypes.Vlan or EtherTypes.QinQ; tags++)
        {
            if (!cursor.TryRead(out HeaderRef<VlanHeader> vlan))
                return true;
            type = vlan.Value.EtherType;
        }
        return type switch
        {
            EtherTypes.IPv4 => RenewIPv4(ref cursor),
            EtherTypes.IPv6 => RenewIPv6(ref cursor),
            _ => true,
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool RenewIPv4(ref HeaderCursor cursor)
    {
        Span<byte> packet = cursor.Rest;
        if (!cursor.TryRead(out HeaderRef<IPv4Header> ip) || ip.Value.HeaderLength < IPv4Header.Size
            || ip.Value.TotalLength > packet.Length || ip.Value.TotalLength < ip.Value.HeaderLength)
            return true;
        Span<byte> header = packet[..ip.Value.HeaderLength];
        if (!Checksum.VerifyIPv4(header))
            return false;
        ip.Value.Checksum = default;
        ip.Value.Checksum = Checksum.IPv4(header);
        Span<byte> l4 = packet[ip.Value.HeaderLength..ip.Value.TotalLength.Value];
        if (ip.Value.IsFragment || !HasChecksum(ip.Value.Protocol, l4))
            return true;
        if (!Checksum.VerifyUdpTcp(ip.Value, l4))
            return false;
        ref Be16 field = ref Field(ip.Value.Protocol, l4);
        field = default;
        field = Checksum.UdpTcp(ip.Value, l4);
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool RenewIPv6(ref HeaderCursor cursor)
    {
        if (!cursor.TryRead(out HeaderRef<IPv6Header> ip) || ip.Value.PayloadLength > cursor.Rest.Length)
            return true;
        Span<byte> l4 = cursor.Rest[..ip.Value.PayloadLength.Value];
        if (!HasChecksum(ip.Value.NextHeader, l4))
            return true;
        if (!Checksum.VerifyUdpTcp(ip.Value, ip.Value.NextHeader, l4))
            return false;
        ref Be16 field = ref Field(ip.Value.NextHeader, l4);
        field = default;
        field = Checksum.UdpTcp(ip.Value, ip.Value.NextHeader, l4);
        return true;
    }

    /// <summary>UDP over IPv4 may leave its checksum 0, for none (RFC 768); that stays as it is.</summary>
    private static bool HasChecksum(byte protocol, Span<byte> l4) => protocol switch
    {
        IPProtocols.Tcp => l4.Length >= TcpHeader.Size,
        IPProtocols.Udp => l4.Length >= UdpHeader.Size && Field(protocol, l4) != 0,
        _ => false,
    };

    private static ref Be16 Field(byte protocol, Span<byte> l4) =>
        ref protocol == IPProtocols.Tcp ? ref l4.HeaderAt<TcpHeader>().Checksum : ref l4.HeaderAt<UdpHeader>().Checksum;
}
