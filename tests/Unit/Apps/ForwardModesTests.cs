using Dataplane.Apps.Forward;
using Dataplane.Net;

namespace Dataplane.Tests;

/// <summary>What each mode of Forward does to a packet.</summary>
public sealed class ForwardModesTests : IDisposable
{
    private static readonly MacAddress s_one = MacAddress.Local(1), s_two = MacAddress.Local(2),
        s_own = MacAddress.Local(9);
    private readonly Eal _eal = Eal.Initialize(new EalOptions { NoHuge = true });
    private readonly Mempool _pool;
    private readonly PortList _ports;
    private readonly StreamTrace _trace;

    public ForwardModesTests()
    {
        _pool = Mempool.CreateMbufPool(_eal.Memory, "modes", 63);
        _ports = new PortList(_eal, []);
        _trace = new StreamTrace(_ports.Trace);
    }

    public void Dispose()
    {
        Assert.Equal(0, _pool.InUseCount);
        _ports.Dispose();
        _pool.Dispose();
        _eal.Dispose();
    }

    [Fact]
    public void Mac_AFrame_GetsTheAddressesGiven() => Check(new MacMode(s_own, s_two), Udp(), (before, after) =>
    {
        Assert.Equal(s_own, (MacAddress)after.HeaderAt<EtherHeader>().Source);
        Assert.Equal(s_two, (MacAddress)after.HeaderAt<EtherHeader>().Destination);
        Assert.Equal(before.AsSpan(12), after[12..]);
    });

    [Fact]
    public void MacSwap_AFrame_GoesBack() => Check(new MacSwapMode(), Udp(), (before, after) =>
    {
        Assert.Equal(s_two, (MacAddress)after.HeaderAt<EtherHeader>().Source);
        Assert.Equal(s_one, (MacAddress)after.HeaderAt<EtherHeader>().Destination);
        Assert.Equal(before.AsSpan(12), after[12..]);
    });

    [Theory]
    [InlineData(false, null)]
    [InlineData(false, (ushort)100)]
    [InlineData(true, null)]
    [InlineData(true, (ushort)7)]
    public void FiveTupleSwap_Udp_IsTheFrameOfTheOtherDirection(bool isIPv6, ushort? vlan) =>
        Check(new FiveTupleSwapMode(), Udp(isIPv6, vlan),
        (_, after) => Assert.Equal(Udp(isIPv6, vlan, back: true), after));

    [Fact]
    public void FiveTupleSwap_TruncatedFrames_AreLeftAloneBehindTheCut()
    {
        byte[] whole = Udp();
        for (int length = 0; length < whole.Length; length++)
            Check(new FiveTupleSwapMode(), whole[..length], (_, after) => Assert.Equal(length, after.Length));
    }

    [Fact]
    public void Csum_RightChecksums_StayRight() =>
        Check(new CsumMode(), Udp(), (before, after) => Assert.Equal(before, after));

    [Theory]
    [InlineData(null)]
    [InlineData((ushort)100)]
    public void Csum_WrongChecksum_IsCountedAndSentOn(ushort? vlan)
    {
        byte[] frame = Udp(vlan: vlan);
        frame[^1] ^= 1;
        StreamCounters counters = Check(new CsumMode(), frame, (before, after) => Assert.Equal(before, after));
        Assert.Equal(1UL, counters.BadChecksum);
    }

    [Fact]
    public void IcmpEcho_Request_IsAnsweredWithARightChecksum() =>
        Check(new IcmpEchoMode(s_own, _trace), Ping(), (before, after) =>
    {
        ref readonly IPv4Header ip = ref after.HeaderAt<IPv4Header>(EtherHeader.Size);
        Assert.Equal(IPv4Address.Parse("10.0.0.2"), ip.Source);
        Assert.Equal(IcmpHeader.EchoReply, after.HeaderAt<IcmpHeader>(EtherHeader.Size + IPv4Header.Size).Type);
        Assert.Equal(0xffff, Checksum.Raw(after[(EtherHeader.Size + IPv4Header.Size)..]));
        Assert.Equal(s_own, (MacAddress)after.HeaderAt<EtherHeader>().Source);
        Assert.Equal(s_one, (MacAddress)after.HeaderAt<EtherHeader>().Destination);
    });

