namespace Dataplane.Net;

/// <summary>
/// Makes a packet ready for a device that fills checksums, or fills them in its place. What to fill is in
/// <see cref="Mbuf.Flags"/> and the lengths of <see cref="Mbuf.SetTxOffload"/>. Owner of the packet; nothing allocated.
/// </summary>
public static class ChecksumOffload
{
    /// <summary>
    /// Puts what devices want to find into the checksum fields: 0 in IPv4 headers, the pseudo-header's sum in TCP
    /// and UDP
    /// (without the length when the packet is to be cut into segments). Inner and outer headers. Does nothing to a
    /// packet
    /// that asks for no checksum.
    /// </summary>
    /// <param name="packet">First segment; headers must lie in it, and not be shared with a clone.</param>
    /// <returns>False when the headers are longer than the first segment; nothing is changed then.</returns>
    public static bool TryPrepare(Mbuf packet)
    {
        MbufFlags flags = packet.Flags;
        if ((flags & MbufFlags.TxOffloadMask) == 0)
            return true;
        Span<byte> data = packet.Data;
        int outer = (flags & (MbufFlags.TxOuterIpv4 | MbufFlags.TxOuterIpv6)) == 0
            ? 0 : packet.TxOuterL2Length + packet.TxOuterL3Length;
        int l3 = outer + packet.TxL2Length, l4 = l3 + packet.TxL3Length;
        bool segments = (flags & (MbufFlags.TxTcpSegment | MbufFlags.TxUdpSegment)) != 0;
        int field = L4FieldOffset(flags);
        if (field >= 0 && !HasIPHeader(flags, packet.TxL3Length) || l4 + (field < 0 ? 0 : field + 2) > data.Length
            || (flags & MbufFlags.TxIpChecksum) != 0 && packet.TxL3Length < IPv4Header.Size)
            return false;
        if (outer != 0 && !TryPrepareOuter(data, packet, flags))
            return false;
        if ((flags & MbufFlags.TxIpChecksum) != 0)
            data.HeaderAt<IPv4Header>(l3).Checksum = 0;
        if (field >= 0)
            data.HeaderAt<Be16>(l4 + field) = Be16.FromRaw(Seed(data, flags, l3, packet.TxL3Length, segments));
        return true;
    }

    /// <summary>
    /// Fills the checksums the flags ask for in software, over all segments, and takes those flags away: for a device
    /// that cannot. Inner headers only; packets to be cut into segments are refused.
    /// </summary>
    /// <param name="packet">First segment; headers must lie in it, and not be shared with a clone.</param>
    /// <returns>False when headers and lengths do not fit the packet, or it asks for what this cannot do (SCTP,
    /// segmentation, outer checksums); the packet must then not be sent.</returns>
    public static bool TryComplete(Mbuf packet)
    {
        const MbufFlags Never = MbufFlags.TxTcpSegment | MbufFlags.TxUdpSegment | MbufFlags.TxOuterIpChecksum
            | MbufFlags.TxOuterUdpChecksum;
        MbufFlags flags = packet.Flags, l4Flag = flags & MbufFlags.TxL4ChecksumMask;
        if ((flags & Never) != 0 || l4Flag == MbufFlags.TxSctpChecksum || !TryPrepare(packet))
            return false;
        Span<byte> data = packet.Data;
        int outer = (flags & (MbufFlags.TxOuterIpv4 | MbufFlags.TxOuterIpv6)) == 0
            ? 0 : packet.TxOuterL2Length + packet.TxOuterL3Length;
        int l3 = outer + packet.TxL2Length, l4 = l3 + packet.TxL3Length;
        if (l4Flag != 0)
        {
            int bytes = L4Bytes(data, flags, l3, packet.TxL3Length);
            if (!Checksum.TryRaw(packet, l4, bytes, out ushort sum))
                return false;
            bool zero = sum == 0xffff && l4Flag == MbufFlags.TxUdpChecksum;
            data.HeaderAt<Be16>(l4 + L4FieldOffset(flags)) = zero ? Be16.FromRaw(0xffff) : Checksum.Finish(sum);
        }
        if ((flags & MbufFlags.TxIpChecksum) != 0)
            data.HeaderAt<IPv4Header>(l3).Checksum = Checksum.IPv4(data.Slice(l3, packet.TxL3Length));
        packet.Flags &= ~(MbufFlags.TxL4ChecksumMask | MbufFlags.TxIpChecksum);
        return true;
    }

    /// <summary>Where the checksum lies in the transport header, or -1 when none of these is to be filled.</summary>
    private static int L4FieldOffset(MbufFlags flags) => (flags & MbufFlags.TxL4ChecksumMask) switch
    {
        _ when (flags & MbufFlags.TxTcpSegment) != 0 => 16,
        _ when (flags & MbufFlags.TxUdpSegment) != 0 => 6,
        MbufFlags.TxTcpChecksum => 16,
        MbufFlags.TxUdpChecksum => 6,
        _ => -1,
    };

    private static bool HasIPHeader(MbufFlags flags, int l3Bytes) =>
        l3Bytes >= ((flags & MbufFlags.TxIpv6) != 0 ? IPv6Header.Size : IPv4Header.Size);

    private static int L4Bytes(ReadOnlySpan<byte> data, MbufFlags flags, int l3, int l3Bytes) =>
        (flags & MbufFlags.TxIpv6) != 0
            ? data.HeaderAt<IPv6Header>(l3).PayloadLength.Value - (l3Bytes - IPv6Header.Size)
            : data.HeaderAt<IPv4Header>(l3).TotalLength.Value - l3Bytes;

    private static ushort Seed(ReadOnlySpan<byte> data, MbufFlags flags, int l3, int l3Bytes, bool segments)
    {
        int bytes = segments ? 0 : L4Bytes(data, flags, l3, l3Bytes);
        if ((flags & MbufFlags.TxIpv6) == 0)
            return Checksum.PseudoHeader(in data.HeaderAt<IPv4Header>(l3), bytes);
        bool udp = L4FieldOffset(flags) == 6;
        return Checksum.PseudoHeader(in data.HeaderAt<IPv6Header>(l3), udp ? IPProtocols.Udp : IPProtocols.Tcp, bytes);
    }

    private static bool TryPrepareOuter(Span<byte> data, Mbuf packet, MbufFlags flags)
    {
        int l3 = packet.TxOuterL2Length, l3Bytes = packet.TxOuterL3Length;
        bool isIPv6 = (flags & MbufFlags.TxOuterIpv6) != 0, udp = (flags & MbufFlags.TxOuterUdpChecksum) != 0;
        int least = isIPv6 ? IPv6Header.Size : IPv4Header.Size;
        if (l3Bytes < least || data.Length < l3 + l3Bytes + (udp ? UdpHeader.Size : 0))
            return false;
        if ((flags & MbufFlags.TxOuterIpChecksum) != 0 && !isIPv6)
            data.HeaderAt<IPv4Header>(l3).Checksum = 0;
        if (udp)
        {
            MbufFlags version = isIPv6 ? MbufFlags.TxIpv6 : MbufFlags.TxIpv4;
            data.HeaderAt<UdpHeader>(l3 + l3Bytes).Checksum =
                Be16.FromRaw(Seed(data, version | MbufFlags.TxUdpChecksum, l3, l3Bytes, segments: false));
        }
        return true;
    }
}
