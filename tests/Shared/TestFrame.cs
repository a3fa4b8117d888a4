using System.Buffers.Binary;
using Dataplane.Net;

namespace Dataplane.Tests;

/// <summary>
/// A frame for tests of what NICs do with headers: IP with TCP or UDP from an address nobody has, so that it is told
/// from a kernel's own traffic whatever stands in it.
/// </summary>
internal sealed record TestFrame(int Flow)
{
    /// <summary>The address all of them come from.</summary>
    internal static MacAddress From => MacAddress.Local(0xdd);

    internal MacAddress To { get; init; } = MacAddress.Local(0xee);
    internal bool Tcp { get; init; }
    internal bool V6 { get; init; }
    internal int PayloadBytes { get; init; } = 40;

    /// <summary>Tag in the data, or none.</summary>
    internal ushort? Tci { get; init; }

    internal bool BadIpChecksum { get; init; }
    internal bool BadL4Checksum { get; init; }

    internal int L2Bytes => Tci == null ? 14 : 18;
    internal int L3Bytes => V6 ? 40 : 20;
    internal int L4Bytes => Tcp ? 20 : 8;
    internal int HeaderBytes => L2Bytes + L3Bytes + L4Bytes;
    internal int Length => HeaderBytes + PayloadBytes;

    /// <summary>As large a payload as makes a frame of that many bytes.</summary>
    internal TestFrame OfLength(int bytes) => this with { PayloadBytes = bytes - HeaderBytes };

    /// <summary>The frame with every checksum filled in, or spoilt where asked.</summary>
    internal byte[] Build()
    {
        var bytes = new byte[Length];
        Span<byte> frame = bytes;
        To.Write(frame);
        From.Write(frame[6..]);
        if (Tci is ushort tci)
        {
            BinaryPrimitives.WriteUInt16BigEndian(frame[12..], EtherTypes.Vlan);
            BinaryPrimitives.WriteUInt16BigEndian(frame[14..], tci);
        }
        BinaryPrimitives.WriteUInt16BigEndian(frame[(L2Bytes - 2)..], V6 ? EtherTypes.IPv6 : EtherTypes.IPv4);
        for (int i = 0; i < PayloadBytes; i++)
            frame[HeaderBytes + i] = (byte)(Flow * 31 + i + (i >> 8));
        Span<byte> l4 = frame[(L2Bytes + L3Bytes)..];
        BinaryPrimitives.WriteUInt16BigEndian(l4, (ushort)(1024 + Flow));
        BinaryPrimitives.WriteUInt16BigEndian(l4[2..], 9);
        if (Tcp)
            l4.HeaderAt<TcpHeader>() = l4.HeaderAt<TcpHeader>() with
            {
                Sequence = 0xffff_f000, Acknowledgment = 1, DataOffset = 0x50, Window = 8192,
                Flags = TcpFlags.Ack | TcpFlags.Psh | TcpFlags.Fin,
            };
        else
            BinaryPrimitives.WriteUInt16BigEndian(l4[4..], (ushort)(8 + PayloadBytes));
        WriteIp(frame[L2Bytes..], l4);
        if (BadL4Checksum)
            l4[Tcp ? 16 : 6] ^= 0x55;
        return bytes;
    }

    /// <summary>Whether a received packet is one of these.</summary>
    internal static bool IsOurs(ReadOnlySpan<byte> frame) => frame.Length >= 14 && MacAddress.Read(frame[6..]) == From;

    private void WriteIp(Span<byte> l3, Span<byte> l4)
    {
        Span<byte> checksum = l4[(Tcp ? 16 : 6)..];
        Be16 sum;
        if (V6)
        {
            ref IPv6Header ip = ref l3.HeaderAt<IPv6Header>();
            ip.VersionClassFlow = 6u << 28;
            ip.PayloadLength = (ushort)l4.Length;
            ip.NextHeader = Tcp ? IPProtocols.Tcp : IPProtocols.Udp;
            ip.HopLimit = 64;
            ip.Source = new IPv6Address(0x2001_0db8_0000_0000, (ulong)(0x1_0000 + Flow * 77));    // RFC 3849
            ip.Destination = new IPv6Address(0x2001_0db8_0000_0000, 2);
            sum = Checksum.UdpTcp(in ip, ip.NextHeader, l4);
        }
        else
        {
            ref IPv4Header ip = ref l3.HeaderAt<IPv4Header>();
            ip.VersionIhl = IPv4Header.VersionIhlPlain;
            ip.TotalLength = (ushort)(20 + l4.Length);
            ip.Identification = (ushort)Flow;
            ip.TimeToLive = 64;
            ip.Protocol = Tcp ? IPProtocols.Tcp : IPProtocols.Udp;
            ip.Source = new IPv4Address(198, 18, (byte)Flow, (byte)(Flow * 77));     // RFC 2544
            ip.Destination = new IPv4Address(198, 19, 0, 2);
            ip.Checksum = Checksum.IPv4(in ip);
            sum = Checksum.UdpTcp(in ip, l4);
            if (BadIpChecksum)
                ip.Checksum = (ushort)(ip.Checksum ^ 0x0101);
        }
        BinaryPrimitives.WriteUInt16BigEndian(checksum, sum);
    }
}
