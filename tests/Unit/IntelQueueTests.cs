using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Rings of igb and e1000e against a device of plain memory.</summary>
public sealed unsafe class IntelQueueTests
{
    private const uint Vlan = 8, UdpChecked = 0x10, L4Checked = 0x20, IpChecked = 0x40, L4Error = 1 << 29,
        IpError = 1 << 30, Stamped = 1 << 16;

    [Theory]
    [InlineData("igb")]
    [InlineData("e1000e")]
    public void Traffic_ManyTimesAroundTheRing_ArrivesInOrderAndNothingStays(string driver)
    {
        using IntelRig rig = IntelRig.Create(driver);
        var random = new Random(3);
        var burst = new Mbuf[64];
        int sent = 0, received = 0;
        ulong bytes = 0;
        for (int round = 0; round < 2000; round++)
        {
            int count = random.Next(1, 33);
            if (rig.Pool.AvailableCount >= count)
            {
                Mbuf[] packets = rig.Make(count, 60 + round % 1400);
                for (int i = 0; i < count; i++)
                    *(int*)packets[i].DataPointer = sent + i;
                int taken = rig.Tx.TxBurst(packets);
                Mbuf.FreeBulk(packets.AsSpan(taken));
                sent += taken;
                bytes += (ulong)taken * (uint)(60 + round % 1400);
            }
            rig.Model.Send(random.Next(80));
            if (random.Next(3) != 0)
                rig.Model.Receive();
            int got = rig.Rx.RxBurst(burst.AsSpan(0, random.Next(1, 65)));
            for (int i = 0; i < got; i++)
            {
                Assert.Equal(received++, *(int*)burst[i].DataPointer);
                Assert.Equal((7, 1), (burst[i].Port, burst[i].SegmentCount));
                Assert.True(burst[i].Check(true, out string? reason), reason);
            }
            Mbuf.FreeBulk(burst.AsSpan(0, got));
            if (random.Next(20) == 0)
                rig.Tx.ReclaimTx(random.Next(3));
        }
        Assert.InRange(sent, 10_000, int.MaxValue);
        Assert.InRange(received, sent - 200, sent);
        Assert.Equal(bytes, rig.Port.GetStats().TxBytes);
        Assert.InRange(rig.Model.Reports, 1, sent / 4);
        rig.Port.Stop();
        Assert.Equal(IntelRig.PoolSize, rig.Pool.AvailableCount);
    }

    [Theory]
    [InlineData("igb")]
    [InlineData("e1000e")]
    public void Receive_PoolRunsDry_StopsAndGoesOnWithoutRepeating(string driver)
    {
        using IntelRig rig = IntelRig.Create(driver, poolSize: 64 + 40);
        var held = new Queue<Mbuf>();
        var burst = new Mbuf[32];
        int next = 0, seen = 0;
        for (int round = 0; round < 200; round++)
        {
            for (int i = 0; i < 16; i++)
                rig.Model.Wire.Enqueue(BitConverter.GetBytes(next++).Concat(new byte[56]).ToArray());
            rig.Model.Receive();
            int got = rig.Rx.RxBurst(burst);
            for (int i = 0; i < got; i++)
            {
                Assert.Equal(seen++, *(int*)burst[i].DataPointer);
                held.Enqueue(burst[i]);
            }
            if (round % 10 == 9)
                while (held.TryDequeue(out Mbuf packet))
                    packet.Free();
        }
        Assert.InRange(rig.Port.GetStats().RxNoMbuf, 1ul, ulong.MaxValue);
        Assert.InRange(seen, 500, next);
        Mbuf.FreeBulk([.. held]);
        rig.Port.Stop();
        Assert.Equal(104, rig.Pool.AvailableCount);
    }

