namespace Dataplane.Tests;

/// <summary>What igb and e1000e write for packets with offloads, bit by bit as the datasheets have it.</summary>
public sealed unsafe class IntelTransmitTests
{
    private static readonly PortConfig s_all = new()
    {
        TxOffloads = TxOffloads.VlanInsert | TxOffloads.Ipv4Checksum | TxOffloads.TcpChecksum | TxOffloads.UdpChecksum
            | TxOffloads.TcpTso | TxOffloads.MultiSegments,
    };

    [Theory]
    [InlineData("igb", 0x2b300000ul | 1 << 24, 60ul << 14)]
    [InlineData("e1000e", 0x0b000000ul, 0ul)]
    public void Plain_OnePacket_IsOneDescriptor(string driver, ulong command, ulong high)
    {
        using IntelRig rig = IntelRig.Create(driver, s_all);
        Mbuf[] packets = rig.Make(1);
        ulong data = (ulong)packets[0].DataPointer;
        Assert.Equal(1, rig.Tx.TxBurst(packets));
        rig.Model.Send();
        Assert.Equal([(data, command | 60 | high << 32)], rig.Model.Descriptors);
    }

    [Theory]
    [InlineData("igb")]
    [InlineData("e1000e")]
    public void Burst_ManyPackets_IsReportedSeldom(string driver)
    {
        using IntelRig rig = IntelRig.Create(driver);
        Assert.Equal(50, rig.Tx.TxBurst(rig.Make(50)));
        rig.Model.Send();
        Assert.Equal(2, rig.Model.Reports);              // the 32nd and the last
        Assert.Equal(50, rig.Tx.ReclaimTx());
    }

    /// <summary>Plain packets, some with a context before them, some of several segments: all are sent as they are and
    /// come back, freed with a look or without.</summary>
    [Theory]
    [InlineData("igb", false)]
    [InlineData("igb", true)]
    [InlineData("e1000e", false)]
    [InlineData("e1000e", true)]
    public void Burst_AnyMix_IsSentInOrderAndFreed(string driver, bool fastFree)
    {
        using IntelRig rig = IntelRig.Create(driver, s_all with
        {
            TxOffloads = s_all.TxOffloads | (fastFree ? TxOffloads.FastFree : 0),
        });
        var random = new Random(11);
        int made = 0, seen = 0;
        for (int round = 0; round < 3000; round++)
        {
            var packets = new Mbuf[random.Next(1, 40)];
            if (rig.Pool.AvailableCount < 3 * packets.Length)
                packets = [];
            for (int i = 0; i < packets.Length; i++)
                packets[i] = Any(made + i);
            int sent = rig.Tx.TxBurst(packets);
            made += sent;
            foreach (Mbuf left in packets.AsSpan(sent))
                left.Free();
            rig.Model.Send(random.Next(60));
            for (; rig.Model.Wire.TryDequeue(out byte[]? frame); seen++)
                Assert.Equal(seen, BitConverter.ToInt32(frame, 14));
        }
        rig.Model.Send();
        Assert.InRange(made, 20_000, int.MaxValue);
        Assert.Equal(made, seen + rig.Model.Wire.Count);
        rig.Port.Stop();
        Assert.Equal(IntelRig.PoolSize, rig.Pool.AvailableCount);

        Mbuf Any(int number)
        {
            Mbuf packet = rig.Make(1, 100)[0];
            BitConverter.TryWriteBytes(packet.Data[14..], number);
            int kind = random.Next(12);
            if (kind == 0)
                (packet.Flags, packet.VlanTci) = (MbufFlags.TxVlan, 5);
            else if (kind == 1)
                Assert.True(packet.TryChain(rig.Make(1, 100)[0]));
            return packet;
        }
    }

