using System.Diagnostics;
using System.Text.Json;
using Dataplane.Net;

namespace Dataplane.Tests;

public class TapTests
{
    [Fact]
    public void Tap_AddressAndMtu_AreSetAndTheInterfaceGoesWithThePort()
    {
        Host.Require();
        using var lab = new NetLab();
        string name = lab.NewLink("tap");
        using (var rig = new PortRig(dataRoom: 9216))
        {
            Port port = rig.Start($"net_tap0,iface={name},mac=02:00:00:00:0a:01,mtu=4000");
            Assert.Equal((4000, MacAddress.Local(0xa01)), (port.Mtu, port.MacAddress));
            port.SetMtu(2000);
            port.SetMacAddress(MacAddress.Local(0xa02));
            JsonElement link = Show(name);
            Assert.Equal(2000, link.GetProperty("mtu").GetInt32());
            Assert.Equal("02:00:00:00:0a:02", link.GetProperty("address").GetString());
            Assert.True(port.GetLink().Up);
            port.SetLink(false);
            Assert.True(SpinWait.SpinUntil(() => !port.GetLink().Up, 60_000));   // the kernel follows within a second
        }
        Assert.NotEqual(0, Host.TryRun("ip", "link", "show", name).Exit);
    }

    [Fact]
    public void Tap_NameOfAnotherKindOfInterface_SaysSo()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, _) = lab.AddVeth();
        using var rig = new PortRig();
        DeviceException e = Assert.Throws<DeviceException>(() => rig.Ports.Attach($"net_tap0,iface={a}"));
        Assert.Contains(a, e.What);
        Assert.Contains("ip link del", e.Fix);
    }

    [Fact]
    public void Tap_DeletedWhileSending_LinkGoesDownAndNothingThrows()
    {
        Host.Require();
        using var lab = new NetLab();
        string name = lab.NewLink("tap");
        using var rig = new PortRig();
        Port port = rig.Start($"net_tap0,iface={name}");
        var events = new List<PortEvent>();
        Assert.True(port.GetLink().Up);
        port.Events += (_, what) => events.Add(what);
        var burst = new Mbuf[8];
        ulong taken = 0;
        for (int round = 0; round < 200; round++)
        {
            for (int i = 0; i < burst.Length; i++)
                burst[i] = rig.Packet(Frames.Numbered(i, 100));
            int sent = port.TxQueues[0].TxBurst(burst);
            Mbuf.FreeBulk(burst.AsSpan(sent));
            taken += (uint)sent;
            Mbuf.FreeBulk(burst.AsSpan(0, port.RxQueues[0].RxBurst(burst)));
            if (round == 100)
            {
                Assert.Equal(808ul, taken);
                Host.Run("ip", "link", "del", name);
            }
        }

        Assert.Equal(808ul, taken);
        Assert.False(port.GetLink().Up);
        Assert.Equal([PortEvent.LinkChanged, PortEvent.Removed], events);
    }

    [Fact]
    public unsafe void Tap_Tags_AreStrippedAndInserted()
    {
        Host.Require("tc");
        using var lab = new NetLab();
        (string a, string b) = lab.AddTaps();
        using var rig = new PortRig();
        Port left = rig.Start($"net_tap0,iface={a}", new PortConfig { TxOffloads = TxOffloads.VlanInsert });
        Port right = rig.Start($"net_tap1,iface={b}", new PortConfig { RxOffloads = RxOffloads.VlanStrip });
        byte[] plain = Frames.Numbered(5, 1514);
        Mbuf inserted = rig.Packet(plain);
        inserted.Flags |= MbufFlags.TxVlan;
        inserted.VlanTci = 0x6007;

        PortRig.SendAll(left.TxQueues[0], [inserted, rig.Packet(Frames.Tag(plain, 0x6008)), rig.Packet(plain)]);

        foreach (int tci in new[] { 0x6007, 0x6008, 0 })
        {
            Mbuf packet = PortRig.CollectOne(right.RxQueues[0]);
            Assert.Equal(plain, PortRig.Bytes(packet));
            Assert.Equal(tci != 0, (packet.Flags & MbufFlags.RxVlanStripped) != 0);
            Assert.True(tci == 0 || packet.VlanTci == tci, $"tag {packet.VlanTci:x}");
            packet.Free();
        }
    }

    [Fact]
    public void Tun_Ping_ArrivesAsAnIpPacketAndItsAnswerIsTaken()
    {
        Host.Require("ping");
        using var lab = new NetLab();
        string name = lab.NewLink("tun");
        using var rig = new PortRig();
        Port port = rig.Start($"net_tun0,iface={name}");
        NetLab.SetUp(name);
        Host.Run("ip", "addr", "add", "10.92.0.1/24", "dev", name);
        using Process ping = Host.Start("ping", "-c", "1", "-W", "60", "10.92.0.2");

        Mbuf packet = PortRig.CollectOne(port.RxQueues[0]);
        while (packet.Data[0] >> 4 == 6)   // router solicitations, from before IPv6 was switched off
        {
            packet.Free();
            packet = PortRig.CollectOne(port.RxQueues[0]);
        }

        Assert.Equal(84, packet.PacketLength);
        ref IPv4Header ip = ref packet.Data.HeaderAt<IPv4Header>();
        Assert.Equal((4, IPProtocols.Icmp, "10.92.0.2"), (ip.Version, ip.Protocol, ip.Destination.ToString()));
        (ip.Source, ip.Destination) = (ip.Destination, ip.Source);
        ref IcmpHeader icmp = ref packet.Data.HeaderAt<IcmpHeader>(20);
        icmp.Checksum = Checksum.Update(icmp.Checksum, (Be16)0x0800, (Be16)0);
        icmp.Type = 0;
        PortRig.SendAll(port.TxQueues[0], [packet]);
        Assert.True(ping.WaitForExit(120_000));
        Assert.True(ping.ExitCode == 0, ping.StandardOutput.ReadToEnd() + ping.StandardError.ReadToEnd());
    }

    [Fact]
    public void Tap_MtuRaisedWhileStarted_LongerPacketsArrive()
    {
        Host.Require();
        using var lab = new NetLab();
        string name = lab.NewLink("tap");
        using var rig = new PortRig();
        Port port = rig.Start($"net_tap0,iface={name}", new PortConfig { RxOffloads = RxOffloads.Scatter });
        NetLab.SetUp(name);
        port.SetMtu(9000);
        Host.Run("ip", "addr", "add", "198.51.100.9/30", "dev", name);   // RFC 5737
        Host.Run("ip", "neigh", "add", "198.51.100.10", "lladdr", "02:00:00:00:00:0a", "dev", name);
        using var socket = new System.Net.Sockets.UdpClient();

        socket.Send(new byte[8000], 8000, "198.51.100.10", 9);

        Mbuf packet = PortRig.CollectOne(port.RxQueues[0]);
        Assert.Equal(8042, packet.PacketLength);
        packet.Free();
    }

    [Fact]
    public void Tap_ProcessKilled_LeavesNoInterface()
    {
        Host.Require();
        using var lab = new NetLab();
        string name = lab.NewLink("tap");
        using Process forward = ForwardProcess.Start("--no-huge", "-l", "0", "--vdev", $"net_tap0,iface={name}", "--",
            "--forward-mode", "rxonly", "--port-topology", "loop");
        Assert.True(SpinWait.SpinUntil(() => Host.TryRun("ip", "link", "show", name).Exit == 0, 60_000));
        forward.Kill();
        Assert.True(forward.WaitForExit(60_000));
        Assert.NotEqual(0, Host.TryRun("ip", "link", "show", name).Exit);
    }

    private static JsonElement Show(string link) =>
        JsonDocument.Parse(Host.Run("ip", "-d", "-j", "link", "show", link)).RootElement[0];
}