    [Theory]
    [InlineData("igb")]
    [InlineData("e1000e")]
    public void Start_PoolHasTooFew_BeginsWithThoseAndTakesTheOthersLater(string driver)
    {
        using IntelRig rig = IntelRig.Create(driver, poolSize: 100);
        rig.Port.Stop();
        var all = new Mbuf[100];
        foreach (int left in (int[])[40, 0])
        {
            Assert.True(rig.Pool.TryAllocBulk(all.AsSpan(left)));
            rig.Port.Start();
            Assert.Equal(left % 32, rig.Pool.AvailableCount);
            Mbuf.FreeBulk(all.AsSpan(left));
            var burst = new Mbuf[64];
            Assert.Equal(0, rig.Rx.RxBurst(burst));
            Assert.Equal(36, rig.Pool.AvailableCount);
            rig.Port.Stop();
            Assert.Equal(100, rig.Pool.AvailableCount);
        }
    }

    [Theory]
    [InlineData("igb")]
    [InlineData("e1000e")]
    public void Receive_LongFrame_IsOneChain(string driver)
    {
        using IntelRig rig = IntelRig.Create(driver, new PortConfig { RxOffloads = RxOffloads.Scatter, Mtu = 9000 });
        byte[] frame = IntelRig.Frame(5000, 1);
        rig.Model.Wire.Enqueue(frame);
        rig.Model.Receive(info: 0x1234_5678ul << 32 | 1, status: Vlan, tag: 5);
        var burst = new Mbuf[4];
        Assert.Equal(1, rig.Rx.RxBurst(burst));
        Assert.Equal((3, 5000, 0x1234_5678u, (ushort)5),
            (burst[0].SegmentCount, burst[0].PacketLength, burst[0].RssHash, burst[0].VlanTci));
        Assert.Equal(frame, DriverRig.BytesOf(burst[0]));
        Assert.Equal(5000ul, rig.Port.GetStats().RxBytes);
        burst[0].Free();
    }

    [Theory]
    [InlineData("igb")]
    [InlineData("e1000e")]
    public void Receive_LongFrameWithoutScatter_IsAnError(string driver)
    {
        using IntelRig rig = IntelRig.Create(driver);
        rig.Model.Wire.Enqueue(IntelRig.Frame(3000, 1));
        rig.Model.Wire.Enqueue(IntelRig.Frame(100, 2));
        rig.Model.Receive();
        var burst = new Mbuf[4];
        Assert.Equal(1, rig.Rx.RxBurst(burst));
        Assert.Equal(100, burst[0].PacketLength);
        PortStats stats = rig.Port.GetStats();
        Assert.Equal((1ul, 100ul, 1ul), (stats.RxPackets, stats.RxBytes, stats.RxErrors));
        burst[0].Free();
    }

    [Theory]
    [InlineData(IpChecked | L4Checked, MbufFlags.RxIpChecksumGood | MbufFlags.RxL4ChecksumGood)]
    [InlineData(IpChecked | IpError, MbufFlags.RxIpChecksumBad)]
    [InlineData(L4Checked | UdpChecked | L4Error, MbufFlags.RxL4ChecksumBad)]
    [InlineData(Vlan, MbufFlags.RxVlan | MbufFlags.RxVlanStripped)]
    [InlineData(IpChecked | L4Checked | IpError | 4, MbufFlags.None)]
    [InlineData(0u, MbufFlags.None)]
    public void Receive_Status_BecomesFlags(uint status, MbufFlags flags)
    {
        foreach (string driver in (string[])["igb", "e1000e"])
        {
            using IntelRig rig = IntelRig.Create(driver, new PortConfig
            {
                RxOffloads = RxOffloads.VlanStrip | RxOffloads.Ipv4Checksum | RxOffloads.TcpChecksum
                    | RxOffloads.RssHash,
            });
            rig.Model.Wire.Enqueue(new byte[60]);
            rig.Model.Receive(status, info: 3, tag: 0x2005);
            var burst = new Mbuf[1];
            Assert.Equal(1, rig.Rx.RxBurst(burst));
            Assert.Equal(flags | MbufFlags.RxRssHash, burst[0].Flags);
            Assert.Equal(0x2005, burst[0].VlanTci);
            burst[0].Free();
        }
    }