    [Fact]
    public void Igb_TcpSegmentation_HasContextAndPayload()
    {
        using IntelRig rig = IntelRig.Create("igb", s_all);
        Mbuf packet = Tcp(rig, 1054);
        packet.Flags = MbufFlags.TxIpv4 | MbufFlags.TxIpChecksum | MbufFlags.TxTcpSegment | MbufFlags.TxVlan;
        packet.VlanTci = 0x3007;
        packet.SetTxOffload(14, 20, 20, 500);
        Assert.Equal(1, rig.Tx.TxBurst([packet]));
        rig.Model.Send();
        Assert.Equal(2, rig.Model.Descriptors.Count);
        (ulong low, ulong high) = rig.Model.Descriptors[0];
        Assert.Equal(0x3007_1c14ul, low);                                    // tag, MACLEN 14 << 9, IPLEN 20
        Assert.Equal(0x2020_0c00ul | (500ul << 16 | 20 << 8) << 32, high);   // context, IPv4, TCP; MSS, L4LEN
        ulong data = rig.Model.Descriptors[1].High;
        Assert.Equal(0xeb30_0000ul | 1054, data & 0xffff_ffff);              // TSE, VLE, DEXT, RS, IFCS, EOP, data
        Assert.Equal((ulong)(1000 << 14 | 0x300), data >> 32);               // payload, both checksums
    }

    [Fact]
    public void Igb_SameOffloadAgain_NeedsNoSecondContext()
    {
        using IntelRig rig = IntelRig.Create("igb", s_all);
        for (int i = 0; i < 3; i++)
        {
            Mbuf packet = Tcp(rig, 200 + i);
            packet.Flags = MbufFlags.TxIpv4 | MbufFlags.TxIpChecksum | MbufFlags.TxTcpChecksum;
            packet.SetTxOffload(14, i == 2 ? 24 : 20);
            Assert.Equal(1, rig.Tx.TxBurst([packet]));
        }
        rig.Model.Send();
        Assert.Equal(5, rig.Model.Descriptors.Count);    // two contexts
        rig.Port.Stop();
        rig.Port.Start();
    }

    [Fact]
    public void E1000e_UdpChecksum_HasContextAndOffsets()
    {
        using IntelRig rig = IntelRig.Create("e1000e", s_all);
        Mbuf packet = Tcp(rig, 100);
        packet.Flags = MbufFlags.TxIpv4 | MbufFlags.TxIpChecksum | MbufFlags.TxUdpChecksum;
        packet.SetTxOffload(14, 20);
        Assert.Equal(1, rig.Tx.TxBurst([packet]));
        rig.Model.Send();
        (ulong low, ulong high) = rig.Model.Descriptors[0];
        Assert.Equal(14ul | 24 << 8 | 33 << 16 | (34ul | 40 << 8) << 32, low);
        Assert.Equal(1ul << 29 | 1 << 25, high);                             // context: IP; not TCP, not segmented
        ulong data = rig.Model.Descriptors[1].High;
        Assert.Equal(0x2b10_0000ul | 100, data & 0xffff_ffff);
        Assert.Equal(0x300ul, data >> 32);
    }

    [Fact]
    public void E1000e_TcpSegmentation_HasPayloadAndHeaders()
    {
        using IntelRig rig = IntelRig.Create("e1000e", s_all);
        Mbuf packet = Tcp(rig, 1054);
        packet.Flags = MbufFlags.TxIpv6 | MbufFlags.TxTcpSegment;
        packet.SetTxOffload(14, 40, 20, 400);
        Assert.Equal(1, rig.Tx.TxBurst([packet]));
        rig.Model.Send();
        (ulong low, ulong high) = rig.Model.Descriptors[0];
        Assert.Equal(14ul | 24 << 8 | 53 << 16 | (54ul | 70 << 8) << 32, low);
        Assert.Equal(0x2500_0000ul | 980 | (74ul << 8 | 400 << 16) << 32, high);
        Assert.Equal(0x2f10_0000ul | 1054 | 0x200ul << 32, rig.Model.Descriptors[1].High);
    }

