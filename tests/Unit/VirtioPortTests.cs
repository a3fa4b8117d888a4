using System.Buffers.Binary;
using Dataplane.Native;
using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>What the driver tells its device, and what it makes of the device's answers.</summary>
public sealed unsafe class VirtioPortTests
{
    [Fact]
    public void Start_NothingAskedFor_AgreesOnNothingThatNeedsHeaders()
    {
        using VirtioRig rig = new(new ModelDevice());
        rig.Start();
        Assert.True(VirtioFeatures.Has(rig.Device.Taken, VirtioConfig.VIRTIO_F_VERSION_1));
        Assert.True(VirtioFeatures.Has(rig.Device.Taken, VirtioConfig.VIRTIO_F_ACCESS_PLATFORM));
        foreach (int bit in (int[])[VirtioNet.VIRTIO_NET_F_MRG_RXBUF, VirtioNet.VIRTIO_NET_F_GUEST_CSUM,
            VirtioNet.VIRTIO_NET_F_GUEST_TSO4, VirtioNet.VIRTIO_NET_F_HASH_REPORT, VirtioNet.VIRTIO_NET_F_CTRL_VLAN])
            Assert.False(VirtioFeatures.Has(rig.Device.Taken, bit), $"feature {bit}");
    }

    [Fact]
    public void Settings_BeforeAndAfterStart_ReachTheDevice()
    {
        using VirtioRig rig = new(new ModelDevice());
        var own = new MacAddress(0x0202_0304_0506);
        rig.Port.SetPromiscuous(true);
        rig.Port.SetMacAddress(own);
        rig.Port.AddMacAddress(new MacAddress(0x0202_0304_0507));
        rig.Port.AddMacAddress(new MacAddress(0x0100_5e00_0001));
        rig.Start(RxOffloads.VlanFilter);
        Assert.True(rig.Device.Promiscuous);
        Assert.Equal([2, 2, 3, 4, 5, 6], rig.Device.OwnMac);
        Assert.Equal([1, 0, 0, 0, 2, 2, 3, 4, 5, 7, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1], rig.Device.MacTable);
        rig.Port.SetVlanFilter(100, true);
        rig.Port.SetAllMulticast(true);
        rig.Port.SetPromiscuous(false);
        rig.Port.RemoveMacAddress(new MacAddress(0x0202_0304_0507));
        Assert.Equal([100], rig.Device.Vlans);
        Assert.Equal((false, true), (rig.Device.Promiscuous, rig.Device.AllMulticast));
        Assert.Equal([0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1], rig.Device.MacTable);
        rig.Port.Stop();
        rig.Port.Start();
        Assert.Equal([100], rig.Device.Vlans);
        Assert.True(rig.Device.AllMulticast);
    }

    [Fact]
    public void Command_Refused_IsAnErrorThatNamesIt()
    {
        using VirtioRig rig = new(new ModelDevice());
        rig.Start();
        rig.Device.Refuses = true;
        DeviceException e = Assert.Throws<DeviceException>(() => rig.Port.SetPromiscuous(true));
        Assert.Contains("set promiscuous mode", e.What);
        Assert.False(rig.Port.Promiscuous);
    }

    [Fact]
    public void Rss_FourQueues_TableAndKeyReachTheDevice()
    {
        using VirtioRig rig = new(new ModelDevice());
        rig.Start(queues: 4);
        byte[] config = rig.Device.RssConfig;
        Assert.Equal(127, BinaryPrimitives.ReadUInt16LittleEndian(config.AsSpan(4)));
        Assert.Equal(3, config[8 + 2 * 7]);
        Assert.Equal((4, 40), (config[8 + 256], config[8 + 258]));
        Assert.Equal(Toeplitz.MicrosoftKey.ToArray(), config[(8 + 259)..]);
        Assert.Equal(128, rig.Port.Redirection.Length);
        rig.Port.SetRedirection(new ushort[128]);
        rig.Port.SetRss(new RssConfig { Fields = RssFields.Ipv4Udp, Key = new byte[40] });
        config = rig.Device.RssConfig;
        Assert.Equal(4u, BinaryPrimitives.ReadUInt32LittleEndian(config));
        Assert.Equal(0, config[8 + 2 * 7]);
        Assert.All(config[(8 + 259)..], b => Assert.Equal(0, b));
    }

