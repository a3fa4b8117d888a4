using Dataplane.Net;

namespace Dataplane.Tests;

/// <summary>Checksums looked at and filled in, and large TCP packets cut.</summary>
public abstract unsafe partial class DriverContract
{
    [Fact]
    public void RxChecksum_GoodAndBad_AreToldApart()
    {
        using DriverRig rig = Rig();
        const RxOffloads All = RxOffloads.Ipv4Checksum | RxOffloads.UdpChecksum | RxOffloads.TcpChecksum;
        RxOffloads claimed = rig.Receiver.Info.RxOffloads & All;
        if (claimed == 0 || MakesItsOwn)
            return;
        rig.Start(new PortConfig(), new PortConfig { RxOffloads = claimed });
        foreach (TestFrame frame in ChecksumFrames())
        {
            List<Mbuf> arrived = rig.Through(rig.Packet(frame.Build()));
            Assert.True(arrived.Count == 1, $"{frame} did not arrive");
            MbufFlags flags = arrived[0].Flags;
            arrived[0].Free();
            RxOffloads l4 = frame.Tcp ? RxOffloads.TcpChecksum : RxOffloads.UdpChecksum;
            AssertChecksum(frame, "L4", flags & MbufFlags.RxL4ChecksumMask, frame.BadL4Checksum,
                MbufFlags.RxL4ChecksumGood, MbufFlags.RxL4ChecksumBad, (claimed & l4) != 0 && !frame.BadIpChecksum);
            AssertChecksum(frame, "IP", flags & MbufFlags.RxIpChecksumMask, frame.BadIpChecksum,
                MbufFlags.RxIpChecksumGood, MbufFlags.RxIpChecksumBad,
                (claimed & RxOffloads.Ipv4Checksum) != 0 && !frame.V6);
        }
    }

    [Fact]
    public void TxChecksum_AskedFor_IsFilledIn()
    {
        using DriverRig rig = Rig();
        const TxOffloads All = TxOffloads.Ipv4Checksum | TxOffloads.UdpChecksum | TxOffloads.TcpChecksum;
        TxOffloads claimed = rig.Sender.Info.TxOffloads & All;
        if (claimed == 0 || MakesItsOwn)
            return;
        rig.Start(new PortConfig { TxOffloads = claimed }, new PortConfig());
        foreach (TestFrame frame in ChecksumFrames().Where(frame => !frame.BadL4Checksum && !frame.BadIpChecksum))
        {
            byte[] right = frame.Build();
            Mbuf packet = rig.Packet(right);
            MbufFlags flags = frame.V6 ? MbufFlags.TxIpv6 : MbufFlags.TxIpv4;
            if ((claimed & TxOffloads.Ipv4Checksum) != 0 && !frame.V6)
                flags |= MbufFlags.TxIpChecksum;
            if ((claimed & (frame.Tcp ? TxOffloads.TcpChecksum : TxOffloads.UdpChecksum)) != 0)
                flags |= frame.Tcp ? MbufFlags.TxTcpChecksum : MbufFlags.TxUdpChecksum;
            packet.Flags |= flags;
            packet.SetTxOffload(frame.L2Bytes, frame.L3Bytes, frame.L4Bytes);
            Assert.True(ChecksumOffload.TryPrepare(packet));
            Assert.True(flags is MbufFlags.TxIpv4 or MbufFlags.TxIpv6 || !packet.Data.SequenceEqual(right));
            List<Mbuf> arrived = rig.Through(packet);
            Assert.True(arrived.Count == 1, $"{frame} did not arrive");
            Assert.True(DriverRig.BytesOf(arrived[0]).AsSpan().SequenceEqual(right), $"{frame}: a checksum is wrong");
            arrived[0].Free();
        }
    }

