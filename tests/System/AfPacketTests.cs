using System.Diagnostics;
using System.Text.Json;
using Dataplane.Native;

namespace Dataplane.Tests;

public class AfPacketTests
{
    [Fact]
    public void AfPacket_FramesOfAllLengths_ArriveAsSent()
    {
        using PortRig rig = PortRig.OverVeth("net_af_packet", out Port left, out Port right);
        byte[][] sent = [.. Enumerable.Range(0, 1455).Select(i => Frames.Numbered(i, 60 + i))];

        PortRig.SendAll(left.TxQueues[0], [.. sent.Select(frame => rig.Packet(frame))]);
        List<byte[]> received = PortRig.Collect(right.RxQueues, sent.Length);

        Assert.Equal(sent, received);
    }

    [Fact]
    public unsafe void AfPacket_KernelSocketSends_PortReceivesTheSame()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port port = rig.Start($"net_af_packet0,iface={a}");
        using var socket = Socket.Open(Socket.AF_PACKET, Socket.SOCK_RAW, 0);
        var address = new sockaddr_ll { sll_family = Socket.AF_PACKET, sll_ifindex = IndexOf(b) };
        Assert.Equal(0, Socket.bind(Socket.Fd(socket), &address, (uint)sizeof(sockaddr_ll)));
        byte[][] sent = [.. Enumerable.Range(0, 300).Select(i => Frames.Numbered(i, 60 + 4 * i))];

        foreach (byte[] frame in sent)
            fixed (byte* bytes = frame)
                Assert.Equal(frame.Length, Socket.send(Socket.Fd(socket), bytes, (nuint)frame.Length, 0));

