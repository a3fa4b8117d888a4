using Dataplane.Net;
using FsCheck;
using FsCheck.Fluent;

namespace Dataplane.Tests;

public class NetPacketParserTests
{
    private const string Macs = "020000000001020000000002";
    private const string Udp = "04d2003500080000";
    private const string Tcp = "04d20050" + "00000001" + "00000000" + "50020000" + "00000000";

    private static string IPv4(string protocol, string options = "", string fragment = "0000") =>
        $"4{5 + options.Length / 8}00001c0000{fragment}40{protocol}0000c6120001c6120002{options}";

    private static string IPv6(string next) => $"600000000008{next}40"
        + "20010db8000000000000000000000001" + "20010db8000000000000000000000002";

    [Fact]
    public void Parse_PlainFrames_NamesEveryLayer()
    {
        Check("0800" + IPv4("11") + Udp, "L2_ETHER L3_IPV4 L4_UDP", 14, 20, 8);
        Check("0800" + IPv4("06") + Tcp, "L2_ETHER L3_IPV4 L4_TCP", 14, 20, 20);
        Check("0800" + IPv4("84") + new string('0', 24), "L2_ETHER L3_IPV4 L4_SCTP", 14, 20, 12);
        Check("0800" + IPv4("01") + "0800000000000000", "L2_ETHER L3_IPV4 L4_ICMP", 14, 20, 8);
        Check("0800" + IPv4("02") + "1100000000000000", "L2_ETHER L3_IPV4 L4_IGMP", 14, 20, 8);
        Check("0800" + IPv4("32") + Udp, "L2_ETHER L3_IPV4 L4_NONFRAG", 14, 20, 0);
        Check("0800" + IPv4("11", "01010100") + Udp, "L2_ETHER L3_IPV4_EXT L4_UDP", 14, 24, 8);
        Check("0800" + IPv4("11", fragment: "2000") + Udp, "L2_ETHER L3_IPV4 L4_FRAG", 14, 20, 0);
        Check("0800" + IPv4("11", fragment: "0001") + Udp, "L2_ETHER L3_IPV4 L4_FRAG", 14, 20, 0);
        Check("0800" + IPv4("11", fragment: "4000") + Udp, "L2_ETHER L3_IPV4 L4_UDP", 14, 20, 8);
        Check("86dd" + IPv6("11") + Udp, "L2_ETHER L3_IPV6 L4_UDP", 14, 40, 8);
        Check("86dd" + IPv6("3a") + "8000000000000000", "L2_ETHER L3_IPV6 L4_ICMP", 14, 40, 8);
        Check("86dd" + IPv6("00") + "1100000000000000" + Udp, "L2_ETHER L3_IPV6_EXT L4_UDP", 14, 48, 8);
        Check("86dd" + IPv6("2c") + "1100000100000000" + Udp, "L2_ETHER L3_IPV6_EXT L4_FRAG", 14, 48, 0);
        Check("86dd" + IPv6("2c") + "1100000000000000" + Udp, "L2_ETHER L3_IPV6_EXT L4_UDP", 14, 48, 8);   // RFC 6946
        Check("86dd" + IPv6("00") + "11ff000000000000", "L2_ETHER L3_IPV6_EXT", 14, 40, 0);
    }

    [Fact]
    public void Parse_Layer2Kinds_AreTold()
    {
        Check("0806" + new string('0', 56), "L2_ETHER_ARP", 14, 0, 0);
        Check("88f7", "L2_ETHER_TIMESYNC", 14, 0, 0);
        Check("88cc", "L2_ETHER_LLDP", 14, 0, 0);
        Check("0042", "L2_ETHER", 14, 0, 0);
        Check("8100000a0800" + IPv4("11") + Udp, "L2_ETHER_VLAN L3_IPV4 L4_UDP", 18, 20, 8);
        Check("88a8000a8100000b86dd" + IPv6("06") + Tcp, "L2_ETHER_QINQ L3_IPV6 L4_TCP", 22, 40, 20);
        Check("91000001810000010800" + IPv4("11") + Udp, "L2_ETHER_QINQ L3_IPV4 L4_UDP", 22, 20, 8);
        Check("8847" + "00010040" + "00020140" + IPv4("11") + Udp, "L2_ETHER_MPLS L3_IPV4 L4_UDP", 22, 20, 8);
        Check("8847" + "00010040", "L2_ETHER", 14, 0, 0);               // no bottom of stack
        Check("8847" + "00010140" + "00", "L2_ETHER_MPLS", 18, 0, 0);   // a pseudowire
    }