    [Fact]
    public void E1000e_Tag_NeedsNoContext()
    {
        using IntelRig rig = IntelRig.Create("e1000e", s_all);
        Mbuf[] packets = rig.Make(1);
        packets[0].Flags = MbufFlags.TxVlan;
        packets[0].VlanTci = 9;
        Assert.Equal(1, rig.Tx.TxBurst(packets));
        rig.Model.Send();
        Assert.Equal(0x4b00_0000ul | 60 | 9ul << 48, Assert.Single(rig.Model.Descriptors).High);
    }

    [Theory]
    [InlineData("igb")]
    [InlineData("e1000e")]
    public void Segments_Several_AreOneFrame(string driver)
    {
        using IntelRig rig = IntelRig.Create(driver, s_all);
        Mbuf[] parts = rig.Make(3, 100);
        Assert.True(parts[0].TryChain(parts[1]));
        Assert.True(parts[0].TryChain(parts[2]));
        byte[] whole = DriverRig.BytesOf(parts[0]);
        Assert.Equal(1, rig.Tx.TxBurst(parts.AsSpan(0, 1)));
        rig.Model.Send();
        Assert.Equal(whole, Assert.Single(rig.Model.Wire));
        Assert.Equal([0ul, 0ul, 1ul], rig.Model.Descriptors.Select(d => d.High >> 24 & 1));
        Assert.Equal(1, rig.Tx.ReclaimTx());
        Assert.Equal(300ul, rig.Port.GetStats().TxBytes);
    }

    [Theory]
    [InlineData(MbufFlags.TxIpv4 | MbufFlags.TxTcpSegment, 14, 20, 20, 0)]       // no segment size
    [InlineData(MbufFlags.TxIpv4 | MbufFlags.TxTcpChecksum, 0, 20, 20, 0)]       // no L2 header
    [InlineData(MbufFlags.TxIpv4 | MbufFlags.TxTcpChecksum, 40, 60, 0, 0)]       // headers longer than the packet
    [InlineData(MbufFlags.TxIpv4 | MbufFlags.TxSctpChecksum, 14, 20, 0, 0)]      // never claimed
    [InlineData(MbufFlags.TxUdpSegment | MbufFlags.TxIpv4, 14, 20, 8, 100)]      // never claimed
    public void Impossible_Requests_AreCountedAndFreed(MbufFlags flags, int l2, int l3, int l4, int size)
    {
        foreach (string driver in (string[])["igb", "e1000e"])
        {
            using IntelRig rig = IntelRig.Create(driver, s_all);
            Mbuf[] packets = rig.Make(2, 90);
            packets[0].Flags = flags;
            packets[0].SetTxOffload(l2, l3, l4, size);
            Assert.Equal(0, rig.Tx.TxPrepare(packets));
            Assert.Equal(2, rig.Tx.TxBurst(packets));
            PortStats stats = rig.Port.GetStats();
            Assert.Equal((1ul, 1ul, 90ul), (stats.TxPackets, stats.TxErrors, stats.TxBytes));
            rig.Port.Stop();
            Assert.Equal(IntelRig.PoolSize, rig.Pool.AvailableCount);
        }
    }

    [Theory]
    [InlineData("igb")]
    [InlineData("e1000e")]
    public void Full_Ring_TakesWhatFitsAndGoesOn(string driver)
    {
        using IntelRig rig = IntelRig.Create(driver);
        Mbuf[] packets = rig.Make(100);
        Assert.Equal(63, rig.Tx.TxBurst(packets));
        Assert.Equal(0, rig.Tx.TxBurst(packets.AsSpan(63)));
        rig.Model.Send();
        Assert.Equal(37, rig.Tx.TxBurst(packets.AsSpan(63)));
        rig.Model.Send();
        Assert.Equal(100, rig.Model.Wire.Count);
    }

    private static Mbuf Tcp(IntelRig rig, int bytes)
    {
        Mbuf packet = rig.Make(1, bytes)[0];
        packet.Data[14] = 0x45;
        return packet;
    }
}
