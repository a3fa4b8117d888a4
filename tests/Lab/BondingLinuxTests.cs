using System.Text.RegularExpressions;

namespace Dataplane.Tests;

/// <summary>Our bond against Linux' own in a namespace, over two veth pairs.</summary>
[Guest(Machines.Debian)]
public sealed class BondingLinuxTests
{
    private const string Theirs = "198.51.100.1", Ours = "198.51.100.2";     // RFC 5737

    [Theory]
    [InlineData("802.3ad", "mode=4,xmit_policy=l34", "slow")]
    [InlineData("802.3ad", "mode=4,xmit_policy=l34,lacp_rate=fast", "fast")]
    public void Lacp_LinuxBond_AgreesOnBothLinksAndOutlivesOne(string mode, string options, string rate)
    {
        using var lab = new NetLab();
        (string space, string[] links) = MakeBond(lab, mode, "xmit_hash_policy", "layer3+4", "lacp_rate", rate);
        using var rig = new PortRig();
        Port bond = StartBond(rig, options, links);
        using var host = new BondedHost(bond, rig.Pool, Ours);

        WaitForBoth(space, bond);
        string told = Told(space);
        Assert.Contains($"Partner Mac Address: {bond.MacAddress}", told, StringComparison.OrdinalIgnoreCase);
        NetLab.FloodPing(space, Ours, 200);
        AssertBothLinksCarry(space, bond, host);

        NetLab.SetDown(links[0]);
        Wait(() => bond.Info.Mode!.EndsWith("in use: net_af_packet1", StringComparison.Ordinal)
            && Regex.IsMatch(Told(space), @"Number of ports: 1\b"), () => $"{bond.Info.Mode}\n{Told(space)}");
        NetLab.FloodPing(space, Ours, 200);
        Assert.Equal(1ul, Xstat(bond, "bond_failovers"));

        NetLab.SetUp(links[0]);
        WaitForBoth(space, bond);
        NetLab.FloodPing(space, Ours, 200);
        AssertBothLinksCarry(space, bond, host);
        Assert.Equal(0ul, Xstat(bond, "member0_lacp_rx_bad") + Xstat(bond, "member1_lacp_rx_bad"));
    }

    [Theory]
    [InlineData("active-backup", "mode=1")]
    [InlineData("balance-xor", "mode=2,xmit_policy=l34")]
    public void Static_LinuxBond_PingsGoOnWhenALinkFails(string mode, string options)
    {
        using var lab = new NetLab();
        (string space, string[] links) = MakeBond(lab, mode);
        using var rig = new PortRig();
        Port bond = StartBond(rig, options, links);
        using var host = new BondedHost(bond, rig.Pool, Ours);
        Wait(() => bond.GetLink().Up, () => "our link is down");
        NetLab.FloodPing(space, Ours, 200);
        NetLab.SetDown(links[0]);
        Wait(() => bond.Info.Mode!.EndsWith("in use: net_af_packet1", StringComparison.Ordinal), () => bond.Info.Mode!);
        NetLab.FloodPing(space, Ours, 200);
        Assert.Equal(1ul, Xstat(bond, "bond_failovers"));
    }

    private static (string Space, string[] Links) MakeBond(NetLab lab, string mode, params string[] more)
    {
        Host.Require("ping");
        string space = lab.AddNamespace("bond");
        Host.Run("ip", ["-n", space, "link", "add", "bond0", "type", "bond", "miimon", "50", "mode", mode, .. more]);
        var links = new string[2];
        for (int i = 0; i < links.Length; i++)
        {
            (links[i], string theirs) = lab.AddVeth($"l{i}");
            Host.Run("ip", "link", "set", theirs, "down");
            Host.Run("ip", "link", "set", theirs, "netns", space);
            Host.Run("ip", "-n", space, "link", "set", theirs, "master", "bond0");
        }
        Host.Run("ip", "-n", space, "addr", "add", $"{Theirs}/30", "dev", "bond0");
        Host.Run("ip", "-n", space, "link", "set", "bond0", "up");
        return (space, links);
    }

    private static Port StartBond(PortRig rig, string options, string[] links)
    {
        for (int i = 0; i < links.Length; i++)
            rig.Ports.Attach($"net_af_packet{i},iface={links[i]}");
        Port bond = rig.Ports.Attach($"net_bonding0,{options},member=net_af_packet0,member=net_af_packet1");
        rig.Start(bond, new PortConfig());
        return bond;
    }

    // Both ends of both links: activity, aggregation, in step, collecting, distributing.
    private static void WaitForBoth(string space, Port bond) =>
        Wait(() => bond.Info.Mode!.EndsWith("in use: net_af_packet0 net_af_packet1", StringComparison.Ordinal)
            && Regex.IsMatch(Told(space), @"Number of ports: 2\b")
            && Regex.Count(Told(space), @"port state: (61|63)\b") == 4, () => $"{bond.Info.Mode}\n{Told(space)}");

    private static string Told(string space) =>
        Host.Run("ip", "netns", "exec", space, "cat", "/proc/net/bonding/bond0");

    private static void AssertBothLinksCarry(string space, Port bond, BondedHost host)
    {
        string Counted() => Host.Run("ip", "-n", space, "-s", "-o", "link");
        ulong[] before = [Xstat(bond, "member0_tx_packets"), Xstat(bond, "member1_tx_packets")];
        host.SendFlows(64);
        ulong[] sent = [Xstat(bond, "member0_tx_packets") - before[0], Xstat(bond, "member1_tx_packets") - before[1]];
        Assert.True(sent[0] >= 8 && sent[1] >= 8, $"{sent[0]} and {sent[1]} of 64 flows\n{Counted()}");
        long got = host.Datagrams;
        ulong[] heard = [Xstat(bond, "member0_rx_packets"), Xstat(bond, "member1_rx_packets")];
        Host.Run("ip", "netns", "exec", space, "bash", "-c",
            $"for p in $(seq 5001 5064); do echo x >/dev/udp/{Ours}/$p; done");
        Wait(() => host.Datagrams >= got + 64, () => $"{host.Datagrams - got} of 64 datagrams came\n{Counted()}");
        Assert.True(Xstat(bond, "member0_rx_packets") - heard[0] >= 8 && Xstat(bond, "member1_rx_packets") - heard[1]
            >= 8, Counted());
    }

    private static ulong Xstat(Port port, string name) => port.GetXstats().Single(xstat => xstat.Name == name).Value;

    private static void Wait(Func<bool> condition, Func<string> state) => Assert.True(SpinWait.SpinUntil(() =>
    {
        bool holds = condition();
        if (!holds)
            Thread.Sleep(50);
        return holds;
    }, TimeSpan.FromSeconds(120)), state());
}
