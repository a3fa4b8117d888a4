using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>
/// ARP for IPv4 over Ethernet, 28 bytes. RFC 826.
/// <code>
/// 0       2       4    5    6       8         14     18        24
/// | hw=1  | 0x800 | 6  | 4  | op    | sha     | spa  | tha     | tpa |
/// </code>
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct ArpHeader
{
    /// <summary>Bytes of this header.</summary>
    public const int Size = 28;

    /// <summary><see cref="Operation"/>: who has the target address.</summary>
    public const ushort Request = 1;

    /// <summary><see cref="Operation"/>: the sender has it.</summary>
    public const ushort Reply = 2;

    /// <summary>1 for Ethernet.</summary>
    [FieldOffset(0)] public Be16 HardwareType;

    /// <summary><see cref="EtherTypes.IPv4"/>.</summary>
    [FieldOffset(2)] public Be16 ProtocolType;

    /// <summary>6, bytes.</summary>
    [FieldOffset(4)] public byte HardwareLength;

    /// <summary>4, bytes.</summary>
    [FieldOffset(5)] public byte ProtocolLength;

    /// <summary><see cref="Request"/> or <see cref="Reply"/>.</summary>
    [FieldOffset(6)] public Be16 Operation;

    /// <summary>Ethernet address of the sender.</summary>
    [FieldOffset(8)] public EtherAddr SenderHardware;

    /// <summary>IPv4 address of the sender.</summary>
    [FieldOffset(14)] public IPv4Address SenderProtocol;

    /// <summary>Ethernet address of the target; zero in a request.</summary>
    [FieldOffset(18)] public EtherAddr TargetHardware;

    /// <summary>IPv4 address asked for.</summary>
    [FieldOffset(24)] public IPv4Address TargetProtocol;

    /// <summary>True when types and lengths say Ethernet and IPv4, so the addresses mean what this struct
    /// says.</summary>
    public readonly bool IsEthernetIPv4 =>
        HardwareType == 1 && ProtocolType == EtherTypes.IPv4 && HardwareLength == 6 && ProtocolLength == 4;
}
