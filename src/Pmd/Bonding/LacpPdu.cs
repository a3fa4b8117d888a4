using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>State bits of a LACP port. IEEE 802.1AX-2008 §5.4.2.2 m).</summary>
[Flags]
internal enum LacpState : byte
{
    None = 0,
    /// <summary>Sends unasked.</summary>
    Activity = 1 << 0,
    /// <summary>Wants a PDU each second, and gives up after 3; else 30 and 90.</summary>
    ShortTimeout = 1 << 1,
    /// <summary>May be one of several.</summary>
    Aggregation = 1 << 2,
    /// <summary>Is attached to the right aggregator.</summary>
    Synchronization = 1 << 3,
    /// <summary>Takes frames.</summary>
    Collecting = 1 << 4,
    /// <summary>Sends frames.</summary>
    Distributing = 1 << 5,
    /// <summary>Knows nothing of its partner.</summary>
    Defaulted = 1 << 6,
    /// <summary>Has not heard of its partner in time.</summary>
    Expired = 1 << 7,
}

/// <summary>One end of a link as LACP tells of it. Numbers in host order.</summary>
/// <param name="SystemPriority">Less is better.</param>
/// <param name="System">The system's address.</param>
/// <param name="Key">Ports of one key may be aggregated.</param>
/// <param name="PortPriority">Less is better.</param>
/// <param name="Port">The port's number.</param>
/// <param name="State">What it says of itself.</param>
internal readonly record struct LacpParty(ushort SystemPriority, MacAddress System, ushort Key, ushort PortPriority,
    ushort Port, LacpState State)
{
    /// <summary>Same port of the same system, the bits of <paramref name="mask"/> alike.</summary>
    internal bool Matches(in LacpParty other, LacpState mask) =>
        this with { State = State & mask } == other with { State = other.State & mask };
}

/// <summary>What a LACPDU says. IEEE 802.1AX-2008 §5.4.2.</summary>
/// <param name="Actor">Who sent it.</param>
/// <param name="Partner">What the sender knows of who receives it.</param>
internal readonly record struct LacpPdu(LacpParty Actor, LacpParty Partner)
{
    /// <summary>A frame's subtype, after its Ethernet header.</summary>
    internal const int SubtypeOffset = EtherHeader.Size;
    internal const byte LacpSubtype = 1, MarkerSubtype = 2;
    internal const ushort SlowEtherType = 0x8809;

    /// <summary>Bytes of a LACPDU or a marker.</summary>
    internal const int PayloadBytes = 110;

    /// <summary>Bytes of a frame with one, without its check sequence.</summary>
    internal const int FrameBytes = EtherHeader.Size + PayloadBytes;

    /// <summary>Where the slow protocols are sent to. IEEE 802.3 Annex 57A.</summary>
    internal static readonly MacAddress SlowAddress = new(0x0180_c200_0002);

    private const int ActorAt = 16, PartnerAt = 36, CollectorAt = 56, PartyBytes = 20, CollectorBytes = 16;
    private const byte Version = 1, ActorType = 1, PartnerType = 2, CollectorType = 3;
    private const byte MarkerInformation = 1, MarkerResponse = 2, MarkerBytes = 16;

    /// <summary>Reads a frame that begins with its Ethernet header.</summary>
    /// <returns>False when it is no LACPDU; one of a later version is read as far as version 1 goes.</returns>
    internal static bool TryParse(ReadOnlySpan<byte> frame, out LacpPdu pdu)
    {
        pdu = default;
        if (frame.Length < FrameBytes || frame[14] != LacpSubtype || frame[15] < Version
            || frame[ActorAt] != ActorType || frame[ActorAt + 1] != PartyBytes
            || frame[PartnerAt] != PartnerType || frame[PartnerAt + 1] != PartyBytes)
            return false;
        pdu = new LacpPdu(ReadParty(frame[ActorAt..]), ReadParty(frame[PartnerAt..]));
        return true;
    }

    /// <summary>Writes a frame.</summary>
    /// <param name="frame"><see cref="FrameBytes"/>, all of them.</param>
    /// <param name="source">The address of the port it leaves by.</param>
    internal void Write(Span<byte> frame, MacAddress source)
    {
        frame.Clear();
        WriteHeader(frame, source);
        frame[14] = LacpSubtype;
        frame[15] = Version;
        WriteParty(frame[ActorAt..], ActorType, Actor);
        WriteParty(frame[PartnerAt..], PartnerType, Partner);
        frame[CollectorAt] = CollectorType;
        frame[CollectorAt + 1] = CollectorBytes;
    }

    /// <summary>Makes the answer to a marker: what is behind it was sent before. §5.3.3, §5.5.</summary>
    /// <returns>False when the frame is no marker to be answered.</returns>
    internal static bool TryAnswerMarker(ReadOnlySpan<byte> frame, Span<byte> answer, MacAddress source)
    {
        if (frame.Length < FrameBytes || frame[14] != MarkerSubtype || frame[15] < Version
            || frame[ActorAt] != MarkerInformation || frame[ActorAt + 1] != MarkerBytes)
            return false;
        frame[..FrameBytes].CopyTo(answer);
        WriteHeader(answer, source);
        answer[ActorAt] = MarkerResponse;
        return true;
    }

    private static void WriteHeader(Span<byte> frame, MacAddress source)
    {
        SlowAddress.Write(frame);
        source.Write(frame[6..]);
        BinaryPrimitives.WriteUInt16BigEndian(frame[12..], SlowEtherType);
    }

    private static LacpParty ReadParty(ReadOnlySpan<byte> tlv) => new(
        BinaryPrimitives.ReadUInt16BigEndian(tlv[2..]), MacAddress.Read(tlv[4..]),
        BinaryPrimitives.ReadUInt16BigEndian(tlv[10..]), BinaryPrimitives.ReadUInt16BigEndian(tlv[12..]),
        BinaryPrimitives.ReadUInt16BigEndian(tlv[14..]), (LacpState)tlv[16]);

    private static void WriteParty(Span<byte> tlv, byte type, in LacpParty party)
    {
        tlv[0] = type;
        tlv[1] = PartyBytes;
        BinaryPrimitives.WriteUInt16BigEndian(tlv[2..], party.SystemPriority);
        party.System.Write(tlv[4..]);
        BinaryPrimitives.WriteUInt16BigEndian(tlv[10..], party.Key);
        BinaryPrimitives.WriteUInt16BigEndian(tlv[12..], party.PortPriority);
        BinaryPrimitives.WriteUInt16BigEndian(tlv[14..], party.Port);
        tlv[16] = (byte)party.State;
    }
}

/// <summary>A slow protocol's frame on its way from a polling thread to the control thread.</summary>
[StructLayout(LayoutKind.Explicit, Size = 128)]
internal unsafe struct SlowFrame
{
    /// <summary>Bytes of the frame that are here.</summary>
    [FieldOffset(0)] internal ushort Length;

    /// <summary>Its first bytes: a whole LACPDU or marker, without check sequence.</summary>
    [FieldOffset(4)] internal fixed byte Bytes[LacpPdu.FrameBytes];
}
