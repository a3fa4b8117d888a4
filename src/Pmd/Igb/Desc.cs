using System.Runtime.CompilerServices;

namespace Dataplane.Pmd;

/// <summary>Packet types of the 82576's advanced receive descriptor: bits 10:4 of its first word are L3 and L4, bit 15
/// is set where an EtherType filter matched.</summary>
internal readonly struct IgbRxFormat : IRxFormat
{
    private const uint IPv4 = 1, IPv4Options = 2, IPv6 = 4, IPv6Extensions = 8, Tcp = 0x10, Udp = 0x20, Sctp = 0x40,
        Filtered = 0x80;

    /// <inheritdoc/>
    public static int Types => 256;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint TypeIndex(ulong info, ulong status) => ((uint)info >> 4 & 0x7f) | ((uint)info >> 8 & 0x80);

    /// <inheritdoc/>
    public static uint TypeAt(uint index)
    {
        if ((index & Filtered) != 0)
            return PacketType.L2EtherTimesync; // the only filter the driver sets
        uint type = PacketType.L2Ether;
        if ((index & IPv4) != 0)
            type |= (index & IPv4Options) != 0 ? PacketType.L3Ipv4Ext : PacketType.L3Ipv4;
        else if ((index & IPv6) != 0)
            type |= (index & IPv6Extensions) != 0 ? PacketType.L3Ipv6Ext : PacketType.L3Ipv6;
        return type | ((index & Tcp) != 0 ? PacketType.L4Tcp : (index & Udp) != 0 ? PacketType.L4Udp
            : (index & Sctp) != 0 ? PacketType.L4Sctp : 0);
    }
}

/// <summary>The 82576's advanced transmit descriptors: context and data.</summary>
internal readonly unsafe struct IgbTxFormat : ITxFormat
{
    private const uint ContextType = 2 << 20, DataType = 3 << 20, Segment = 1u << 31;
    private const int PayloadShift = 14, MacLengthShift = 9, TagShift = 16, L4LengthShift = 8, SegmentSizeShift = 16;
    private const uint ContextIPv4 = 1 << 10, ContextTcp = 1 << 11;
    private const uint InsertIPChecksum = 1 << 8, InsertL4Checksum = 1 << 9;

    /// <inheritdoc/>
    public static uint PlainCommand => DataType | TxDescriptor.Extended | TxDescriptor.InsertCrc;

    /// <inheritdoc/>
    public static uint MaxBytes => 16384;

    /// <inheritdoc/>
    public static bool KeepsContext => true;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint PlainHigh(uint packetBytes) => packetBytes << PayloadShift;

    /// <inheritdoc/>
    public static TxRequest Describe(MbufHeader* packet)
    {
        MbufFlags flags = packet->OlFlags, l4 = flags & MbufFlags.TxL4ChecksumMask;
        var mbuf = new Mbuf(packet);
        bool segment = (flags & MbufFlags.TxTcpSegment) != 0, ipv4 = (flags & MbufFlags.TxIpv4) != 0;
        uint command = PlainCommand, payload = packet->PktLen, ask = 0;
        uint type = ContextType | TxDescriptor.Extended | (ipv4 ? ContextIPv4 : 0);
        uint lengths = 0, sizes = 0;
        if ((flags & (MbufFlags.TxL4ChecksumMask | MbufFlags.TxIpChecksum | MbufFlags.TxTcpSegment)) != 0)
            lengths = (uint)(mbuf.TxL3Length | mbuf.TxL2Length << MacLengthShift);
        if ((flags & MbufFlags.TxIpChecksum) != 0)
            ask |= InsertIPChecksum;
        if (segment)
        {
            command |= Segment;
            payload -= (uint)(mbuf.TxL2Length + mbuf.TxL3Length + mbuf.TxL4Length);
            sizes = (uint)(mbuf.TxL4Length << L4LengthShift | mbuf.TxSegmentSize << SegmentSizeShift);
            ask |= InsertL4Checksum | (ipv4 ? InsertIPChecksum : 0);
            type |= ContextTcp;
        }
        else if (l4 != 0)
        {
            ask |= InsertL4Checksum;
            type |= l4 == MbufFlags.TxTcpChecksum ? ContextTcp : 0;
        }
        if ((flags & MbufFlags.TxVlan) != 0)
        {
            command |= TxDescriptor.InsertVlan;
            lengths |= (uint)packet->VlanTci << TagShift;
        }
        return new TxRequest
        {
            Command = command,
            High = ask | payload << PayloadShift,
            ContextLow = lengths,
            ContextHigh = type | (ulong)sizes << 32,
            HasContext = true,
        };
    }
}