    [Theory]
    [InlineData("igb", 0x0110ul, 0u, PacketType.L2Ether | PacketType.L3Ipv4 | PacketType.L4Tcp)]
    [InlineData("igb", 0x0240ul, 0u, PacketType.L2Ether | PacketType.L3Ipv6 | PacketType.L4Udp)]
    [InlineData("igb", 0x8030ul, 0u, PacketType.L2EtherTimesync)]
    [InlineData("igb", 0x0000ul, 0u, PacketType.L2Ether)]
    [InlineData("e1000e", 0ul, 2u << 16 | L4Checked,
        PacketType.L2Ether | PacketType.L3Ipv4ExtUnknown | PacketType.L4Tcp)]
    [InlineData("e1000e", 0ul, 6u << 16 | L4Checked | UdpChecked,
        PacketType.L2Ether | PacketType.L3Ipv6ExtUnknown | PacketType.L4Udp)]
    [InlineData("e1000e", 0ul, 1u << 16, PacketType.L2Ether | PacketType.L3Ipv4ExtUnknown)]
    public void Receive_Types_AreThoseOfTheDevice(string driver, ulong info, uint status, uint type)
    {
        using IntelRig rig = IntelRig.Create(driver);
        rig.Model.Wire.Enqueue(new byte[60]);
        rig.Model.Receive(status, info);
        var burst = new Mbuf[1];
        Assert.Equal(1, rig.Rx.RxBurst(burst));
        Assert.Equal(PacketType.GetName(type), PacketType.GetName(burst[0].PacketType));
        burst[0].Free();
    }

    /// <summary>The vector path gives what the scalar one gives, whatever the device writes.</summary>
    [Theory]
    [InlineData("igb", false)]
    [InlineData("e1000e", false)]
    [InlineData("igb", true)]
    [InlineData("e1000e", true)]
    public void Receive_RandomDescriptors_VectorsEqualTheScalarTwin(string driver, bool restoresTags)
    {
        for (int seed = 0; seed < 6; seed++)
        {
            var config = new PortConfig
            {
                RxOffloads = RxOffloads.Scatter | (seed % 2 == 0 ? RxOffloads.RssHash | RxOffloads.Timestamp : 0)
                    | (seed % 3 != 0 ? RxOffloads.VlanStrip | RxOffloads.Ipv4Checksum | RxOffloads.UdpChecksum : 0),
                Mtu = 9000,
            };
            IntelRing.UseVectors = false;
            using IntelRig scalar = IntelRig.Create(driver, config, restoresTags: restoresTags, stamp: 99);
            IntelRing.UseVectors = true;
            using IntelRig vector = IntelRig.Create(driver, config, restoresTags: restoresTags, stamp: 99);
            Assert.Contains("scalar", scalar.Rx.BurstMode);
            Assert.SkipUnless(vector.Rx.BurstMode.Contains("vector"), "this CPU has no SSE 4.1");
            var random = new Random(seed);
            for (int round = 0; round < 100; round++)
            {
                bool usual = random.Next(3) != 0;    // long runs of plain packets, and all sorts between them
                for (int i = random.Next(12); i > 0; i--)
                    Deliver(random, usual, scalar, vector);
                int most = random.Next(1, 40);
                List<string> expected = Take(scalar, most), got = Take(vector, most);
                Assert.Equal(expected, got);
            }
            Assert.Equal(Told(scalar), Told(vector));
        }

        static string Told(IntelRig rig) => rig.Port.GetStats() is { } stats
            ? $"{stats.RxPackets} {stats.RxBytes} {stats.RxErrors} {stats.RxNoMbuf} {rig.Pool.AvailableCount}" : "";
    }

    private static void Deliver(Random random, bool usual, params IntelRig[] rigs)
    {
        const uint Any = Vlan | UdpChecked | L4Checked | IpChecked | L4Error | IpError | 4 | 0xf << 16;
        byte[] frame = IntelRig.Frame(usual || random.Next(4) != 0 ? random.Next(60, 1500) : random.Next(2000, 7000),
            random.Next(256));
        uint status = (uint)random.Next() * 2 & (usual ? Any & ~(Vlan | Stamped) : Any);
        ulong info = (ulong)random.NextInt64();
        var tag = (ushort)random.Next(65536);
        foreach (IntelRig rig in rigs)
        {
            rig.Model.Wire.Enqueue(frame);
            rig.Model.Receive(status, info, tag);
        }
    }

