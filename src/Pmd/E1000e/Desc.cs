using System.Runtime.CompilerServices;

namespace Dataplane.Pmd;

/// <summary>Packet types of the 82574L's extended receive descriptor: bits 19:16 of the status. TCP and UDP are told
/// apart by which checksum was checked.</summary>
internal readonly struct E1000eRxFormat : IRxFormat
{
    private const uint L4Checked = 0x20, UdpChecked = 0x10;

    /// <inheritdoc/>
    public static int Types => 64;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint TypeIndex(ulong info, ulong status) =>
        ((uint)status >> 16 & 0xf) | ((uint)status & (L4Checked | UdpChecked));

    /// <inheritdoc/>
    public static uint TypeAt(uint index)
    {
        uint l4 = (index & UdpChecked) != 0 ? PacketType.L4Udp : (index & L4Checked) != 0 ? PacketType.L4Tcp : 0;
        return PacketType.L2Ether | (index & 0xf) switch
        {
            1 => PacketType.L3Ipv4ExtUnknown,
            2 => PacketType.L3Ipv4ExtUnknown | l4,
            5 => PacketType.L3Ipv6ExtUnknown,
            6 => PacketType.L3Ipv6ExtUnknown | l4,
            _ => 0,
        };
    }
}

/// <summary>The 82574L's transmit descriptors: legacy (7.2.10.1) where nothing or a tag is to be inserted, else a
/// context and extended data.</summary>
internal readonly unsafe struct E1000eTxFormat : ITxFormat
{
    private const uint DataType = 1 << 20, Segment = 1 << 26;
    private const uint ContextTcp = 1 << 24, ContextIPv4 = 1 << 25, ContextSegment = 1 << 26;
    private const uint InsertIPChecksum = 1 << 8, InsertL4Checksum = 1 << 9;
    private const int TagShift = 16, OffsetShift = 8, EndShift = 16, HeaderShift = 8, SegmentSizeShift = 16;
    private const int IPChecksumOffset = 10, TcpChecksumOffset = 16, UdpChecksumOffset = 6;

    /// <inheritdoc/>
    public static uint PlainCommand => TxDescriptor.InsertCrc;

    /// <inheritdoc/>
    public static uint MaxBytes => 8192;

    /// <inheritdoc/>
    public static bool KeepsContext => false;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint PlainHigh(uint packetBytes) => 0;

    /// <inheritdoc/>
    public static TxRequest Describe(MbufHeader* packet)
    {
        MbufFlags flags = packet->OlFlags;
        var request = new TxRequest { Command = PlainCommand };
        if ((flags & MbufFlags.TxVlan) != 0)
        {
            request.Command |= TxDescriptor.InsertVlan;
            request.High = (uint)packet->VlanTci << TagShift;
        }
        if ((flags & (MbufFlags.TxL4ChecksumMask | MbufFlags.TxIpChecksum | MbufFlags.TxTcpSegment)) != 0)
            AddContext(packet, flags, ref request);
        return request;
    }

    private static void AddContext(MbufHeader* packet, MbufFlags flags, ref TxRequest request)
    {
        var mbuf = new Mbuf(packet);
        bool segment = (flags & MbufFlags.TxTcpSegment) != 0, ipv4 = (flags & MbufFlags.TxIpv4) != 0;
        bool tcp = segment || (flags & MbufFlags.TxL4ChecksumMask) == MbufFlags.TxTcpChecksum;
        int l3 = mbuf.TxL2Length, l4 = l3 + mbuf.TxL3Length;
        uint ip = (uint)(l3 | (l3 + IPChecksumOffset) << OffsetShift) | (uint)(l4 - 1) << EndShift;
        uint transport = (uint)(l4 | (l4 + (tcp ? TcpChecksumOffset : UdpChecksumOffset)) << OffsetShift); // to the end
        uint command = TxDescriptor.Extended | (ipv4 ? ContextIPv4 : 0) | (tcp ? ContextTcp : 0), sizes = 0;
        request.Command |= TxDescriptor.Extended | DataType;
        if ((flags & MbufFlags.TxIpChecksum) != 0 || segment && ipv4)
            request.High |= InsertIPChecksum;
        if (segment || (flags & MbufFlags.TxL4ChecksumMask) != 0)
            request.High |= InsertL4Checksum;
        if (segment)
        {
            int headers = l4 + mbuf.TxL4Length;
            request.Command |= Segment;
            command |= ContextSegment | (packet->PktLen - (uint)headers);
            sizes = (uint)(headers << HeaderShift | mbuf.TxSegmentSize << SegmentSizeShift);
        }
        request.ContextLow = ip | (ulong)transport << 32;
        request.ContextHigh = command | (ulong)sizes << 32;
        request.HasContext = true;
    }
}