    [Theory]
    [InlineData(false, 1000)]
    [InlineData(true, 1420)]
    public void Tso_LargePacket_ArrivesInRightSegments(bool v6, int segmentBytes)
    {
        using DriverRig rig = Rig();
        const TxOffloads Wanted = TxOffloads.TcpTso | TxOffloads.TcpChecksum | TxOffloads.MultiSegments;
        TxOffloads claimed = rig.Sender.Info.TxOffloads;
        if ((claimed & TxOffloads.TcpTso) == 0)
            return;
        Assert.Equal(Wanted, claimed & Wanted);
        rig.Start(new PortConfig { TxOffloads = Wanted | claimed & TxOffloads.Ipv4Checksum }, new PortConfig());
        var frame = new TestFrame(9) { Tcp = true, V6 = v6, PayloadBytes = 7777 };
        byte[] whole = frame.Build();
        Mbuf packet = rig.Packet(whole);
        packet.Flags |= MbufFlags.TxTcpSegment | MbufFlags.TxTcpChecksum
            | (v6 ? MbufFlags.TxIpv6 : MbufFlags.TxIpv4 | MbufFlags.TxIpChecksum);
        packet.SetTxOffload(frame.L2Bytes, frame.L3Bytes, frame.L4Bytes, segmentBytes);
        Assert.True(ChecksumOffload.TryPrepare(packet));
        List<Mbuf> arrived = rig.Through(packet);
        byte[][] segments = [.. arrived.Select(DriverRig.BytesOf)];
        Mbuf.FreeBulk([.. arrived]);
        Assert.Equal((frame.PayloadBytes + segmentBytes - 1) / segmentBytes, segments.Length);
        for (int i = 0; i < segments.Length; i++)
            Assert.Equal(ExpectedSegment(whole, frame, segmentBytes, i), segments[i]);
    }

    // RFC 9293 §3.1; what is for the last segment alone (FIN, PSH) is in no other.
    private byte[] ExpectedSegment(byte[] whole, TestFrame frame, int segmentBytes, int index)
    {
        int at = index * segmentBytes, bytes = Math.Min(segmentBytes, frame.PayloadBytes - at);
        byte[] segment = [.. whole[..frame.HeaderBytes], .. whole.AsSpan(frame.HeaderBytes + at, bytes)];
        Span<byte> l3 = segment.AsSpan(frame.L2Bytes), l4 = l3[frame.L3Bytes..];
        ref TcpHeader tcp = ref l4.HeaderAt<TcpHeader>();
        tcp.Sequence = tcp.Sequence + (uint)at;
        if (at + bytes < frame.PayloadBytes || !LastSegmentIsMarked)
            tcp.Flags &= ~(TcpFlags.Fin | TcpFlags.Psh);
        tcp.Checksum = 0;
        if (frame.V6)
        {
            ref IPv6Header ip = ref l3.HeaderAt<IPv6Header>();
            ip.PayloadLength = (ushort)l4.Length;
            tcp.Checksum = Checksum.UdpTcp(in ip, IPProtocols.Tcp, l4);
        }
        else
        {
            ref IPv4Header ip = ref l3.HeaderAt<IPv4Header>();
            ip.TotalLength = (ushort)(l3.Length);
            ip.Identification = (ushort)(ip.Identification + index);
            ip.Checksum = Checksum.IPv4(in ip);
            tcp.Checksum = Checksum.UdpTcp(in ip, l4);
        }
        return segment;
    }

    private static IEnumerable<TestFrame> ChecksumFrames()
    {
        foreach (bool v6 in (bool[])[false, true])
            foreach (bool tcp in (bool[])[false, true])
                foreach (int payload in (int[])[40, 41, 1000])
                {
                    var good = new TestFrame(payload & 63) { V6 = v6, Tcp = tcp, PayloadBytes = payload };
                    yield return good;
                    yield return good with { BadL4Checksum = true };
                    if (!v6)
                        yield return good with { BadIpChecksum = true };
                }
    }

    private void AssertChecksum(TestFrame frame, string layer, MbufFlags said, bool isBad, MbufFlags good,
        MbufFlags bad, bool mustSay)
    {
        MbufFlags right = isBad ? bad : good, wrong = isBad ? good : bad;
        Assert.True(said != wrong, $"{frame}: {layer} checksum said to be {wrong}");
        if (SaysEveryChecksum && mustSay)
            Assert.True(said == right, $"{frame}: {layer} checksum said to be {said}, not {right}");
    }
}