        Assert.Equal(sent, PortRig.Collect(port.RxQueues, sent.Length));
    }

    [Fact]
    public async Task AfPacket_TcpdumpAtTheFarEnd_CountsWhatWasSent()
    {
        Host.Require("tcpdump");
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port port = rig.Start($"net_af_packet0,iface={a}");
        using Process tcpdump = Host.Start("tcpdump", "-i", b, "-nn", "-q", "-B", "16384", "-c", "5000",
            "ether proto 0x88b5");
        while (await tcpdump.StandardError.ReadLineAsync() is { } line
            && !line.StartsWith("listening", StringComparison.Ordinal)) { }
        Task<string> seen = tcpdump.StandardOutput.ReadToEndAsync();

        for (int i = 0; i < 5000; i += 50)
        {
            PortRig.SendAll(port.TxQueues[0],
                [.. Enumerable.Range(i, 50).Select(n => rig.Packet(Frames.Numbered(n, 60 + n % 1400)))]);
            await Task.Delay(1);
        }

        Assert.True(tcpdump.WaitForExit(60_000), "tcpdump did not see all packets");
        Assert.Equal(5000, (await seen).Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Equal(5000ul, port.GetStats().TxPackets);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AfPacket_TaggedFrame_KeepsItsTagOrHandsItOver(bool strip)
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port left = rig.Start($"net_af_packet0,iface={a}");
        Port right = rig.Start($"net_af_packet1,iface={b}",
            new PortConfig { RxOffloads = strip ? RxOffloads.VlanStrip : 0 });
        byte[] plain = Frames.Numbered(5, 1514), tagged = Frames.Tag(plain, 0x2123);

        PortRig.SendAll(left.TxQueues[0], [rig.Packet(tagged)]);

        Mbuf packet = PortRig.CollectOne(right.RxQueues[0]);
        Assert.Equal(strip ? plain : tagged, PortRig.Bytes(packet));
        Assert.Equal(strip, (packet.Flags & MbufFlags.RxVlanStripped) != 0);
        Assert.Equal(strip ? 0x2123 : 0, packet.VlanTci);
        packet.Free();
    }

    [Fact]
    public unsafe void AfPacket_VlanInsert_PutsTheTagIn()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port left = rig.Start($"net_af_packet0,iface={a}", new PortConfig { TxOffloads = TxOffloads.VlanInsert });
        Port right = rig.Start($"net_af_packet1,iface={b}");
        byte[] plain = Frames.Numbered(5, 1514);
        Mbuf packet = rig.Packet(plain);
        packet.Header->OlFlags |= MbufFlags.TxVlan;
        packet.Header->VlanTci = 0xe00a;

        PortRig.SendAll(left.TxQueues[0], [packet]);

        Assert.Equal([Frames.Tag(plain, 0xe00a)], PortRig.Collect(right.RxQueues, 1));
    }

    [Theory]
    [InlineData("hash")]
    [InlineData("lb")]
    public void AfPacket_Fanout_EveryPacketOnceAndOnAllQueues(string mode)
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port left = rig.Start($"net_af_packet0,iface={a}");
        Port right = rig.Start($"net_af_packet1,iface={b},qpairs=4,fanout_mode={mode}",
            new PortConfig { RxQueues = 4 });
        byte[][] sent = [.. Enumerable.Range(0, 1024).Select(i => DriverRig.Expected((uint)i, 100))];

        PortRig.SendAll(left.TxQueues[0], [.. sent.Select(frame => rig.Packet(frame))]);
        List<byte[]> received = PortRig.Collect(right.RxQueues, sent.Length);

        Assert.Equal(sent.Select(Convert.ToHexString).Order(), received.Select(Convert.ToHexString).Order());
        Assert.All(right.RxQueues, queue => Assert.InRange(queue.GetStats().Packets, 1ul, 1023ul));
    }

    [Fact]
    public void AfPacket_NoSuchInterface_SaysSoAndNamesThoseThereAre()
    {
        Host.Require();
        using var rig = new PortRig();
        DeviceException e = Assert.Throws<DeviceException>(() => rig.Ports.Attach("net_af_packet0,iface=nosuch0"));
        Assert.Equal(Errno.ENODEV, e.Errno);
        Assert.Contains("nosuch0", e.What);
        Assert.Contains("lo", e.Fix);
    }

    [Fact]
    public void AfPacket_InterfaceDeletedWhileSending_LinkGoesDownAndNothingThrows()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port left = rig.Start($"net_af_packet0,iface={a}");
        var events = new List<PortEvent>();
        left.Events += (_, what) => events.Add(what);
        Assert.True(left.GetLink().Up);
        var burst = new Mbuf[32];
        ulong taken = 0;
        int Send()
        {
            for (int i = 0; i < burst.Length; i++)
                burst[i] = rig.Packet(Frames.Numbered(i, 100));
            int sent = left.TxQueues[0].TxBurst(burst);
            Mbuf.FreeBulk(burst.AsSpan(sent));
            taken += (uint)sent;
            Assert.Equal(0, left.RxQueues[0].RxBurst(burst));
            return sent;
        }
        for (int round = 0; round < 100; round++)
            Send();
        Assert.InRange(taken, 1ul, 3200ul);
        Host.Run("ip", "link", "del", a);
        int refused = 0;
        Assert.True(SpinWait.SpinUntil(() => (refused = Send() == 0 ? refused + 1 : 0) == 100,
            TimeSpan.FromSeconds(60)), "it takes packets for ever");

        Assert.False(left.GetLink().Up);
        Assert.Equal([PortEvent.LinkChanged, PortEvent.LinkChanged, PortEvent.Removed], events);
        left.Stop();
        PortStats stats = left.GetStats();
        Assert.Equal(taken, stats.TxPackets + stats.TxErrors);
    }

    [Fact]
    public void AfPacket_OversizeFrames_AreErrorsAndTheNextIsSent()
    {
        using PortRig rig = PortRig.OverVeth("net_af_packet", out Port left, out Port right, dataRoom: 9216);

        PortRig.SendAll(left.TxQueues[0], [rig.Packet(Frames.Numbered(1, 1515)), rig.Packet(new byte[13]),
            rig.Packet(Frames.Numbered(2, 1514))]);

        Assert.Equal([Frames.Numbered(2, 1514)], PortRig.Collect(right.RxQueues, 1));
        PortStats stats = left.GetStats();
        Assert.Equal((1ul, 1514ul, 2ul), (stats.TxPackets, stats.TxBytes, stats.TxErrors));
    }

    [Fact]
    public void AfPacket_MtuAndAddressAndPromiscuous_AreSetAndPutBack()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        JsonElement before = Show(a);
        using (var rig = new PortRig(dataRoom: 9216))
        {
            Port left = rig.Start($"net_af_packet0,iface={a}"), right = rig.Start($"net_af_packet1,iface={b}");
            left.SetMtu(4000);
            right.SetMtu(4000);
            left.SetMacAddress(new Net.MacAddress(0x0200_0000_0009));
            left.SetPromiscuous(true);
            JsonElement set = Show(a);
            Assert.Equal((4000, "02:00:00:00:00:09", 1),
                (Int(set, "mtu"), set.GetProperty("address").GetString(), Int(set, "promiscuity")));
            // Longer than a slot, which was made for 1,500: it goes by itself.
            PortRig.SendAll(left.TxQueues[0],
                [rig.Packet(Frames.Numbered(1, 4014)), rig.Packet(Frames.Numbered(2, 60))]);
            Assert.Equal([Frames.Numbered(1, 4014), Frames.Numbered(2, 60)], PortRig.Collect(right.RxQueues, 2));
        }
        // A process that another test is just starting may hold a copy of the socket until its exec.
        static string Kept(JsonElement link) => string.Join(' ', from name in new[] { "mtu", "address", "promiscuity" }
                                                                 select link.GetProperty(name).ToString());
        string after = "";
        SpinWait.SpinUntil(() => (after = Kept(Show(a))) == Kept(before), TimeSpan.FromSeconds(60));
        Assert.Equal(Kept(before), after);
    }

    [Fact]
    public void AfPacket_LongFramesIntoSmallMbufs_AreChainedOrErrors()
    {
        var scatter = new PortConfig { RxOffloads = RxOffloads.Scatter };
        using PortRig rig = PortRig.OverVeth("net_af_packet", out Port left, out Port right, config: scatter,
            dataRoom: 128 + 256);
        byte[][] sent = [.. Enumerable.Range(1, 100).Select(i => Frames.Numbered(i, 60 + 14 * i))];

        PortRig.SendAll(left.TxQueues[0], [.. sent.Select(frame => rig.Packet(frame))]);

        Assert.Equal(sent, PortRig.Collect(right.RxQueues, sent.Length));
    }

    [Fact]
    public void AfPacket_PoolEmpty_CountsAndFramesWait()
    {
        using PortRig rig = PortRig.OverVeth("net_af_packet", out Port left, out Port right, mbufs: 64);
        byte[][] sent = [.. Enumerable.Range(1, 20).Select(i => Frames.Numbered(i, 200))];
        PortRig.SendAll(left.TxQueues[0], [.. sent.Select(frame => rig.Packet(frame))]);
        var all = new Mbuf[64];
        var burst = new Mbuf[32];
        Assert.True(rig.Pool.TryAllocBulk(all));

        // Until the kernel has handed the frames over, there is nothing to count.
        Assert.True(SpinWait.SpinUntil(() => right.RxQueues[0].RxBurst(burst) != 0 || right.GetStats().RxNoMbuf != 0,
            TimeSpan.FromSeconds(60)), "the frames never came");
        Assert.Equal((1ul, 0ul), (right.GetStats().RxNoMbuf, right.GetStats().RxPackets));
        Mbuf.FreeBulk(all);

        Assert.Equal(sent, PortRig.Collect(right.RxQueues, sent.Length));
    }

    [Fact]
    public void AfPacket_PoolDryInMidFrame_GivesAllSegmentsBack()
    {
        const int Left = 4;   // of the six that the frame takes
        var scatter = new PortConfig { RxOffloads = RxOffloads.Scatter };
        using PortRig rig = PortRig.OverVeth("net_af_packet", out Port left, out Port right, config: scatter,
            mbufs: 64, dataRoom: 128 + 256);
        byte[] sent = Frames.Numbered(1, 1400);
        PortRig.SendAll(left.TxQueues[0], [rig.Packet(sent)]);
        var most = new Mbuf[rig.Pool.AvailableCount - Left];
        var burst = new Mbuf[32];
        Assert.True(rig.Pool.TryAllocBulk(most));

        Assert.True(SpinWait.SpinUntil(() => right.RxQueues[0].RxBurst(burst) != 0 || right.GetStats().RxNoMbuf != 0,
            TimeSpan.FromSeconds(60)), "the frame never came");
        Assert.Equal(0ul, right.GetStats().RxPackets);
        Assert.Equal(Left, rig.Pool.AvailableCount);
        Mbuf.FreeBulk(most);

        Assert.Equal([sent], PortRig.Collect(right.RxQueues, 1));
    }

    [Fact]
    public void AfPacket_NobodyPolls_LossesAreCounted()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port left = rig.Start($"net_af_packet0,iface={a}"),
            right = rig.Start($"net_af_packet1,iface={b},framecnt=64,blocksz=16384");
        const int Count = 2000;

        for (int i = 0; i < Count; i++)
            PortRig.SendAll(left.TxQueues[0], [rig.Packet(Frames.Numbered(i, 1000))]);
        int received = 0;
        Assert.True(SpinWait.SpinUntil(() =>
        {
            received += PortRig.Collect(right.RxQueues, Count, seconds: 0.05).Count;
            return right.GetStats() is var stats && stats.RxPackets + stats.RxMissed == Count;
        }, TimeSpan.FromSeconds(60)), $"of {Count} packets {right.GetStats()}");
        Assert.InRange(received, 1, Count - 1);
        Assert.Equal((ulong)received, right.GetStats().RxPackets);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(100)]
    public void AfPacket_KernelSendsADatagram_ItsChecksumIsFinished(int bytes)
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        Host.Run("ip", "addr", "add", "198.51.100.9/30", "dev", b);   // RFC 5737
        Host.Run("ip", "neigh", "add", "198.51.100.10", "lladdr", "02:00:00:00:00:0a", "dev", b);
        using var rig = new PortRig();
        Port port = rig.Start($"net_af_packet0,iface={a}");
        using var socket = new System.Net.Sockets.UdpClient();

        socket.Send(new byte[bytes], bytes, "198.51.100.10", 9);

        Mbuf packet = PortRig.CollectOne(port.RxQueues[0]);
        Assert.Equal(42 + bytes, packet.PacketLength);
        Assert.True(Net.Checksum.VerifyUdpTcp(Net.HeaderExtensions.HeaderAt<Net.IPv4Header>(packet.Data, 14),
            packet.Data[34..]));
        packet.Free();
        Assert.Equal(0ul, port.GetStats().RxErrors);
    }

    private static int IndexOf(string link) => Int(Show(link), "ifindex");

    private static int Int(JsonElement element, string name) => element.GetProperty(name).GetInt32();

    private static JsonElement Show(string link) => JsonDocument.Parse(Host.Run("ip", "-d", "-j", "link", "show", link))
        .RootElement[0];
}
