using Dataplane.Net;
using IPv4Address = Dataplane.Net.IPv4Address;
using IPv6Address = Dataplane.Net.IPv6Address;

namespace Dataplane.Tests;

public class NetPacketTemplateTests
{
    private static readonly MacAddress s_from = MacAddress.Local(1), s_to = MacAddress.Local(2);

    private static PacketTemplate Udp4(int bytes, ushort? tci = null, bool checksum = true) =>
        PacketTemplate.Udp4(s_from, s_to, new IPv4Address(198, 18, 0, 1), new IPv4Address(198, 18, 0, 2),
            1024, 9, bytes, tci, checksum);

    private static PacketTemplate Udp6(int bytes, ushort? tci = null) => PacketTemplate.Udp6(s_from, s_to,
        IPv6Address.Parse("2001:db8::1"), IPv6Address.Parse("2001:db8::2"), 1024, 9, bytes, tci);

    [Theory]
    [InlineData(42)]
    [InlineData(60)]
    [InlineData(61)]
    [InlineData(1514)]
    [InlineData(9014)]
    public void Udp4_AnySize_HasRightLengthsAndChecksums(int bytes)
    {
        byte[] frame = Udp4(bytes).Frame.ToArray();
        Assert.Equal("L2_ETHER L3_IPV4 L4_UDP", PacketType.GetName(PacketParser.Parse(frame, out HeaderLengths _)));
        Check4(frame, 14);
        Assert.Equal(s_from, (MacAddress)frame.AsSpan().HeaderAt<EtherHeader>().Source);
        Assert.Equal(s_to, (MacAddress)frame.AsSpan().HeaderAt<EtherHeader>().Destination);
    }

    [Fact]
    public void Udp6_TaggedOrNot_HasRightLengthsAndChecksums()
    {
        byte[] frame = Udp6(80).Frame.ToArray();
        Check6(frame, 14);
        frame = Udp6(80, 0x2005).Frame.ToArray();
        Check6(frame, 18);
        uint type = PacketParser.Parse(frame, out HeaderLengths _);
        Assert.Equal("L2_ETHER_VLAN L3_IPV6 L4_UDP", PacketType.GetName(type));
        Check4(Udp4(60, 0x2005).Frame.ToArray(), 18);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(255)]
    [InlineData(65536)]
    [InlineData(-1)]
    [InlineData(int.MinValue)]
    public void CopyTo_AnotherFlow_ChangesSourceAndKeepsChecksums(int flow)
    {
        byte[] frame = new byte[100];
        PacketTemplate template = Udp4(100);
        template.CopyTo(frame, flow);
        Check4(frame, 14);
        Assert.Equal(unchecked(0xc6120001 + (uint)flow), frame.AsSpan().HeaderAt<IPv4Header>(14).Source.Value);
        template.CopyHeadersTo(frame, 5);
        Check4(frame, 14);
        template.CopyTo(frame);
        Assert.Equal(template.Frame, frame);
        template = Udp6(100);
        template.CopyTo(frame, flow);
        Check6(frame, 14);
        Assert.False(template.Frame.SequenceEqual(frame));
    }

    [Fact]
    public void CopyTo_EveryFlowOfManyPayloads_NeverMakesAWrongChecksum()
    {
        byte[] frame = new byte[60], payload = new byte[18];
        var random = new Random(9);
        PacketTemplate template = Udp4(60);
        for (int i = 0; i < 70_000; i++)
        {
            if (i % 1000 == 0)
            {
                random.NextBytes(payload);
                template.SetPayload(payload);
                Assert.True(template.Frame[42..].SequenceEqual(payload));
            }
            template.CopyTo(frame, i);
            Check4(frame, 14);
        }
    }

    [Fact]
    public void Udp4_WithoutChecksum_KeepsZero()
    {
        byte[] frame = new byte[60];
        PacketTemplate template = Udp4(60, checksum: false);
        template.SetPayload([1, 2, 3]);
        template.CopyTo(frame, 3);
        Assert.Equal(0, frame.AsSpan().HeaderAt<UdpHeader>(34).Checksum.Value);
        Check4(frame, 14);
    }

    [Fact]
    public void Udp_BadSizes_AreRefused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Udp4(41));
        Assert.Throws<ArgumentOutOfRangeException>(() => Udp4(45, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => Udp4(65550));
        Assert.Throws<ArgumentOutOfRangeException>(() => Udp6(61));
        Assert.Throws<ArgumentException>(() => Udp4(60).SetPayload(new byte[19]));
    }

    private static void Check4(Span<byte> frame, int l3)
    {
        ref IPv4Header ip = ref frame.HeaderAt<IPv4Header>(l3);
        Assert.Equal(frame.Length - l3, ip.TotalLength.Value);
        Assert.True(Checksum.VerifyIPv4(frame.Slice(l3, 20)));
        Assert.Equal(frame.Length - l3 - 20, frame.HeaderAt<UdpHeader>(l3 + 20).Length.Value);
        Assert.True(Checksum.VerifyUdpTcp(in ip, frame[(l3 + 20)..]));
    }

    private static void Check6(Span<byte> frame, int l3)
    {
        ref IPv6Header ip = ref frame.HeaderAt<IPv6Header>(l3);
        Assert.Equal(frame.Length - l3 - 40, ip.PayloadLength.Value);
        Assert.True(Checksum.VerifyUdpTcp(in ip, IPProtocols.Udp, frame[(l3 + 40)..]));
    }
}
