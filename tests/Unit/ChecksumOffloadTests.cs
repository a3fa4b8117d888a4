using Dataplane.Net;
using IPv4Address = Dataplane.Net.IPv4Address;
using IPv6Address = Dataplane.Net.IPv6Address;

namespace Dataplane.Tests;

public sealed class ChecksumOffloadTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions());
    private readonly Mempool _pool;

    public ChecksumOffloadTests() => _pool = Mempool.CreateMbufPool(_eal.Memory, "offload", 8);

    public void Dispose()
    {
        Assert.Equal(_pool.Count, _pool.AvailableCount);
        _pool.Dispose();
        _eal.Dispose();
    }

    [Fact]
    public void TryPrepare_Ipv4Udp_LeavesPseudoHeaderSumAndZero()
    {
        Mbuf m = Packet(ipv6: false, payload: 33);
        Assert.True(ChecksumOffload.TryPrepare(m));
        ref IPv4Header ip = ref m.Data.HeaderAt<IPv4Header>(14);
        Assert.Equal(0, ip.Checksum.Value);
        Assert.Equal(Checksum.PseudoHeader(in ip, 41), m.Data.HeaderAt<UdpHeader>(34).Checksum.Raw);
        m.Free();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TryComplete_ChainOfOddSegments_MakesThePacketVerify(bool ipv6)
    {
        Mbuf m = Packet(ipv6, payload: 33), tail = Tail(77);
        Assert.True(m.TryChain(tail));
        int l3 = ipv6 ? 40 : 20, l4Bytes = 8 + 33 + 77;
        SetLengths(m, ipv6, l4Bytes);
        Assert.True(ChecksumOffload.TryComplete(m));
        Assert.Equal(MbufFlags.None, m.Flags & (MbufFlags.TxL4ChecksumMask | MbufFlags.TxIpChecksum));
        byte[] flat = new byte[m.PacketLength];
        Assert.Equal(flat.Length, m.CopyTo(flat));
        Span<byte> bytes = flat;
        Assert.True(ipv6
            ? Checksum.VerifyUdpTcp(in bytes.HeaderAt<IPv6Header>(14), IPProtocols.Udp, bytes[(14 + l3)..])
            : Checksum.VerifyUdpTcp(in bytes.HeaderAt<IPv4Header>(14), bytes[34..])
                && Checksum.VerifyIPv4(bytes.Slice(14, 20)) && bytes.HeaderAt<UdpHeader>(34).Checksum != 0);
        m.Free();
    }

    [Fact]
    public void TryPrepare_Segmentation_LeavesTheLengthOut()
    {
        Mbuf m = Packet(ipv6: false, payload: 100);
        m.Flags = MbufFlags.TxIpv4 | MbufFlags.TxIpChecksum | MbufFlags.TxTcpSegment | MbufFlags.TxTcpChecksum;
        m.Data.HeaderAt<IPv4Header>(14).Protocol = IPProtocols.Tcp;
        m.SetTxOffload(14, 20, 20, 536);
        Assert.True(ChecksumOffload.TryPrepare(m));
        ref IPv4Header ip = ref m.Data.HeaderAt<IPv4Header>(14);
        Assert.Equal(Checksum.PseudoHeader(in ip, 0), m.Data.HeaderAt<TcpHeader>(34).Checksum.Raw);
        Assert.False(ChecksumOffload.TryComplete(m));
        m.Free();
    }

    [Fact]
    public void TryPrepare_Tunnel_SeedsOuterAndInner()
    {
        Mbuf m = Packet(ipv6: false, payload: 0);
        byte[] inner = m.Data.ToArray();
        Assert.True(m.TryAppend(8 + inner.Length, out Span<byte> added));
        inner.CopyTo(added[8..]);       // ether ip udp | vxlan | ether ip udp
        m.Flags |= MbufFlags.TxOuterIpv4 | MbufFlags.TxOuterIpChecksum | MbufFlags.TxOuterUdpChecksum
            | MbufFlags.TxTunnelVxlan;
        m.SetTxOffload(8 + 8 + 14, 20, 8, 0, 14, 20);
        Assert.True(ChecksumOffload.TryPrepare(m));
        int innerIp = 42 + 8 + 14;
        foreach (int l3 in (int[])[14, innerIp])
        {
            ref IPv4Header ip = ref m.Data.HeaderAt<IPv4Header>(l3);
            Assert.Equal(0, ip.Checksum.Value);
            Assert.Equal(Checksum.PseudoHeader(in ip, 8), m.Data.HeaderAt<UdpHeader>(l3 + 20).Checksum.Raw);
        }
        m.Free();
    }

    [Fact]
    public void TryPrepare_LengthsBeyondTheData_RefusesAndChangesNothing()
    {
        Mbuf m = Packet(ipv6: false, payload: 0);
        byte[] before = m.Data.ToArray();
        for (int l2 = 0; l2 < 128; l2 += 3)
            for (int l3 = 0; l3 < 512; l3 += 5)
            {
                m.SetTxOffload(l2, l3, 8);
                if (l2 + l3 + 8 <= m.DataLength && l3 >= 20)
                    continue;
                Assert.False(ChecksumOffload.TryPrepare(m));
                Assert.False(ChecksumOffload.TryComplete(m));
                Assert.Equal(before, m.Data);
            }
        m.Flags = MbufFlags.None;
        Assert.True(ChecksumOffload.TryPrepare(m));
        Assert.Equal(before, m.Data);
        m.Free();
    }

    [Fact]
    public void TryComplete_IpChecksumAloneWithTooShortALength_RefusesAndThrowsNothing()
    {
        Mbuf m = Packet(ipv6: false, payload: 0);
        m.Flags = MbufFlags.TxIpv4 | MbufFlags.TxIpChecksum;
        for (int l3 = 0; l3 < 24; l3++)
        {
            m.SetTxOffload(14, l3, 0);
            Assert.Equal(l3 >= 20, ChecksumOffload.TryPrepare(m));
        }
        m.SetTxOffload(14, 0, 0);
        Assert.False(ChecksumOffload.TryComplete(m));
        m.Free();
    }

    private Mbuf Packet(bool ipv6, int payload)
    {
        var (a, b) = (MacAddress.Local(1), MacAddress.Local(2));
        PacketTemplate template = ipv6
            ? PacketTemplate.Udp6(a, b, IPv6Address.Parse("2001:db8::1"), IPv6Address.Parse("2001:db8::2"), 1, 2,
                62 + payload)
            : PacketTemplate.Udp4(a, b, new IPv4Address(10, 0, 0, 1), new IPv4Address(10, 0, 0, 2), 1, 2, 42 + payload);
        Assert.True(_pool.TryAlloc(out Mbuf m));
        Assert.True(m.TryAppend(template.Length, out Span<byte> data));
        template.CopyTo(data);
        new Random(payload).NextBytes(data[template.HeaderBytes..]);
        m.Flags = MbufFlags.TxUdpChecksum | (ipv6 ? MbufFlags.TxIpv6 : MbufFlags.TxIpv4 | MbufFlags.TxIpChecksum);
        m.SetTxOffload(14, ipv6 ? 40 : 20, 8);
        return m;
    }

    private Mbuf Tail(int bytes)
    {
        Assert.True(_pool.TryAlloc(out Mbuf m));
        Assert.True(m.TryAppend(bytes, out Span<byte> data));
        new Random(bytes).NextBytes(data);
        return m;
    }

    private static void SetLengths(Mbuf m, bool ipv6, int l4Bytes)
    {
        if (ipv6)
            m.Data.HeaderAt<IPv6Header>(14).PayloadLength = (ushort)l4Bytes;
        else
            m.Data.HeaderAt<IPv4Header>(14).TotalLength = (ushort)(20 + l4Bytes);
        m.Data.HeaderAt<UdpHeader>(ipv6 ? 54 : 34).Length = (ushort)l4Bytes;
    }
}
