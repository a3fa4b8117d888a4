using System.Numerics;
using Dataplane.Native;
using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>
/// Between the kernel's offload headers and mbuf flags. A packet the kernel left unfinished (checksum to be filled in,
/// superframe to be cut) is marked with the transmit flags that ask for what is missing, so it can be sent on as it is
/// by any port that has those offloads. Data path.
/// </summary>
internal static unsafe class VnetOffload
{
    /// <summary>Flags that make a packet need more than being copied.</summary>
    internal const MbufFlags Requests = MbufFlags.TxOffloadMask & ~(MbufFlags.TxIpv4 | MbufFlags.TxIpv6);

    /// <summary>Requests the kernel can fulfil.</summary>
    internal const MbufFlags Possible =
        MbufFlags.TxVlan | MbufFlags.TxIpChecksum | MbufFlags.TxL4ChecksumMask | Segmentation;

    /// <summary>Requests to cut a superframe.</summary>
    internal const MbufFlags Segmentation = MbufFlags.TxTcpSegment | MbufFlags.TxUdpSegment;

    private const int TcpChecksumOffset = 16, UdpChecksumOffset = 6, SctpChecksumOffset = 8;

    /// <summary>Fills an offload header from a packet's flags, and seeds the checksums the kernel is to
    /// finish.</summary>
    /// <param name="vnet">Zeroed but for hdr_len.</param>
    /// <param name="frame">The frame's first bytes, contiguous, as they will be sent; written to.</param>
    /// <param name="available">How many.</param>
    /// <param name="length">Bytes in the whole frame.</param>
    /// <param name="mbuf">Gives flags and header lengths.</param>
    /// <param name="tagBytes">Bytes put in before the IP header that l2_len does not count.</param>
    /// <returns>False where flags and packet do not fit together.</returns>
    internal static bool TryRequest(virtio_net_hdr* vnet, byte* frame, int available, int length, MbufHeader* mbuf,
        int tagBytes)
    {
        MbufFlags flags = mbuf->OlFlags;
        var packet = new Mbuf(mbuf);
        int l3 = packet.TxL2Length + tagBytes, l4 = l3 + packet.TxL3Length;
        bool v4 = (flags & MbufFlags.TxIpv4) != 0, cut = (flags & Segmentation) != 0;
        if (l4 > available || packet.TxL3Length < (v4 ? IPv4Header.Size : IPv6Header.Size))
            return false;
        if (v4 && (cut || (flags & MbufFlags.TxIpChecksum) != 0))
            ((IPv4Header*)(frame + l3))->Checksum = Checksum.IPv4(new ReadOnlySpan<byte>(frame + l3, l4 - l3));
        bool tcp = (flags & MbufFlags.TxTcpSegment) != 0
            || (flags & MbufFlags.TxL4ChecksumMask) == MbufFlags.TxTcpChecksum;
        bool udp = (flags & MbufFlags.TxUdpSegment) != 0
            || (flags & MbufFlags.TxL4ChecksumMask) == MbufFlags.TxUdpChecksum;
        if (!tcp && !udp)
            return (flags & MbufFlags.TxL4ChecksumMask) == 0;
        int offset = tcp ? TcpChecksumOffset : UdpChecksumOffset;
        if (tcp == udp || l4 + offset + 2 > available)
            return false;
        vnet->flags = VirtioNet.VIRTIO_NET_HDR_F_NEEDS_CSUM;
        vnet->csum_start = (ushort)l4;
        vnet->csum_offset = (ushort)offset;
        int l4Bytes = cut ? length - l4 : L4Bytes(frame + l3, v4, l4 - l3);
        *(ushort*)(frame + l4 + offset) = v4
            ? Checksum.PseudoHeader(in *(IPv4Header*)(frame + l3), l4Bytes)
            : Checksum.PseudoHeader(in *(IPv6Header*)(frame + l3), tcp ? IPProtocols.Tcp : IPProtocols.Udp, l4Bytes);
        return !cut || TryRequestCut(vnet, frame, available, l4, packet, v4, tcp);
    }

