using Dataplane.Net;

namespace Dataplane.Tests;

/// <summary>DPDK's net_bonding in mode 4 at the other end of two veth pairs. It sends LACPDUs only while it sends, so
/// testpmd makes flows of its own, and counts ours.</summary>
public sealed class BondingInteropTests
{
    private const int FlowCount = 64, Least = 16;

    [Fact]
    public void Lacp_TestpmdsBond_AgreesOnBothLinksAndOutlivesOne()
    {
        Host.Require("dpdk-testpmd", "stdbuf");
        using var lab = new NetLab();
        (string ours0, string theirs0) = lab.AddVeth("m");
        (string ours1, string theirs1) = lab.AddVeth("n");
        using var rig = new PortRig();
        rig.Ports.Attach($"net_af_packet0,iface={ours0}");
        rig.Ports.Attach($"net_af_packet1,iface={ours1}");
        Port bond = rig.Ports.Attach(
            "net_bonding0,mode=4,xmit_policy=l34,lacp_rate=fast,member=net_af_packet0,member=net_af_packet1");
        rig.Start(bond, new PortConfig());
        using var testpmd = new TestpmdProcess($"net_af_packet0,iface={theirs0}", "flowgen",
            ["--vdev", $"net_af_packet1,iface={theirs1}", "--vdev",
            "net_bonding0,mode=4,slave=net_af_packet0,slave=net_af_packet1,xmit_policy=l34"],
            "--portmask=0x4", "--port-topology=loop");

        Exchange(rig, bond, 0, 1);
        for (int member = 0; member < 2; member++)
        {
            Assert.InRange(Xstat(bond, $"member{member}_lacp_rx"), 1ul, ulong.MaxValue);
            Assert.Equal(0ul, Xstat(bond, $"member{member}_lacp_rx_bad"));
        }
        NetLab.SetDown(ours0);
        Exchange(rig, bond, 1);
        Assert.Equal(1ul, Xstat(bond, "bond_failovers"));
        NetLab.SetUp(ours0);
        Exchange(rig, bond, 0, 1);
        ulong sent = bond.GetStats().TxPackets;
        Assert.InRange(testpmd.Stop().Received, (long)sent / 2, long.MaxValue);
    }

    // Until these members alone are in use, and since then each has received, and has sent of as many flows.
    private static void Exchange(PortRig rig, Port bond, params int[] members)
    {
        string state = "in use: " + string.Join(' ', members.Select(member => $"net_af_packet{member}"));
        Assert.True(SpinWait.SpinUntil(() =>
        {
            PortRig.Collect(bond.RxQueues, 32, seconds: 0.05);
            return bond.Info.Mode!.EndsWith(state, StringComparison.Ordinal);
        }, TimeSpan.FromSeconds(120)), $"not {state} but {Told(bond)}");
        ulong[] got = Counts(bond, members, "rx"), sent = Counts(bond, members, "tx");
        Assert.True(SpinWait.SpinUntil(() =>
        {
            for (int flow = 0; flow < FlowCount; flow++)
                Send(rig, bond, flow);
            PortRig.Collect(bond.RxQueues, 256, seconds: 0.05);
            return Counts(bond, members, "rx").Zip(got).All(pair => pair.First >= pair.Second + Least)
                && Counts(bond, members, "tx").Zip(sent).All(pair => pair.First >= pair.Second + Least);
        }, TimeSpan.FromSeconds(60)), $"no traffic by all of {state}: {Told(bond)}");
    }

    private static ulong[] Counts(Port bond, int[] members, string way) =>
        [.. members.Select(member => Xstat(bond, $"member{member}_{way}_packets"))];

    private static string Told(Port bond) => $"{bond.Info.Mode}: " + string.Join(' ',
        bond.GetXstats().Where(xstat => xstat.Value != 0).Select(xstat => $"{xstat.Name}={xstat.Value}"));

    private static void Send(PortRig rig, Port bond, int flow)
    {
        Mbuf packet = rig.Packet(new TestFrame(flow) { To = MacAddress.Local(0x55) }.Build());
        if (bond.TxQueues[0].TxBurst([packet]) == 0)
            packet.Free();
    }

    private static ulong Xstat(Port port, string name) => port.GetXstats().Single(xstat => xstat.Name == name).Value;
}
