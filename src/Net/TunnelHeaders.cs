using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>VXLAN header, 8 bytes, behind UDP port 4789; an Ethernet frame follows. RFC 7348 §5.</summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct VxlanHeader
{
    /// <summary>Bytes of this header.</summary>
    public const int Size = 8;

    /// <summary>UDP destination port. IANA.</summary>
    public const ushort Port = 4789;

    /// <summary>In <see cref="Flags"/>: the network identifier counts.</summary>
    public const byte ValidVni = 8;

    /// <summary><see cref="ValidVni"/>; the others are reserved.</summary>
    [FieldOffset(0)] public byte Flags;

    /// <summary>Network identifier 24 bits, reserved 8 bits.</summary>
    [FieldOffset(4)] public Be32 VniField;

    /// <summary>VXLAN network identifier, 24 bits.</summary>
    public int Vni
    {
        readonly get => (int)(VniField.Value >> 8);
        set => VniField = (uint)value << 8;
    }
}

/// <summary>Geneve header without options, 8 bytes, behind UDP port 6081. RFC 8926 §3.4.</summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct GeneveHeader
{
    /// <summary>Bytes without options.</summary>
    public const int Size = 8;

    /// <summary>UDP destination port. IANA.</summary>
    public const ushort Port = 6081;

    /// <summary>Version 2 bits (0), options length 6 bits in 4 bytes.</summary>
    [FieldOffset(0)] public byte VersionLength;

    /// <summary>Control packet 1 bit, critical options present 1 bit, reserved.</summary>
    [FieldOffset(1)] public byte Flags;

    /// <summary>What follows (<see cref="EtherTypes"/>).</summary>
    [FieldOffset(2)] public Be16 Protocol;

    /// <summary>Network identifier 24 bits, reserved 8 bits.</summary>
    [FieldOffset(4)] public Be32 VniField;

    /// <summary>Bytes with options, 8 to 260.</summary>
    public readonly int HeaderLength => Size + (VersionLength & 0x3f) * 4;

    /// <summary>0 is the only version there is.</summary>
    public readonly int Version => VersionLength >> 6;
}

/// <summary>
/// GRE base header, 4 bytes; checksum (4 bytes), key (4) and sequence (4) follow in that order where its flags say so.
/// RFC 2784, RFC 2890.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct GreHeader
{
    /// <summary>Bytes without optional fields.</summary>
    public const int Size = 4;

    /// <summary>Checksum 1 bit, routing 1 (RFC 1701, obsolete), key 1, sequence 1, reserved 9, version 3.</summary>
    [FieldOffset(0)] public Be16 FlagsVersion;

    /// <summary>What follows (<see cref="EtherTypes"/>).</summary>
    [FieldOffset(2)] public Be16 Protocol;

    /// <summary>A checksum and a reserved field follow.</summary>
    public readonly bool HasChecksum => (FlagsVersion.Value & 0x8000) != 0;

    /// <summary>Source routing of RFC 1701 follows; no length can be told, so it is not walked over.</summary>
    public readonly bool HasRouting => (FlagsVersion.Value & 0x4000) != 0;

    /// <summary>A key follows.</summary>
    public readonly bool HasKey => (FlagsVersion.Value & 0x2000) != 0;

    /// <summary>A sequence number follows.</summary>
    public readonly bool HasSequence => (FlagsVersion.Value & 0x1000) != 0;

    /// <summary>0 for GRE, 1 for PPTP's.</summary>
    public readonly int Version => FlagsVersion.Value & 7;

    /// <summary>Bytes with the optional fields, 4 to 16.</summary>
    public readonly int HeaderLength =>
        Size + (HasChecksum ? 4 : 0) + (HasKey ? 4 : 0) + (HasSequence ? 4 : 0);
}

/// <summary>One MPLS label stack entry, 4 bytes. RFC 3032 §2.1, RFC 5462.</summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct MplsHeader
{
    /// <summary>Bytes of one entry.</summary>
    public const int Size = 4;

    /// <summary>Label 20 bits, traffic class 3, bottom of stack 1, time to live 8.</summary>
    [FieldOffset(0)] public Be32 Entry;

    /// <summary>Label, 0 to 1,048,575.</summary>
    public readonly int Label => (int)(Entry.Value >> 12);

    /// <summary>Traffic class, 0 to 7.</summary>
    public readonly int TrafficClass => (int)(Entry.Value >> 9) & 7;

    /// <summary>No more labels follow.</summary>
    public readonly bool IsBottom => (Entry.Value & 0x100) != 0;

    /// <summary>Hops left.</summary>
    public readonly byte TimeToLive => (byte)Entry.Value;
}