    [Fact]
    public void IcmpEcho_ArpRequest_IsAnswered() => Check(new IcmpEchoMode(s_own, _trace), Arp(), (_, after) =>
    {
        ref readonly ArpHeader arp = ref after.HeaderAt<ArpHeader>(EtherHeader.Size);
        Assert.Equal(ArpHeader.Reply, (ushort)arp.Operation);
        Assert.Equal(s_own, (MacAddress)arp.SenderHardware);
        Assert.Equal(IPv4Address.Parse("10.0.0.2"), arp.SenderProtocol);
        Assert.Equal(IPv4Address.Parse("10.0.0.1"), arp.TargetProtocol);
    });

    [Fact]
    public void IcmpEcho_AnythingElse_IsFreedAndCounted()
    {
        StreamCounters counters = Check(new IcmpEchoMode(s_own, _trace), Udp(), null);
        Assert.Equal(1UL, counters.Consumed);
    }

    [Fact]
    public void RxOnly_Packets_AreFreedAndCounted() =>
        Assert.Equal(1UL, Check(new RxOnlyMode(_trace), Udp(), null).Consumed);

    private delegate void Look(byte[] before, Span<byte> after);

    /// <summary>Runs one packet through a mode; with no look, it must not come out.</summary>
    private StreamCounters Check<TMode>(TMode mode, byte[] frame, Look? look) where TMode : struct, ITransform
    {
        Assert.True(_pool.TryAlloc(out Mbuf packet));
        Assert.True(packet.TrySetLength(frame.Length));
        frame.CopyTo(packet.Data);
        Mbuf[] burst = [packet];
        StreamCounters counters = default;
        Assert.Equal(look == null ? 0 : 1, mode.Process(burst, ref counters));
        if (look != null)
        {
            look(frame, packet.Data);
            packet.Free();
        }
        return counters;
    }

    private static byte[] Udp(bool isIPv6 = false, ushort? vlan = null, bool back = false)
    {
        (MacAddress from, MacAddress to) = back ? (s_two, s_one) : (s_one, s_two);
        (ushort port, ushort peer) = back ? ((ushort)9, (ushort)1024) : ((ushort)1024, (ushort)9);
        (string left, string right) = isIPv6 ? ("2001:db8::1", "2001:db8::2") : ("198.18.0.1", "198.19.0.1");
        if (back)
            (left, right) = (right, left);
        PacketTemplate template = isIPv6
            ? PacketTemplate.Udp6(from, to, IPv6Address.Parse(left), IPv6Address.Parse(right), port, peer, 90, vlan)
            : PacketTemplate.Udp4(from, to, IPv4Address.Parse(left), IPv4Address.Parse(right), port, peer, 70, vlan);
        return template.Frame.ToArray();
    }

    private static byte[] Ping()
    {
        byte[] frame = new byte[EtherHeader.Size + IPv4Header.Size + IcmpHeader.Size + 10];
        Ether(frame, s_two, EtherTypes.IPv4);
        ref IPv4Header ip = ref frame.AsSpan().HeaderAt<IPv4Header>(EtherHeader.Size);
        ip.VersionIhl = IPv4Header.VersionIhlPlain;
        ip.TotalLength = (ushort)(frame.Length - EtherHeader.Size);
        ip.Protocol = IPProtocols.Icmp;
        ip.Source = IPv4Address.Parse("10.0.0.1");
        ip.Destination = IPv4Address.Parse("10.0.0.2");
        ip.Checksum = Checksum.IPv4(in ip);
        Span<byte> message = frame.AsSpan(EtherHeader.Size + IPv4Header.Size);
        message[^1] = 0xab;
        ref IcmpHeader icmp = ref message.HeaderAt<IcmpHeader>();
        icmp.Type = IcmpHeader.EchoRequest;
        icmp.Checksum = Checksum.Icmp(message);
        return frame;
    }

    private static byte[] Arp()
    {
        byte[] frame = new byte[EtherHeader.MinFrameBytes];
        Ether(frame, MacAddress.Broadcast, EtherTypes.Arp);
        ref ArpHeader arp = ref frame.AsSpan().HeaderAt<ArpHeader>(EtherHeader.Size);
        (arp.HardwareType, arp.ProtocolType, arp.HardwareLength, arp.ProtocolLength) = (1, EtherTypes.IPv4, 6, 4);
        arp.Operation = ArpHeader.Request;
        arp.SenderHardware = s_one;
        arp.SenderProtocol = IPv4Address.Parse("10.0.0.1");
        arp.TargetProtocol = IPv4Address.Parse("10.0.0.2");
        return frame;
    }

    private static void Ether(byte[] frame, MacAddress destination, ushort type)
    {
        ref EtherHeader ether = ref frame.AsSpan().HeaderAt<EtherHeader>();
        (ether.Source, ether.Destination, ether.EtherType) = (s_one, destination, type);
    }
}
