using System.Net;
using System.Runtime.CompilerServices;
using Dataplane.Net;
using FsCheck;
using FsCheck.Fluent;
using IPv4Address = Dataplane.Net.IPv4Address;
using IPv6Address = Dataplane.Net.IPv6Address;

namespace Dataplane.Tests;

public class NetHeaderTests
{
    [Fact]
    public void HeaderSizes_AllStructs_EqualTheirConstant()
    {
        Assert.Equal(EtherHeader.Size, Unsafe.SizeOf<EtherHeader>());
        Assert.Equal(VlanHeader.Size, Unsafe.SizeOf<VlanHeader>());
        Assert.Equal(ArpHeader.Size, Unsafe.SizeOf<ArpHeader>());
        Assert.Equal(IPv4Header.Size, Unsafe.SizeOf<IPv4Header>());
        Assert.Equal(IPv6Header.Size, Unsafe.SizeOf<IPv6Header>());
        Assert.Equal(IPv6ExtensionHeader.Size, Unsafe.SizeOf<IPv6ExtensionHeader>());
        Assert.Equal(TcpHeader.Size, Unsafe.SizeOf<TcpHeader>());
        Assert.Equal(UdpHeader.Size, Unsafe.SizeOf<UdpHeader>());
        Assert.Equal(SctpHeader.Size, Unsafe.SizeOf<SctpHeader>());
        Assert.Equal(IcmpHeader.Size, Unsafe.SizeOf<IcmpHeader>());
        Assert.Equal(VxlanHeader.Size, Unsafe.SizeOf<VxlanHeader>());
        Assert.Equal(GeneveHeader.Size, Unsafe.SizeOf<GeneveHeader>());
        Assert.Equal(GreHeader.Size, Unsafe.SizeOf<GreHeader>());
        Assert.Equal(MplsHeader.Size, Unsafe.SizeOf<MplsHeader>());
    }

    [Fact]
    public void HeaderCursor_EtherVlanIPv4Udp_ReadsFieldsAndWritesThrough()
    {
        byte[] frame = Convert.FromHexString("0201020304050602030405060708"[..24] + "8100" + "a00a0800"
            + "4500001c00004000401100000a0000010a000002" + "04d2003500080000");
        var cursor = new HeaderCursor(frame);
        Assert.True(cursor.TryRead(out HeaderRef<EtherHeader> ether));
        Assert.Equal("02:01:02:03:04:05", ether.Value.Destination.ToString());
        Assert.Equal("06:02:03:04:05:06", ether.Value.Source.ToString());
        Assert.Equal(EtherTypes.Vlan, ether.Value.EtherType.Value);
        Assert.True(cursor.TryRead(out HeaderRef<VlanHeader> vlan));
        Assert.Equal((10, 5, false), (vlan.Value.Id, vlan.Value.Priority, vlan.Value.DropEligible));
        Assert.True(cursor.TryRead(out HeaderRef<IPv4Header> ip));
        Assert.Equal((4, 20, 28), (ip.Value.Version, ip.Value.HeaderLength, ip.Value.TotalLength.Value));
        Assert.Equal("10.0.0.1", ip.Value.Source.ToString());
        Assert.False(ip.Value.IsFragment);
        Assert.True(cursor.TryRead(out HeaderRef<UdpHeader> udp));
        Assert.Equal(38 + 8, cursor.Offset);
        udp.Value.DestinationPort = 4789;
        Assert.Equal(0x12b5, frame[40] << 8 | frame[41]);
        Assert.False(cursor.TryRead(out HeaderRef<UdpHeader> _));
        Assert.True(cursor.TrySkip(0));
        Assert.False(cursor.TrySkip(1));
        Assert.False(cursor.TrySkip(-1));
    }