    /// <summary>QEMU turns on as many queues of either kind as it is told are to transmit.</summary>
    [Fact]
    public void Rss_FewerQueuesToSendThanToReceive_DeviceIsToldOfAll()
    {
        using VirtioRig rig = new(new ModelDevice());
        rig.Port.Start(new PortConfig { RxQueues = 4, TxQueues = 1, Rss = new RssConfig() }, rig.Pool);
        Assert.Equal(4, rig.Device.RssConfig[8 + 256]);
    }

    [Fact]
    public void Queues_MoreToSendThanToReceiveWithoutRss_AreRefused()
    {
        using VirtioRig rig = new(new ModelDevice
            { Offered = ModelDevice.Everything & ~VirtioFeatures.Of(VirtioNet.VIRTIO_NET_F_RSS) });
        Assert.Throws<ConfigException>(() => rig.Port.Configure(new PortConfig { RxQueues = 1, TxQueues = 2 }));
        rig.Start(queues: 3);
        Assert.Equal(3, rig.Device.PairsInUse);
    }

    /// <summary>Without several pairs the control queue is number 2, however many the configuration names.</summary>
    [Fact]
    public void Settings_OfADeviceOfOnePair_ReachTheDevice()
    {
        using VirtioRig rig = new(new ModelDevice { Offered = ModelDevice.Everything & ~VirtioFeatures.Of(
            VirtioNet.VIRTIO_NET_F_MQ, VirtioNet.VIRTIO_NET_F_RSS) });
        Assert.Equal(1, rig.Port.Info.MaxRxQueues);
        rig.Start();
        rig.Port.SetPromiscuous(true);
        Assert.True(rig.Device.Promiscuous);
    }

    /// <summary>§5.1.3.1: what is told by the control queue goes with it.</summary>
    [Fact]
    public void Start_DeviceWithoutControlQueue_TakesNothingThatNeedsIt()
    {
        using VirtioRig rig = new(new ModelDevice
            { Offered = ModelDevice.Everything & ~VirtioFeatures.Of(VirtioNet.VIRTIO_NET_F_CTRL_VQ) });
        rig.Start();
        foreach (int bit in (int[])[VirtioNet.VIRTIO_NET_F_CTRL_RX, VirtioNet.VIRTIO_NET_F_CTRL_MAC_ADDR,
            VirtioNet.VIRTIO_NET_F_MQ, VirtioNet.VIRTIO_NET_F_RSS])
            Assert.False(VirtioFeatures.Has(rig.Device.Taken, bit), $"feature {bit}");
    }

    [Fact]
    public void Info_DeviceHasMoreQueuesOnceAgreedOn_NamesThem()
    {
        using VirtioRig rig = new(new ModelDevice());
        Assert.Equal((ModelDevice.Pairs, ModelDevice.Pairs), (rig.Port.Info.MaxRxQueues, rig.Port.Info.MaxTxQueues));
    }

    [Fact]
    public void Link_BitChanges_IsToldWithSpeed()
    {
        using VirtioRig rig = new(new ModelDevice());
        rig.Start();
        Assert.Equal(new LinkStatus(true, 25_000), rig.Port.GetLink());
        using var changed = new ManualResetEventSlim();
        rig.Port.Events += (_, what) => { if (what == PortEvent.LinkChanged) changed.Set(); };
        rig.Device.ConfigSpace[6] = 0;
        Assert.True(changed.Wait(TimeSpan.FromSeconds(60)));
        Assert.False(rig.Port.GetLink().Up);
    }

