using System.Runtime.CompilerServices;

namespace Dataplane;

public readonly unsafe partial struct Mbuf
{
    // MbufHeader.TxOffload from bit 0 up: widths 7, 9, 8, 16, 9, 7.
    private const int L3Shift = 7, L4Shift = 16, SegmentShift = 24, OuterL3Shift = 40, OuterL2Shift = 49;

    /// <summary>All header lengths for transmit offloads at once; the whole word is written.</summary>
    /// <param name="l2">Bytes up to the IP header, 0 to 127; in a tunnel: from the outer L4 header on.</param>
    /// <param name="l3">Bytes of the IP header, 0 to 511.</param>
    /// <param name="l4">Bytes of the L4 header, 0 to 255.</param>
    /// <param name="segmentSize">Payload bytes per segment (MSS) for segmentation, 0 to 65,535.</param>
    /// <param name="outerL2">Bytes up to the outer IP header, 0 to 127.</param>
    /// <param name="outerL3">Bytes of the outer IP header, 0 to 511.</param>
    /// <remarks>A value out of range loses its high bits.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void SetTxOffload(int l2, int l3, int l4 = 0, int segmentSize = 0, int outerL2 = 0, int outerL3 = 0) =>
        Header->TxOffload = ((ulong)l2 & 0x7f) | (((ulong)l3 & 0x1ff) << L3Shift) | (((ulong)l4 & 0xff) << L4Shift)
            | (((ulong)segmentSize & 0xffff) << SegmentShift) | (((ulong)outerL3 & 0x1ff) << OuterL3Shift)
            | (((ulong)outerL2 & 0x7f) << OuterL2Shift);

    /// <summary>Bytes up to the IP header; in a tunnel: from the outer L4 header on.</summary>
    public int TxL2Length => (int)(Header->TxOffload & 0x7f);

    /// <summary>Bytes of the IP header.</summary>
    public int TxL3Length => (int)(Header->TxOffload >> L3Shift & 0x1ff);

    /// <summary>Bytes of the L4 header.</summary>
    public int TxL4Length => (int)(Header->TxOffload >> L4Shift & 0xff);

    /// <summary>Payload bytes per segment (MSS).</summary>
    public int TxSegmentSize => (int)(Header->TxOffload >> SegmentShift & 0xffff);

    /// <summary>Bytes of the outer IP header.</summary>
    public int TxOuterL3Length => (int)(Header->TxOffload >> OuterL3Shift & 0x1ff);

    /// <summary>Bytes up to the outer IP header.</summary>
    public int TxOuterL2Length => (int)(Header->TxOffload >> OuterL2Shift & 0x7f);

    /// <summary>Checks that the transmit flags and lengths of a packet make sense together.</summary>
    /// <returns>What is wrong, or null.</returns>
    public string? ValidateTxOffload()
    {
        MbufFlags flags = Header->OlFlags;
        if ((flags & MbufFlags.TxOffloadMask) == 0)
            return null;
        MbufFlags version = flags & (MbufFlags.TxIpv4 | MbufFlags.TxIpv6);
        MbufFlags l4 = flags & MbufFlags.TxL4ChecksumMask;
        bool tso = (flags & MbufFlags.TxTcpSegment) != 0;
        if (version == (MbufFlags.TxIpv4 | MbufFlags.TxIpv6))
            return "TX_IPV4 and TX_IPV6 are both set";
        if ((flags & MbufFlags.TxIpChecksum) != 0 && version != MbufFlags.TxIpv4)
            return "TX_IP_CKSUM needs TX_IPV4";
        if ((l4 != 0 || tso) && version == 0)
            return "an L4 offload needs TX_IPV4 or TX_IPV6";
        if (tso && TxSegmentSize == 0)
            return "TX_TCP_SEG needs a segment size";
        if (tso && version == MbufFlags.TxIpv4 && (flags & MbufFlags.TxIpChecksum) == 0)
            return "TX_TCP_SEG of IPv4 needs TX_IP_CKSUM";
        if ((flags & MbufFlags.TxOuterIpChecksum) != 0 && (flags & MbufFlags.TxOuterIpv4) == 0)
            return "TX_OUTER_IP_CKSUM needs TX_OUTER_IPV4";
        int headers = TxL2Length + TxL3Length + TxL4Length + TxOuterL2Length + TxOuterL3Length;
        return (l4 != 0 || tso || (flags & MbufFlags.TxIpChecksum) != 0) && headers > Header->DataLen
            ? "the headers are longer than the first segment" : null;
    }
}
