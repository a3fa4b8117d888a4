namespace Dataplane.Tests;

/// <summary>net_pcap on kernel interfaces.</summary>
public sealed class PcapInterfaceTests
{
    [Fact]
    public void Interfaces_OfAVethPair_CarryFramesBothWays()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port left = rig.Start($"net_pcap0,iface={a},phy_mac=1"), right = rig.Start($"net_pcap1,iface={b}");
        Assert.True(left.WaitForLink(TimeSpan.FromSeconds(60)).Up);
        byte[][] frames = [.. Enumerable.Range(0, 50).Select(i => Frame(60 + i * 20, tagged: i % 3 == 0))];
        foreach ((Port from, Port to) in new[] { (left, right), (right, left) })
        {
            PortRig.SendAll(from.TxQueues[0], [.. frames.Select(frame => rig.Packet(frame))]);
            List<byte[]> got = PortRig.Collect(to.RxQueues, frames.Length);
            Assert.Equal(frames, got);
            Assert.Equal((50ul, 50ul), (from.GetStats().TxPackets, to.GetStats().RxPackets));
        }
        Assert.Empty(PortRig.Collect(left.RxQueues, 1, seconds: 0.1));   // nobody receives what it sent itself
    }

    [Fact]
    public void Interfaces_ReceivingAndSendingApart_SeeWhatIsAskedFor()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port all = rig.Start($"net_pcap0,rx_iface={a},tx_iface={a}"), inbound = rig.Start($"net_pcap1,rx_iface_in={a}");
        Assert.True(all.WaitForLink(TimeSpan.FromSeconds(60)).Up);
        PortRig.SendAll(all.TxQueues[0], [rig.Packet(Frame(100, tagged: false))]);
        Assert.Single(PortRig.Collect(all.RxQueues, 1));
        Assert.Empty(PortRig.Collect(inbound.RxQueues, 1, seconds: 0.1));
        Port far = rig.Start($"net_pcap2,tx_iface={b}");
        PortRig.SendAll(far.TxQueues[0], [rig.Packet(Frame(100, tagged: false))]);
        Assert.Single(PortRig.Collect(inbound.RxQueues, 1));
        var tooLong = rig.Packet(new byte[5000]);
        Assert.Equal(1, far.TxQueues[0].TxBurst([tooLong]));
        Assert.Equal(1ul, far.GetStats().TxErrors);
    }

    [Fact]
    public void Interface_ThatIsNotThere_IsNamed()
    {
        Host.Require();
        using var rig = new PortRig();
        Assert.Contains("nosuch0", Assert.Throws<DeviceException>(() => rig.Start("net_pcap0,iface=nosuch0")).What);
    }

    private static byte[] Frame(int length, bool tagged)
    {
        var frame = new byte[length];
        new Random(length).NextBytes(frame);
        frame[0] = 2;
        (frame[12], frame[13]) = tagged ? ((byte)0x81, (byte)0) : ((byte)0x88, (byte)0xb5);
        if (tagged)
            (frame[16], frame[17]) = (0x88, 0xb5);
        return frame;
    }
}