    [Fact]
    public void Transmit_ChecksumAndTso_HeaderSaysWhatIsLeftToDo()
    {
        using VirtioRig rig = new(new ModelDevice());
        rig.Device.Peer = rig.Device;
        rig.Start(RxOffloads.TcpLro, TxOffloads.TcpTso | TxOffloads.TcpChecksum | TxOffloads.MultiSegments);
        Mbuf head = Tcp(rig, 1800), tail = rig.Packet(1500);
        Assert.True(head.TryChain(tail));
        head.SetTxOffload(14, 20, 20, 1000);
        head.Flags |= MbufFlags.TxIpv4 | MbufFlags.TxIpChecksum | MbufFlags.TxTcpChecksum | MbufFlags.TxTcpSegment;
        Assert.Equal(1, rig.Tx.TxBurst([head]));
        virtio_net_hdr sent = rig.Device.LastSent;
        Assert.Equal((1, 1, 54, 1000, 34, 16), (sent.flags, sent.gso_type, sent.hdr_len, sent.gso_size,
            sent.csum_start, sent.csum_offset));
        var burst = new Mbuf[4];
        Assert.Equal(1, rig.Rx.RxBurst(burst));
        Assert.Equal((3300, 2), (burst[0].PacketLength, burst[0].SegmentCount));
        Assert.Equal(MbufFlags.RxLro, burst[0].Flags & MbufFlags.RxLro);
        Assert.Equal(1000, burst[0].TxSegmentSize);
        burst[0].Free();
        rig.Port.Stop();
        rig.AssertAllBack();
    }

    [Fact]
    public void Receive_OpenChecksumWithoutLro_IsFinished()
    {
        using VirtioRig rig = new(new ModelDevice());
        rig.Device.Peer = rig.Device;
        rig.Start(RxOffloads.TcpChecksum, TxOffloads.TcpChecksum);
        Mbuf packet = Tcp(rig, 600);
        packet.SetTxOffload(14, 20, 20);
        packet.Flags |= MbufFlags.TxIpv4 | MbufFlags.TxIpChecksum | MbufFlags.TxTcpChecksum;
        Assert.Equal(1, rig.Tx.TxBurst([packet]));
        var burst = new Mbuf[4];
        Assert.Equal(1, rig.Rx.RxBurst(burst));
        Assert.Equal(MbufFlags.RxL4ChecksumGood, burst[0].Flags & MbufFlags.RxL4ChecksumMask);
        byte[] bytes = DriverRig.BytesOf(burst[0]);
        ref readonly IPv4Header ip = ref bytes.AsSpan().HeaderAt<IPv4Header>(14);
        uint sum = (uint)Checksum.PseudoHeader(in ip, 566) + Checksum.Raw(bytes.AsSpan(34));
        Assert.Equal(0xffffu, (sum & 0xffff) + (sum >> 16));
        burst[0].Free();
    }

    [Fact]
    public void Receive_OpenChecksumOutsideTheFrame_IsAnError()
    {
        using VirtioRig rig = new(new ModelDevice());
        rig.Device.Peer = rig.Device;
        rig.Device.OnHeader = header => *(virtio_net_hdr*)header =
            new() { flags = 1, csum_start = 590, csum_offset = 16 };
        rig.Start(RxOffloads.TcpChecksum);
        Assert.Equal(1, rig.Tx.TxBurst([rig.Packet(600)]));
        Assert.Equal(0, rig.Rx.RxBurst(new Mbuf[4]));
        Assert.Equal(1ul, rig.Port.GetStats().RxErrors);
        rig.Port.Stop();
        rig.AssertAllBack();
    }

    [Theory]
    [InlineData("")]
    [InlineData(",indirect=0")]
    [InlineData(",packed=0")]
    [InlineData(",packed=0,indirect=0")]
    public void Transmit_OddPackets_ArriveWhole(string arguments)
    {
        using VirtioRig rig = new(new ModelDevice(), arguments);
        rig.Device.Peer = rig.Device;
        rig.Start(RxOffloads.Scatter, TxOffloads.MultiSegments | TxOffloads.VlanInsert);
        var burst = new Mbuf[8];
        for (int round = 0; round < 100; round++)
        {
            Mbuf many = rig.Packet(60, 1);
            for (int i = 0; i < 20; i++)
                Assert.True(many.TryChain(rig.Packet(50 + i, (byte)i)));
            Mbuf shared = rig.Packet(400, 3), tagged = rig.Packet(300, 4), cramped = rig.Packet(200, 5);
            shared.AddReferences(1);
            tagged.Flags |= MbufFlags.TxVlan;
            tagged.VlanTci = 0x123;
            _ = cramped.Prepend(cramped.Headroom);
            byte[][] sent = [DriverRig.BytesOf(many), DriverRig.BytesOf(shared), DriverRig.BytesOf(tagged),
                DriverRig.BytesOf(cramped)];
            sent[2] = [.. sent[2][..12], 0x81, 0, 1, 0x23, .. sent[2][12..]];
            Assert.Equal(4, rig.Tx.TxBurst([many, shared, tagged, cramped]));
            Assert.Equal(4, rig.Rx.RxBurst(burst));
            for (int i = 0; i < 4; i++)
                Assert.Equal(sent[i], DriverRig.BytesOf(burst[i]));
            Mbuf.FreeBulk(burst.AsSpan(0, 4));
            shared.Free();
        }
        rig.Port.Stop();
        rig.AssertAllBack();
    }

