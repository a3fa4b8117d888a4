namespace Dataplane.Pmd;

/// <summary>Which of the two file formats.</summary>
internal enum PcapFormat
{
    /// <summary>draft-ietf-opsawg-pcap.</summary>
    Pcap,
    /// <summary>draft-ietf-opsawg-pcapng.</summary>
    PcapNg,
}

/// <summary>Numbers of both formats. draft-ietf-opsawg-pcap §4, §5; draft-ietf-opsawg-pcapng §3, §4.</summary>
internal static class PcapWire
{
    /// <summary>Magic numbers of pcap, by the unit of its stamps.</summary>
    internal const uint MagicMicroseconds = 0xa1b2_c3d4, MagicNanoseconds = 0xa1b2_3c4d;

    /// <summary>Bytes before the first record, and before a record's data.</summary>
    internal const int FileHeaderBytes = 24, RecordHeaderBytes = 16;

    /// <summary>The version of pcap.</summary>
    internal const ushort Major = 2, Minor = 4;

    /// <summary>LINKTYPE_ETHERNET.</summary>
    internal const ushort Ethernet = 1;

    /// <summary>Types of blocks. A section header's reads the same in both byte orders.</summary>
    internal const uint SectionHeader = 0x0a0d_0d0a, InterfaceDescription = 1, ObsoletePacket = 2, SimplePacket = 3,
        InterfaceStatistics = 5, EnhancedPacket = 6;

    /// <summary>Tells the byte order of a section.</summary>
    internal const uint ByteOrderMagic = 0x1a2b_3c4d;

    /// <summary>Options of a section.</summary>
    internal const ushort SectionHardware = 2, SectionSystem = 3, SectionApplication = 4;

    /// <summary>Options of an interface.</summary>
    internal const ushort EndOfOptions = 0, InterfaceName = 2, InterfaceText = 3, InterfaceMac = 6, InterfaceSpeed = 8,
        TimestampResolution = 9, InterfaceFilter = 11, TimestampOffset = 14;

    /// <summary>Options of an enhanced packet.</summary>
    internal const ushort PacketFlags = 2, PacketDropCount = 4, PacketQueue = 6;

    /// <summary>Options of interface statistics.</summary>
    internal const ushort StatisticsStart = 2, StatisticsEnd = 3, StatisticsReceived = 4, StatisticsAccepted = 6,
        StatisticsDropped = 7, StatisticsDelivered = 8;

    /// <summary>Bytes of a block without content.</summary>
    internal const int EmptyBlockBytes = 12;

    /// <summary>Bytes of an enhanced packet block before the data, and after it with its padding.</summary>
    internal const int EnhancedHeaderBytes = 28, BlockTrailerBytes = 4;

    /// <summary>Most bytes captured of one packet, as libpcap and Wireshark have it for Ethernet.</summary>
    internal const int MaxCaptureBytes = 262_144;

    /// <summary>Most interfaces of one section. The format has no limit; memory for them is taken beforehand.</summary>
    internal const int MaxInterfaces = 1024;
}