    [Fact]
    public void SwapAddresses_AnyFrame_ExchangesAndKeepsTheRest()
    {
        Prop.ForAll(ArbMap.Default.ArbFor<ulong>(), ArbMap.Default.ArbFor<ulong>(), (a, b) =>
        {
            EtherHeader header = default;
            var to = new MacAddress(a & 0xffff_ffff_ffff);
            var from = new MacAddress(b & 0xffff_ffff_ffff);
            (header.Destination, header.Source, header.EtherType) = (to, from, (ushort)(a >> 48));
            header.SwapAddresses();
            return (MacAddress)header.Destination == from && (MacAddress)header.Source == to
                && header.EtherType.Value == (ushort)(a >> 48);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void IPv4Address_AnyValue_RoundTripsThroughTextAndFramework()
    {
        Prop.ForAll(ArbMap.Default.ArbFor<uint>(), value =>
        {
            var address = new IPv4Address(value);
            return address.ToString() == address.ToIPAddress().ToString() && address.Value == value
                && IPv4Address.Parse(address.ToString()) == address
                && IPv4Address.From(address.ToIPAddress()) == address;
        }).QuickCheckThrowOnFailure();
        Assert.Equal(new IPv4Address(0xc0000201), new IPv4Address(192, 0, 2, 1));
    }

    [Theory]
    [InlineData("")]
    [InlineData("1.2.3")]
    [InlineData("1.2.3.4.5")]
    [InlineData("1.2.3.256")]
    [InlineData("1.2..4")]
    [InlineData("01.2.3.4")]
    [InlineData("1.2.3.4 ")]
    [InlineData("+1.2.3.4")]
    [InlineData("0x1.2.3.4")]
    public void IPv4Address_BadText_IsRefused(string text)
    {
        Assert.False(IPv4Address.TryParse(text, out _));
        Assert.Throws<FormatException>(() => IPv4Address.Parse(text));
    }

    [Fact]
    public void IPv6Address_Text_RoundTrips()
    {
        IPv6Address address = IPv6Address.Parse("2001:db8::1");
        Assert.Equal(new IPv6Address(0x20010db8_00000000, 1), address);
        Assert.Equal("2001:db8::1", address.ToString());
        Assert.Equal(IPAddress.Parse("2001:db8::1"), address.ToIPAddress());
        Assert.True(IPv6Address.Parse("ff02::1").IsMulticast);
        Assert.False(IPv6Address.TryParse("fe80::1%1", out _));
        Assert.False(IPv6Address.TryParse("1.2.3.4", out _));
        Assert.Throws<ArgumentException>(() => IPv6Address.From(IPAddress.Loopback));
        Assert.Throws<ArgumentException>(() => IPv4Address.From(IPAddress.IPv6Loopback));
    }

    [Fact]
    public void OptionReader_TcpSynOptions_GivesEachAndStopsAtEnd()
    {
        // MSS 1460, NOP, window scale 7, NOP, NOP, timestamps, end, garbage that must not be read.
        byte[] options = Convert.FromHexString("020405b4" + "01" + "030307" + "0101"
            + "080a0000000100000002" + "00" + "ff");
        var reader = new OptionReader(options);
        Assert.True(reader.TryNext(out byte kind, out ReadOnlySpan<byte> value));
        Assert.Equal((2, 2), (kind, value.Length));
        Assert.True(reader.TryNext(out kind, out value));
        Assert.Equal((3, 7), (kind, value[0]));
        Assert.True(reader.TryNext(out kind, out value));
        Assert.Equal((8, 8), (kind, value.Length));
        Assert.False(reader.TryNext(out _, out _));
        Assert.False(reader.IsBroken);
    }

    [Theory]
    [InlineData("02")]
    [InlineData("0200")]
    [InlineData("0201")]
    [InlineData("0105ff")]
    public void OptionReader_BadLength_IsBroken(string hex)
    {
        var reader = new OptionReader(Convert.FromHexString(hex));
        Assert.False(reader.TryNext(out _, out _));
        Assert.True(reader.IsBroken);
    }

    [Fact]
    public void OptionReader_RandomBytes_EndsInBounds()
    {
        Prop.ForAll(ArbMap.Default.ArbFor<byte[]>(), bytes =>
        {
            var reader = new OptionReader(bytes);
            int options = 0, total = 0;
            while (reader.TryNext(out _, out ReadOnlySpan<byte> value))
                (options, total) = (options + 1, total + value.Length + 2);
            return options <= bytes.Length / 2 && total <= bytes.Length;
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void IPv6Extensions_ChainWithFragment_WalksToTransport()
    {
        // hop-by-hop (8) -> routing (16) -> fragment, first of many -> UDP
        byte[] bytes = Convert.FromHexString("2b00000000000000" + "2c01" + new string('0', 28)
            + "1100000100000007" + "ffff");
        byte next = IPProtocols.HopByHop;
        Assert.True(IPv6Extensions.TryWalk(bytes, ref next, out int length, out bool fragment));
        Assert.Equal((IPProtocols.Udp, 32, true), (next, length, fragment));
        for (int cut = 0; cut < 32; cut++)
        {
            next = IPProtocols.HopByHop;
            Assert.False(IPv6Extensions.TryWalk(bytes.AsSpan(0, cut), ref next, out _, out _));
        }
    }

    [Fact]
    public void IPv6Extensions_EndlessChain_GivesUp()
    {
        byte[] bytes = new byte[4096];     // hop-by-hop after hop-by-hop
        byte next = IPProtocols.HopByHop;
        Assert.False(IPv6Extensions.TryWalk(bytes, ref next, out int length, out _));
        Assert.Equal(IPv6Extensions.MaxHeaders * 8, length);
    }

    [Fact]
    public void TunnelHeaders_Fields_DecodeAsSpecified()
    {
        Span<byte> bytes = Convert.FromHexString("0800000012345600");
        Assert.Equal(0x123456, bytes.HeaderAt<VxlanHeader>().Vni);
        bytes.HeaderAt<VxlanHeader>().Vni = 7;
        Assert.Equal("0800000000000700", Convert.ToHexStringLower(bytes));
        bytes = Convert.FromHexString("b0016558");
        ref GreHeader gre = ref bytes.HeaderAt<GreHeader>();
        Assert.Equal((16, true, true, true, 1),
            (gre.HeaderLength, gre.HasKey, gre.HasChecksum, gre.HasSequence, gre.Version));
        bytes = Convert.FromHexString("0001f3ff");
        ref MplsHeader mpls = ref bytes.HeaderAt<MplsHeader>();
        Assert.Equal((0x1f, 1, true, (byte)255), (mpls.Label, mpls.TrafficClass, mpls.IsBottom, mpls.TimeToLive));
    }
}