    /// <summary>All that is told of each packet received.</summary>
    private static List<string> Take(IntelRig rig, int most)
    {
        var burst = new Mbuf[most];
        int got = rig.Rx.RxBurst(burst);
        MbufField<ulong> stamp = MbufDynamic.RegisterField<ulong>(rig.Eal.Memory, MbufDynamic.TimestampField);
        var told = new List<string>();
        foreach (Mbuf packet in burst.AsSpan(0, got))
        {
            MbufHeader* m = packet.Header;
            bool stamped = (m->OlFlags & MbufFlags.RxIeee1588Ptp) != 0;
            told.Add($"{m->DataOff} {m->RefCnt} {m->NbSegs} {m->Port} {m->OlFlags:x} {m->PacketType:x} {m->PktLen} "
                + $"{m->DataLen} {m->VlanTci:x} {m->RssHash:x} {(stamped ? stamp.Of(packet) : 0)} "
                + Convert.ToHexString(DriverRig.BytesOf(packet).AsSpan(0, 40)));
            packet.Free();
        }
        return told;
    }

    [Fact]
    public void Receive_TagTakenOutUnasked_IsPutBack()
    {
        using IntelRig rig = IntelRig.Create("e1000e", restoresTags: true);
        byte[] frame = IntelRig.Frame(60, 0);
        rig.Model.Wire.Enqueue(frame);
        rig.Model.Receive(Vlan, tag: 0x6064);
        var burst = new Mbuf[1];
        Assert.Equal(1, rig.Rx.RxBurst(burst));
        Assert.Equal([.. frame[..12], 0x81, 0, 0x60, 0x64, .. frame[12..]], DriverRig.BytesOf(burst[0]));
        Assert.Equal(MbufFlags.None, burst[0].Flags);
        Assert.Equal(64ul, rig.Port.GetStats().RxBytes);
        burst[0].Free();
    }

    [Fact]
    public void Receive_StampedPacket_CarriesItsTime()
    {
        using IntelRig rig = IntelRig.Create("igb", new PortConfig { RxOffloads = RxOffloads.Timestamp }, stamp: 4711);
        rig.Model.Wire.Enqueue(new byte[60]);
        rig.Model.Receive(Stamped);
        rig.Model.Wire.Enqueue(new byte[60]);
        rig.Model.Receive();
        var burst = new Mbuf[2];
        Assert.Equal(2, rig.Rx.RxBurst(burst));
        MbufField<ulong> field = MbufDynamic.RegisterField<ulong>(rig.Eal.Memory, MbufDynamic.TimestampField);
        MbufFlags flag = MbufDynamic.LookupFlag(rig.Eal.Memory, MbufDynamic.RxTimestampFlag);
        Assert.Equal(4711ul, field.Of(burst[0]));
        Assert.Equal((flag, MbufFlags.None), (burst[0].Flags & flag, burst[1].Flags & flag));
        Mbuf.FreeBulk(burst);
    }

    [Theory]
    [InlineData("igb")]
    [InlineData("e1000e")]
    public void DescriptorStatus_OfBothRings_FollowsTheDevice(string driver)
    {
        using IntelRig rig = IntelRig.Create(driver);
        Assert.Equal(DescriptorStatus.WithDevice, rig.Rx.GetDescriptorStatus(0));
        rig.Model.Wire.Enqueue(new byte[60]);
        rig.Model.Receive();
        Assert.Equal((DescriptorStatus.Done, DescriptorStatus.WithDevice, 1),
            (rig.Rx.GetDescriptorStatus(0), rig.Rx.GetDescriptorStatus(1), rig.Rx.WaitingCount));
        Assert.Equal(DescriptorStatus.Done, rig.Tx.GetDescriptorStatus(63));
        Assert.Equal(3, rig.Tx.TxBurst(rig.Make(3)));
        Assert.Equal((DescriptorStatus.WithDevice, DescriptorStatus.Done),
            (rig.Tx.GetDescriptorStatus(63), rig.Tx.GetDescriptorStatus(0)));
        rig.Model.Send();
        Assert.Equal(DescriptorStatus.Done, rig.Tx.GetDescriptorStatus(61));
        Assert.Equal(2, rig.Tx.ReclaimTx(2));
        Assert.Equal(1, rig.Tx.ReclaimTx());
    }
}