    /// <summary>Marks a received packet with what the kernel left to be done.</summary>
    /// <param name="vnet">With NEEDS_CSUM set, for TCP or UDP.</param>
    /// <param name="frame">The frame's first bytes.</param>
    /// <param name="mbuf">Gets flags and header lengths.</param>
    /// <param name="l2">Bytes of Ethernet header without tags, 0 where frames are IP packets.</param>
    /// <returns>False where it cannot be said in flags, e.g. where the checksum is of a packet in a tunnel.</returns>
    internal static bool TryMark(virtio_net_hdr* vnet, byte* frame, MbufHeader* mbuf, int l2 = IfPacket.ETH_HLEN)
    {
        bool v4 = frame[0] >> 4 == 4;
        int l3 = l2 == 0 ? 0 : L3Offset(frame, out v4), l4 = vnet->csum_start;
        bool tcp = vnet->csum_offset == TcpChecksumOffset, cut = vnet->gso_type != VirtioNet.VIRTIO_NET_HDR_GSO_NONE;
        if (l4 - l3 is < IPv4Header.Size or > 511 || (!tcp && vnet->csum_offset != UdpChecksumOffset)
            || !IsPlain(frame + l3, l4 - l3, v4, tcp))
            return false;
        int l4Header = tcp ? ((TcpHeader*)(frame + l4))->HeaderLength : UdpHeader.Size;
        new Mbuf(mbuf).SetTxOffload(l3, l4 - l3, l4Header, cut ? vnet->gso_size : 0);
        mbuf->OlFlags |= MbufFlags.RxL4ChecksumNone | (v4 ? MbufFlags.TxIpv4 : MbufFlags.TxIpv6)
            | (tcp ? MbufFlags.TxTcpChecksum : MbufFlags.TxUdpChecksum);
        if (cut)
            mbuf->OlFlags |= MbufFlags.RxLro | (tcp ? MbufFlags.TxTcpSegment : MbufFlags.TxUdpSegment)
                | (v4 ? MbufFlags.TxIpChecksum : MbufFlags.None);
        return true;
    }

