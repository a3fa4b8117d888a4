using System.Runtime.InteropServices;

namespace Dataplane.Pmd;

/// <summary>
/// A receive descriptor: advanced one-buffer of the 82576, extended of the 82574. They differ only in where the
/// packet's type is. Little-endian.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct RxDescriptor
{
    /// <summary>To the device: where the packet goes.</summary>
    [FieldOffset(0)] internal ulong Address;

    /// <summary>To the device: 0; its lowest bit becomes Done.</summary>
    [FieldOffset(8)] internal ulong Clear;

    /// <summary>From the device: RSS type in bits 3:0, hash in bits 63:32.</summary>
    [FieldOffset(0)] internal ulong Info;

    /// <summary>From the device: status and errors in bits 31:0, bytes in 47:32, VLAN tag in 63:48. All of it is
    /// written at once, after Info.</summary>
    [FieldOffset(8)] internal ulong Status;

    internal const uint Done = 1 << 0, EndOfPacket = 1 << 1, IgnoreChecksum = 1 << 2, Vlan = 1 << 3,
        UdpChecked = 1 << 4, L4Checked = 1 << 5, IpChecked = 1 << 6, Stamped = 1 << 16,
        L4Error = 1 << 29, IpError = 1 << 30;

    /// <summary>Bits 6:2 and 30:29 of the status, all that flags are made of.</summary>
    internal const int FlagIndexes = 128;

    /// <summary>Place of a status in a table of <see cref="FlagIndexes"/>.</summary>
    internal static uint FlagIndex(uint status) => (status >> 2 & 0x1f) | (status >> 24 & 0x60);
}

/// <summary>
/// A transmit descriptor: advanced of the 82576, legacy (82574 7.2.10.1) and extended of the 82574. Length in bits 15:0
/// of the command, and these bits are the same in all.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct TxDescriptor
{
    /// <summary>Where the data is, or the first half of a context.</summary>
    [FieldOffset(0)] internal ulong Address;

    /// <summary>Command, and above it High.</summary>
    [FieldOffset(8)] internal ulong Command;

    /// <summary>To the device: lengths, offloads, tag. From the device: status.</summary>
    [FieldOffset(12)] internal uint High;

    internal const uint EndOfPacket = 1 << 24, InsertCrc = 1 << 25, ReportStatus = 1 << 27, Extended = 1 << 29,
        InsertVlan = 1 << 30;

    /// <summary>In High, from the device.</summary>
    internal const uint Done = 1;
}

/// <summary>How a device's receive descriptors say what a packet is.</summary>
internal interface IRxFormat
{
    /// <summary>Entries of the table of packet types.</summary>
    static abstract int Types { get; }

    /// <summary>Place in the table.</summary>
    static abstract uint TypeIndex(ulong info, ulong status);

    /// <summary>Value of <see cref="PacketType"/> at a place.</summary>
    static abstract uint TypeAt(uint index);
}

/// <summary>A packet with offloads, as a device's descriptors say it.</summary>
internal struct TxRequest
{
    /// <summary>Command of every data descriptor, without length, EOP and RS.</summary>
    internal uint Command;

    /// <summary>High of every data descriptor.</summary>
    internal uint High;

    /// <summary>The context descriptor that goes before.</summary>
    internal ulong ContextLow, ContextHigh;

    /// <summary>There is one.</summary>
    internal bool HasContext;
}

/// <summary>How a device's transmit descriptors are made.</summary>
internal unsafe interface ITxFormat
{
    /// <summary>Command of a packet that asks for nothing, without length and RS.</summary>
    static abstract uint PlainCommand { get; }

    /// <summary>High of such a packet.</summary>
    static abstract uint PlainHigh(uint packetBytes);

    /// <summary>Most bytes of one descriptor.</summary>
    static abstract uint MaxBytes { get; }

    /// <summary>A context stays in force until the next one, also for packets that are cut up.</summary>
    static abstract bool KeepsContext { get; }

    /// <summary>Translates a packet's flags. Header lengths are checked.</summary>
    static abstract TxRequest Describe(MbufHeader* packet);
}
