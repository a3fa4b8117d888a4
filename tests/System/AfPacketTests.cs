namespace Dataplane.Tests;

public class AfPacketTests
{
    [Fact]
    public void AfPacket_FramesOfAllLengths_ArriveAsSent()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port left = rig.Start($"net_af_packet0,iface={a}"), right = rig.Start($"net_af_packet1,iface={b}");
        byte[][] sent = [.. Enumerable.Range(0, 1455).Select(i => Frames.Numbered(i, 60 + i))];

        PortRig.SendAll(left.TxQueues[0], [.. sent.Select(frame => rig.Packet(frame))]);
        List<byte[]> received = PortRig.Collect(right.RxQueues, sent.Length);

        Assert.Equal(sent, received);
    }
}