    /// <summary>Marks a packet by a header whose flags or gso_type are set. As with the kernel's drivers: open
    /// checksums are left open where the application takes superframes too, and finished here where it
    /// does not.</summary>
    /// <param name="vnet">The header: a copy, that nobody else changes.</param>
    /// <param name="packet">The packet, its length set.</param>
    /// <param name="whole">Superframes are taken.</param>
    /// <returns>False where the packet cannot be taken.</returns>
    internal static bool TryReceive(virtio_net_hdr vnet, MbufHeader* packet, bool whole)
    {
        byte* frame = packet->BufAddr + packet->DataOff;
        bool cut = vnet.gso_type != VirtioNet.VIRTIO_NET_HDR_GSO_NONE;
        if ((vnet.flags & VirtioNet.VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0)
        {
            bool inside = vnet.csum_start + vnet.csum_offset + 2 <= packet->DataLen;
            if (whole && inside && TryMark(&vnet, frame, packet))
                return true;
            if (cut || packet->Next != null || !TryComplete(&vnet, frame, packet->DataLen))
                return false;
            packet->OlFlags |= MbufFlags.RxL4ChecksumGood;
            return true;
        }
        if ((vnet.flags & VirtioNet.VIRTIO_NET_HDR_F_DATA_VALID) != 0)
            packet->OlFlags |= MbufFlags.RxL4ChecksumGood;
        if (!cut)
            return true;
        if (!whole)
            return false;
        packet->OlFlags |= MbufFlags.RxLro;
        new Mbuf(packet).SetTxOffload(0, 0, 0, vnet.gso_size);
        return true;
    }

    /// <summary>Finishes the checksum of a frame of which the kernel made only the pseudo-header's part.</summary>
    /// <returns>False when the place is outside the frame.</returns>
    internal static bool TryComplete(virtio_net_hdr* vnet, byte* frame, int length)
    {
        int start = vnet->csum_start, fieldBytes = vnet->csum_offset == SctpChecksumOffset ? 4 : 2;
        if (start + vnet->csum_offset + fieldBytes > length)
            return false;
        byte* field = frame + start + vnet->csum_offset;
        var covered = new ReadOnlySpan<byte>(frame + start, length - start);
        if (vnet->csum_offset == SctpChecksumOffset)
        {
            *(uint*)field = 0;
            *(uint*)field = Crc32C(covered);   // RFC 9260 §6.8: stored as it is
            return true;
        }
        ushort sum = (ushort)~Checksum.Raw(covered);
        *(ushort*)field = sum == 0 && vnet->csum_offset == UdpChecksumOffset ? (ushort)0xffff : sum;
        return true;
    }

    /// <summary>Where the IP header starts, behind any VLAN tags.</summary>
    internal static int L3Offset(byte* frame, out bool v4)
    {
        int at = IfPacket.ETH_HLEN;
        ushort type = Type(frame + at - 2);
        while (type is IfPacket.ETH_P_8021Q or IfPacket.ETH_P_8021AD && at <= IfPacket.ETH_HLEN + IfPacket.VLAN_HLEN)
        {
            at += IfPacket.VLAN_HLEN;
            type = Type(frame + at - 2);
        }
        v4 = type == IfPacket.ETH_P_IP;
        return at;
    }

    /// <summary>What is behind an IP header of that many bytes is TCP or UDP of the same packet, not of one in a
    /// tunnel.</summary>
    internal static bool IsPlain(byte* ip, int l3Bytes, bool v4, bool tcp)
    {
        byte protocol = tcp ? IPProtocols.Tcp : IPProtocols.Udp;
        if (v4)
            return ((IPv4Header*)ip)->HeaderLength == l3Bytes && ((IPv4Header*)ip)->Protocol == protocol;
        if (l3Bytes < IPv6Header.Size || ((IPv6Header*)ip)->Version != 6)
            return false;
        byte next = ((IPv6Header*)ip)->NextHeader;
        var between = new ReadOnlySpan<byte>(ip + IPv6Header.Size, l3Bytes - IPv6Header.Size);
        return IPv6Extensions.TryWalk(between, ref next, out int bytes, out _) && bytes == between.Length
            && next == protocol;
    }

    /// <summary>The frame carries a VLAN tag.</summary>
    internal static bool IsTagged(byte* frame) => Type(frame + 12) is IfPacket.ETH_P_8021Q or IfPacket.ETH_P_8021AD;

    private static ushort Type(byte* at) => (ushort)(at[0] << 8 | at[1]);

    private static int L4Bytes(byte* ip, bool v4, int l3Bytes) => v4
        ? ((IPv4Header*)ip)->TotalLength - l3Bytes
        : ((IPv6Header*)ip)->PayloadLength - (l3Bytes - IPv6Header.Size);

    private static bool TryRequestCut(virtio_net_hdr* vnet, byte* frame, int available, int l4, Mbuf packet, bool v4,
        bool tcp)
    {
        int headers = l4 + packet.TxL4Length;
        if (packet.TxSegmentSize == 0 || headers > available
            || packet.TxL4Length < (tcp ? TcpHeader.Size : UdpHeader.Size))
            return false;
        vnet->gso_type = !tcp ? VirtioNet.VIRTIO_NET_HDR_GSO_UDP_L4
            : v4 ? VirtioNet.VIRTIO_NET_HDR_GSO_TCPV4 : VirtioNet.VIRTIO_NET_HDR_GSO_TCPV6;
        if (tcp && (((TcpHeader*)(frame + l4))->Flags & TcpFlags.Cwr) != 0)
            vnet->gso_type |= VirtioNet.VIRTIO_NET_HDR_GSO_ECN;
        vnet->hdr_len = (ushort)headers;
        vnet->gso_size = (ushort)packet.TxSegmentSize;
        return true;
    }

    private static uint Crc32C(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        foreach (byte b in data)
            crc = BitOperations.Crc32C(crc, b);
        return ~crc;
    }
}