    [Fact]
    public void Parse_Tunnels_NamesOuterAndInner()
    {
        string inner = Macs + "0800" + IPv4("06") + Tcp;
        Check("0800" + IPv4("11") + "1234" + "12b5" + "00000000" + "0800000000000100" + inner,
            "L2_ETHER L3_IPV4 L4_UDP TUNNEL_VXLAN INNER_L2_ETHER INNER_L3_IPV4 INNER_L4_TCP", 14, 20, 8, 8, 14, 20, 20);
        Check("86dd" + IPv6("11") + "1234" + "17c1" + "00000000" + "0100655800000100" + "00000000" + inner,
            "L2_ETHER L3_IPV6 L4_UDP TUNNEL_GENEVE INNER_L2_ETHER INNER_L3_IPV4 INNER_L4_TCP",
            14, 40, 8, 12, 14, 20, 20);
        Check("0800" + IPv4("2f") + "20006558" + "00000000" + inner,
            "L2_ETHER L3_IPV4 TUNNEL_NVGRE INNER_L2_ETHER INNER_L3_IPV4 INNER_L4_TCP", 14, 20, 0, 8, 14, 20, 20);
        Check("0800" + IPv4("2f") + "b00086dd" + new string('0', 24) + IPv6("11") + Udp,
            "L2_ETHER L3_IPV4 TUNNEL_GRE INNER_L3_IPV6 INNER_L4_UDP", 14, 20, 0, 16, 0, 40, 8);
        Check("0800" + IPv4("2f") + "40000800" + IPv4("11") + Udp, "L2_ETHER L3_IPV4", 14, 20, 0);    // source routing
        Check("0800" + IPv4("04") + IPv4("11", fragment: "2000") + Udp,
            "L2_ETHER L3_IPV4 TUNNEL_IP INNER_L3_IPV4 INNER_L4_FRAG", 14, 20, 0, 0, 0, 20, 0);
        Check("0800" + IPv4("29") + IPv6("00") + "1100000000000000" + Udp,
            "L2_ETHER L3_IPV4 TUNNEL_IP INNER_L3_IPV6_EXT INNER_L4_UDP", 14, 20, 0, 0, 0, 48, 8);
        Check("0800" + IPv4("04") + IPv4("02", "00000000") + new string('0', 16),
            "L2_ETHER L3_IPV4 TUNNEL_IP INNER_L3_IPV4_EXT INNER_L4_NONFRAG", 14, 20, 0, 0, 0, 24, 8);
    }

    [Fact]
    public void Parse_BadHeaders_StopsAtTheLayerBefore()
    {
        Check("0800" + "65" + IPv4("11")[2..] + Udp, "L2_ETHER", 14, 0, 0);
        Check("0800" + "44" + IPv4("11")[2..] + Udp, "L2_ETHER", 14, 0, 0);
        Check("0800" + "4f" + IPv4("11")[2..] + Udp, "L2_ETHER", 14, 0, 0);
        Check("86dd" + "4" + IPv6("11")[1..] + Udp, "L2_ETHER", 14, 0, 0);
        Check("0800" + IPv4("06") + Tcp.Replace("5002", "4002"), "L2_ETHER L3_IPV4", 14, 20, 0);
        Check("0800" + IPv4("06") + Tcp.Replace("5002", "6002"), "L2_ETHER L3_IPV4", 14, 20, 0);
    }

    [Fact]
    public void Parse_EveryTruncation_NamesOnlyWholeHeaders()
    {
        byte[] whole = Convert.FromHexString(Macs + "8100000186dd" + IPv6("00") + "1100000000000000"
            + "123412b500000000" + "0800000000000100" + Macs + "0800" + IPv4("06") + Tcp);
        uint wholeType = PacketParser.Parse(whole, out HeaderLengths all);
        Assert.Equal(whole.Length, all.Total);
        for (int length = 0; length < whole.Length; length++)
        {
            uint type = PacketParser.Parse(whole.AsSpan(0, length), out HeaderLengths lengths);
            Assert.True(lengths.Total <= length);
            Assert.NotEqual(wholeType, type);
        }
    }

    [Fact]
    public void Parse_RandomBytesBehindPlausibleStarts_StaysInBounds()
    {
        string[] starts = ["", "0800", "0800" + "45", "86dd" + "60", "8847", "88a80001", "0800" + IPv4("2f"),
            "0800" + IPv4("11") + "000012b500000000" + "0800000000000000",
            "86dd" + IPv6("00"), "0800" + IPv4("11") + "000017c1"];
        Prop.ForAll(ArbMap.Default.ArbFor<byte[]>(), ArbMap.Default.ArbFor<int>(), (tail, which) =>
        {
            byte[] frame = [.. Convert.FromHexString(Macs + starts[(which & int.MaxValue) % starts.Length]), .. tail];
            uint type = PacketParser.Parse(frame, out HeaderLengths lengths);
            RssHash.Compute(frame);
            return lengths.Total <= frame.Length && (type & ~PacketType.AllMask) == 0
                && (lengths.L3 != 0) == ((type & PacketType.L3Mask) != 0);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(5000));
    }

    [Fact]
    public void Parse_MutatedTunnel_StaysInBounds()
    {
        byte[] whole = Convert.FromHexString(Macs + "8100000186dd" + IPv6("00") + "1100000000000000"
            + "123412b500000000" + "0800000000000100" + Macs + "0800" + IPv4("06") + Tcp);
        var random = new Random(7);
        for (int i = 0; i < 100_000; i++)
        {
            byte[] frame = whole[..random.Next(whole.Length + 1)];
            for (int n = random.Next(4); n > 0 && frame.Length > 0; n--)
                frame[random.Next(frame.Length)] = (byte)random.Next();
            PacketParser.Parse(frame, out HeaderLengths lengths);
            Assert.True(lengths.Total <= frame.Length);
        }
    }

    private static void Check(string afterMacs, string name, int l2, int l3, int l4, int tunnel = 0, int innerL2 = 0,
        int innerL3 = 0, int innerL4 = 0)
    {
        uint type = PacketParser.Parse(Convert.FromHexString(Macs + afterMacs), out HeaderLengths h);
        Assert.Equal(name, PacketType.GetName(type));
        Assert.Equal((l2, l3, l4, tunnel, innerL2, innerL3, innerL4),
            (h.L2, h.L3, h.L4, h.Tunnel, h.InnerL2, h.InnerL3, h.InnerL4));
    }
}
