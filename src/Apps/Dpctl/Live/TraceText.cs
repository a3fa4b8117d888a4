using System.Globalization;
using System.Text;
using System.Text.Json;
using Dataplane.Net;

namespace Dataplane.Dpctl;

/// <summary>One packet's way in words.</summary>
internal static class TraceText
{
    /// <summary>Two lines: what the packet is; what happened to it, and how many cycles after what was
    /// before.</summary>
    internal static IEnumerable<string> Lines(int number, JsonElement? packet, ulong hz, Dictionary<long, string> ports)
    {
        yield return $"#{number}  {Describe(Header(packet.Text("header")))}, {packet.Number("length")} bytes";
        string[] stages = packet.Texts("stages");
        long[] cycles = packet.Numbers("cycles"), at = packet.Numbers("ports"), queues = packet.Numbers("queues");
        int count = Math.Min(Math.Min(stages.Length, cycles.Length), Math.Min(at.Length, queues.Length));
        var way = new StringBuilder("    ");
        string end = packet.Text("end") ?? "open";
        for (int i = 0; i < count; i++)
        {
            // Two CPUs' counters may differ by a few.
            way.Append(i == 0 ? "" : $"  +{Math.Max(cycles[i] - cycles[i - 1], 0)} ")
                .Append(i == count - 1 && end == "dropped" ? "DROPPED: " : "").Append(stages[i]);
            if (at[i] >= 0)
                way.Append(stages[i] == "offered" ? " to " : " by ")
                    .Append(ports.GetValueOrDefault(at[i], $"port {at[i]}"))
                    .Append(CultureInfo.InvariantCulture, $" queue {queues[i]}");
            if (i == 0 && packet.Get("lcore") is { ValueKind: JsonValueKind.Number } lcore
                && lcore.TryGetInt64(out long id) && id >= 0)
                way.Append(CultureInfo.InvariantCulture, $" on lcore {id}");
        }
        long all = count > 1 ? Math.Max(cycles[count - 1] - cycles[0], 0) : 0;
        if (end == "open")
            way.Append("  not seen again: held, or freed without a word");
        else if (hz > 0)
            way.Append(CultureInfo.InvariantCulture, $"  = {all} cycles, {all * 1e9 / hz:F0} ns");
        yield return way.ToString();
    }

    /// <summary>A frame's first headers in short: <c>UDP 198.18.0.1:1024 > 198.19.0.1:9</c>.</summary>
    internal static string Describe(Span<byte> frame)
    {
        uint type = PacketParser.Parse(frame, out HeaderLengths lengths);
        if (frame.Length < EtherHeader.Size)
            return "cut-off frame";
        EtherHeader ether = frame.HeaderAt<EtherHeader>();
        string vlan = (type & PacketType.L2Mask) is PacketType.L2EtherVlan or PacketType.L2EtherQinq ? "VLAN "
            + (frame.HeaderAt<VlanHeader>(lengths.L2 - VlanHeader.Size).Id) + " " : "";
        Span<byte> l3 = frame[lengths.L2..];
        (string from, string to) = (type & PacketType.L3Mask) switch
        {
            0 => ("", ""),
            PacketType.L3Ipv6 or PacketType.L3Ipv6Ext or PacketType.L3Ipv6ExtUnknown =>
                (l3.HeaderAt<IPv6Header>().Source.ToString(), l3.HeaderAt<IPv6Header>().Destination.ToString()),
            _ => (l3.HeaderAt<IPv4Header>().Source.ToString(), l3.HeaderAt<IPv4Header>().Destination.ToString()),
        };
        if (from.Length == 0)
            return (type & PacketType.L2Mask) == PacketType.L2EtherArp
                ? $"ARP {ether.Source} > {ether.Destination}"
                : $"{vlan}EtherType 0x{(ushort)ether.EtherType:x4} {ether.Source} > {ether.Destination}";
        uint l4 = type & PacketType.L4Mask;
        if (l4 is PacketType.L4Udp or PacketType.L4Tcp)
        {
            // TCP and UDP both begin with the two ports.
            UdpHeader header = l3[lengths.L3..].HeaderAt<UdpHeader>();
            (from, to) = (With(from, header.SourcePort), With(to, header.DestinationPort));
        }
        string name = l4 switch
        {
            PacketType.L4Udp => "UDP",
            PacketType.L4Tcp => "TCP",
            PacketType.L4Icmp => "ICMP",
            PacketType.L4Frag => "fragment",
            PacketType.L4Sctp => "SCTP",
            _ => "IP",
        };
        return $"{vlan}{name} {from} > {to}";
    }

    private static string With(string address, ushort port) =>
        address.Contains(':') ? $"[{address}]:{port}" : $"{address}:{port}";

    private static byte[] Header(string? hex)
    {
        try
        {
            return Convert.FromHexString(hex ?? "");
        }
        catch (FormatException)
        {
            return [];
        }
    }
}