    [Fact]
    public void Interrupt_Enabled_ComesOnceForTheNextPacket()
    {
        foreach (string arguments in (string[])["", ",event_idx=0", ",packed=0", ",packed=0,event_idx=0"])
        {
            using VirtioRig rig = new(new ModelDevice(), arguments);
            rig.Device.Peer = rig.Device;
            rig.Start();
            var burst = new Mbuf[4];
            uint before = rig.Device.Interrupts;
            Assert.Equal(1, rig.Tx.TxBurst([rig.Packet(60)]));
            Assert.Equal(before, rig.Device.Interrupts);
            Mbuf.FreeBulk(burst.AsSpan(0, rig.Rx.RxBurst(burst)));
            rig.Rx.EnableInterrupt();
            Assert.Equal(1, rig.Tx.TxBurst([rig.Packet(60)]));
            Assert.Equal(before + 1, rig.Device.Interrupts);
            rig.Rx.DisableInterrupt();
            Mbuf.FreeBulk(burst.AsSpan(0, rig.Rx.RxBurst(burst)));
            Assert.Equal(1, rig.Tx.TxBurst([rig.Packet(60)]));
            Assert.Equal(before + 1, rig.Device.Interrupts);
        }
    }

    [Theory]
    [InlineData(VirtioConfig.VIRTIO_F_VERSION_1, "legacy")]
    [InlineData(VirtioConfig.VIRTIO_F_ACCESS_PLATFORM, "IOMMU")]
    public void Device_WithoutWhatIsNeeded_IsRefused(int bit, string word)
    {
        DeviceException e = Assert.Throws<DeviceException>(() =>
            new VirtioRig(new ModelDevice { Offered = ModelDevice.Everything & ~(1ul << bit) }));
        Assert.Contains(word, e.What);
        Assert.NotNull(e.Fix);
    }

    [Fact]
    public void Device_RefusesFeatures_IsSaidAndPortCanBeClosed()
    {
        using VirtioRig rig = new(new ModelDevice
            { OnStatus = status => (byte)(status & ~VirtioConfig.VIRTIO_CONFIG_S_FEATURES_OK) });
        Assert.Contains("features", Assert.Throws<DeviceException>(() => rig.Start()).What);
        rig.AssertAllBack();
    }

    [Fact]
    public void Config_OfNonsense_IsSurvived()
    {
        for (int seed = 0; seed < 40; seed++)
        {
            var device = new ModelDevice { Offered = ModelDevice.Everything };
            new Random(seed).NextBytes(device.ConfigSpace);
            using VirtioRig rig = new(device);
            PortInfo info = rig.Port.Info;
            Assert.InRange(info.MaxRxQueues, 1, ModelDevice.Pairs);
            Assert.InRange(info.MaxMtu, 68, 65_535);
            Assert.False(info.MacAddress.IsMulticast);
            try
            {
                rig.Start();
            }
            catch (DataplaneException)
            {
                // said, with a reason: enough
            }
        }
    }

    private static Mbuf Tcp(VirtioRig rig, int length)
    {
        Mbuf packet = rig.Packet(length, 0);
        Span<byte> bytes = packet.Data;
        bytes[12] = 8;
        bytes[14] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(bytes[16..], (ushort)(length - 14));
        bytes[22] = 64;
        bytes[23] = 6;
        bytes[26] = 10;
        bytes[30] = 11;
        bytes[34 + 12] = 0x50;
        for (int i = 54; i < length; i++)
            bytes[i] = (byte)i;
        return packet;
    }
}
