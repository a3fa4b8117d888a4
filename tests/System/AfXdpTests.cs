using System.Diagnostics;
using System.Text.Json;
using Dataplane.Native;

namespace Dataplane.Tests;

/// <summary>What is af_xdp's own; what every driver owes is in <see cref="AfXdpContract"/>.</summary>
public class AfXdpTests
{
    [Theory]
    [InlineData("mode=drv", "native, copy, busy poll")]
    [InlineData("mode=skb", "generic, copy")]
    [InlineData("mode=auto,attach=netlink,busy_budget=0", "native, copy")]
    public void AfXdp_FramesOfAllLengths_ArriveAsSentAndTheModeIsTold(string arguments, string mode)
    {
        using PortRig rig = PortRig.OverVeth("net_af_xdp", out Port left, out Port right, arguments);
        byte[][] sent = [.. Enumerable.Range(0, 1455).Select(i => Frames.Numbered(i, 60 + i))];

        List<byte[]> received = PortRig.Exchange(left.TxQueues[0], right.RxQueues,
            [.. sent.Select(frame => rig.Packet(frame))]);

        Assert.Equal(sent, received);
        Assert.Equal(mode, right.Info.Mode);
        Assert.Equal(mode, right.RxQueues[0].BurstMode);
        Assert.Equal(0ul, Xstat(left, "xdp_tx0_copied"));
    }

    [Fact]
    public void AfXdp_Started_PutsInterruptsOffUntilItStops()
    {
        using PortRig rig = PortRig.OverVeth("net_af_xdp", out Port left, out Port right);
        byte[][] sent = [.. Enumerable.Range(0, 500).Select(i => Frames.Numbered(i, 60 + i))];
        Assert.Equal(("2", "50000"), Delay(right));
        Assert.Equal(sent, PortRig.Exchange(left.TxQueues[0], right.RxQueues, [.. sent.Select(f => rig.Packet(f))]));
        Assert.NotEqual(0ul, Xstat(right, "xdp_rx0_wakeups"));
        right.Stop();
        Assert.Equal(("0", "0"), Delay(right));
        right.Start();
        Assert.Equal(("2", "50000"), Delay(right));
        SetDelay(right, "1", "7000");   // somebody else's from now on
        right.Stop();
        Assert.Equal(("1", "7000"), Delay(right));
        right.Start();
        right.Stop();
        Assert.Equal(("1", "7000"), Delay(right));
    }

    [Theory]
    [InlineData("mode=skb", false, 1)]
    [InlineData("busy_budget=0", false, 1)]
    [InlineData("queue_count=1", false, 2)]
    [InlineData("mode=drv", true, 1)]
    public void AfXdp_NotPolledAlone_LeavesInterruptsAsTheyAre(string arguments, bool interrupts, int queues)
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, _) = lab.AddVeth(queues: queues);
        using var rig = new PortRig();
        Port port = rig.Start($"net_af_xdp0,iface={a},{arguments}", new PortConfig { RxInterrupts = interrupts });
        Assert.Equal(("0", "0"), Delay(port));
    }

    [Fact]
    public void AfXdp_JustSent_DoesNotCallToPollAgain()
    {
        using PortRig rig = PortRig.OverVeth("net_af_xdp", out Port left, out _);
        var burst = new Mbuf[1];
        ulong before = Xstat(left, "xdp_rx0_wakeups");
        PortRig.SendAll(left.TxQueues[0], [rig.Packet(Frames.Numbered(1, 100))]);
        Assert.Equal((0, before), (left.RxQueues[0].RxBurst(burst), Xstat(left, "xdp_rx0_wakeups")));
        Assert.Equal((0, before + 1), (left.RxQueues[0].RxBurst(burst), Xstat(left, "xdp_rx0_wakeups")));
    }

    [Fact]
    public void AfXdp_BurstFromAnotherPool_IsCopiedAndArrives()
    {
        using PortRig rig = PortRig.OverVeth("net_af_xdp", out Port left, out Port right);
        using var other = Mempool.CreateMbufPool(rig.Eal.Memory, "other", 256, cacheSize: 0);
        byte[][] sent = [.. Enumerable.Range(0, 100).Select(i => Frames.Numbered(i, 60 + 10 * i))];

        List<byte[]> received = PortRig.Exchange(left.TxQueues[0], right.RxQueues,
            [.. sent.Select(frame => PortRig.Packet(other, frame))]);

        Assert.Equal(sent, received);
        Assert.Equal(100ul, Xstat(left, "xdp_tx0_copied"));
        Assert.Equal(256, other.AvailableCount);
    }

    [Theory]
    [InlineData("drv")]
    [InlineData("skb")]
    public void AfXdp_TwoQueues_EachIsItsOwn(string mode)
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth(queues: 2);
        using var rig = new PortRig();
        var two = new PortConfig { RxQueues = 2, TxQueues = 2 };
        Port left = rig.Start($"net_af_xdp0,iface={a},mode={mode}", two);
        Port right = rig.Start($"net_af_xdp1,iface={b},mode={mode},shared_umem=1", two);
        Assert.Equal(2, right.Info.MaxRxQueues);
        byte[][] first = [.. Enumerable.Range(0, 64).Select(i => Frames.Numbered(i, 100))];
        byte[][] second = [.. Enumerable.Range(64, 64).Select(i => Frames.Numbered(i, 100))];

        PortRig.SendAll(left.TxQueues[0], [.. first.Select(frame => rig.Packet(frame))]);
        PortRig.SendAll(left.TxQueues[1], [.. second.Select(frame => rig.Packet(frame))]);
        List<byte[]> received = PortRig.Collect(right.RxQueues, 128);

        Assert.Equal([.. first, .. second], received.OrderBy(frame => frame[17]));
        // In the general path the kernel gives all that comes by a veth to the first queue.
        ulong there = mode == "drv" ? 64ul : 128;
        Assert.Equal((there, 128 - there),
            (right.RxQueues[0].GetStats().Packets, right.RxQueues[1].GetStats().Packets));
    }

    [Fact]
    public void AfXdp_SharedUmem_IsRegisteredOnceForAllPorts()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth(queues: 2);
        using var rig = new PortRig();
        var two = new PortConfig { RxQueues = 2, TxQueues = 2 };
        Port left = rig.Start($"net_af_xdp0,iface={a},shared_umem=1", two);
        Port right = rig.Start($"net_af_xdp1,iface={b},shared_umem=1", two);
        byte[][] sent = [.. Enumerable.Range(0, 500).Select(i => Frames.Numbered(i, 60 + i))];

        Assert.Equal(sent, PortRig.Exchange(left.TxQueues[0], right.RxQueues, [.. sent.Select(f => rig.Packet(f))]));
        Assert.Equal(sent, PortRig.Exchange(right.TxQueues[0], left.RxQueues, [.. sent.Select(f => rig.Packet(f))]));
        // The one that registered it goes; the other goes on, and takes it in again.
        left.Stop();
        left.Start();
        Assert.Equal(sent, PortRig.Exchange(left.TxQueues[0], right.RxQueues, [.. sent.Select(f => rig.Packet(f))]));
    }

    [Theory]
    [InlineData("drv")]
    [InlineData("skb")]
    public void AfXdp_LinkDownAndUp_GoesOn(string mode)
    {
        using PortRig rig = PortRig.OverVeth("net_af_xdp", out Port left, out Port right, $"mode={mode}");
        var events = new List<PortEvent>();
        left.Events += (_, what) => events.Add(what);
        Assert.True(left.GetLink().Up);
        left.SetLink(false);
        Assert.False(left.GetLink().Up);
        var burst = new Mbuf[8];
        for (int i = 0; i < burst.Length; i++)
            burst[i] = rig.Packet(Frames.Numbered(i, 100));
        int taken = left.TxQueues[0].TxBurst(burst);
        Mbuf.FreeBulk(burst.AsSpan(taken));

        left.SetLink(true);
        Assert.True(left.WaitForLink(TimeSpan.FromSeconds(60)).Up);
        Assert.True(right.WaitForLink(TimeSpan.FromSeconds(60)).Up);
        left.TxQueues[0].ReclaimTx();
        PortRig.Collect(right.RxQueues, taken, seconds: 0.2);   // what waited in the ring
        byte[][] sent = [.. Enumerable.Range(100, 50).Select(i => Frames.Numbered(i, 200))];

        Assert.Equal(sent, PortRig.Exchange(left.TxQueues[0], right.RxQueues, [.. sent.Select(f => rig.Packet(f))]));
        Assert.Equal([PortEvent.LinkChanged, PortEvent.LinkChanged, PortEvent.LinkChanged], events);
    }

    [Fact]
    public void AfXdp_InterfaceDeleted_PortSaysSoAndGivesEverythingBack()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port left = rig.Start($"net_af_xdp0,iface={a}");
        var events = new List<PortEvent>();
        left.Events += (_, what) => events.Add(what);
        Assert.True(left.GetLink().Up);
        Host.Run("ip", "link", "del", a);
        var burst = new Mbuf[32];
        ulong taken = 0;
        for (int round = 0; round < 100; round++)
        {
            for (int i = 0; i < burst.Length; i++)
                burst[i] = rig.Packet(Frames.Numbered(i, 100));
            int sent = left.TxQueues[0].TxBurst(burst);
            Mbuf.FreeBulk(burst.AsSpan(sent));
            taken += (uint)sent;
            Assert.Equal(0, left.RxQueues[0].RxBurst(burst));
        }

        Assert.False(left.GetLink().Up);
        Assert.Equal([PortEvent.LinkChanged, PortEvent.LinkChanged, PortEvent.Removed], events);
        left.Stop();
        PortStats stats = left.GetStats();
        Assert.Equal((taken, 0ul, 0ul), (stats.TxPackets + stats.TxErrors, stats.TxPackets, stats.TxBytes));
    }

    [Fact]
    public void AfXdp_OversizeFrames_AreErrorsAndTheNextIsSent()
    {
        using PortRig rig = PortRig.OverVeth("net_af_xdp", out Port left, out Port right, dataRoom: 4096);

        PortRig.SendAll(left.TxQueues[0], [rig.Packet(Frames.Numbered(1, 1515)), rig.Packet(new byte[13]),
            rig.Packet(Frames.Numbered(2, 1514)), rig.Packet(Frames.Tag(Frames.Numbered(3, 1514), 5))]);

        Assert.Equal([Frames.Numbered(2, 1514), Frames.Tag(Frames.Numbered(3, 1514), 5)],
            PortRig.Collect(right.RxQueues, 2));
        PortStats stats = left.GetStats();
        Assert.Equal((2ul, 3032ul, 2ul), (stats.TxPackets, stats.TxBytes, stats.TxErrors));
    }

    [Theory]
    [InlineData("drv", 3000, 2176)]
    [InlineData("drv", 9000, 4096)]
    [InlineData("skb", 9000, 2176)]
    public void AfXdp_JumboFrames_AreOfSeveralBuffers(string mode, int mtu, int dataRoom)
    {
        Host.Require();
        Assert.SkipUnless(Environment.OSVersion.Version >= new Version(6, 9), "needs Linux 6.9 or later, for frames of "
            + "several buffers in both modes");
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig(dataRoom: dataRoom);
        var config = new PortConfig
        {
            RxOffloads = RxOffloads.Scatter, TxOffloads = TxOffloads.MultiSegments, Mtu = mtu,
        };
        Port left = rig.Start($"net_af_xdp0,iface={a},mode={mode}", config);
        Port right = rig.Start($"net_af_xdp1,iface={b},mode={mode}", config);
        Assert.Contains("fragments", right.Info.Mode, StringComparison.Ordinal);
        byte[][] sent = [.. Enumerable.Range(0, 50).Select(i => Frames.Numbered(i, mtu + 14 - 50 * i))];

        Assert.Equal(sent, PortRig.Exchange(left.TxQueues[0], right.RxQueues, [.. sent.Select(f => rig.Packet(f))]));
    }

    [Fact]
    public void AfXdp_MtuBeyondTheMbufs_IsRefusedWithoutScatter()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, _) = lab.AddVeth();
        using var rig = new PortRig();
        Port port = rig.Start($"net_af_xdp0,iface={a}");
        ConfigException e = Assert.Throws<ConfigException>(() => port.SetMtu(1899));
        Assert.Contains("Scatter", e.Fix, StringComparison.Ordinal);
        port.SetMtu(1898);
        Assert.Equal(1898, Show(a).GetProperty("mtu").GetInt32());
    }

    [Fact]
    public void AfXdp_NobodyPolls_LossesAreCounted()
    {
        using PortRig rig = PortRig.OverVeth("net_af_xdp", out Port left, out Port right);
        const int Count = 2000;

        for (int i = 0; i < Count; i++)
            PortRig.SendAll(left.TxQueues[0], [rig.Packet(Frames.Numbered(i, 1000))]);
        int received = 0;
        Assert.True(SpinWait.SpinUntil(() =>
        {
            received += PortRig.Collect(right.RxQueues, Count, seconds: 0.05).Count;
            return right.GetStats() is var stats && stats.RxPackets + stats.RxMissed == Count;
        }, TimeSpan.FromSeconds(60)), $"of {Count} packets {right.GetStats()}");
        Assert.Equal(512, received);
        Assert.Equal((ulong)(Count - 512), Xstat(right, "xdp_rx0_dropped") + Xstat(right, "xdp_rx0_ring_full"));
        right.Stop();
        Assert.Equal((ulong)(Count - 512), right.GetStats().RxMissed);
    }

    [Fact]
    public void AfXdp_PortStopped_KernelGetsThePackets()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using var rig = new PortRig();
        Port left = rig.Start($"net_af_packet0,iface={a}"), right = rig.Start($"net_af_xdp1,iface={b}");
        right.Stop();
        Port kernel = rig.Start($"net_af_packet2,iface={b}");

        PortRig.SendAll(left.TxQueues[0], [rig.Packet(Frames.Numbered(7, 100))]);

        Assert.Equal([Frames.Numbered(7, 100)], PortRig.Collect(kernel.RxQueues, 1));
        right.Start();
        PortRig.SendAll(left.TxQueues[0], [rig.Packet(Frames.Numbered(8, 100))]);
        Assert.Equal([Frames.Numbered(8, 100)], PortRig.Collect(right.RxQueues, 1));
    }

    [Theory]
    [InlineData("link")]
    [InlineData("netlink")]
    public void AfXdp_PortClosed_ProgramIsGone(string attach)
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, _) = lab.AddVeth();
        using (var rig = new PortRig())
        {
            rig.Start($"net_af_xdp0,iface={a},attach={attach}");
            Assert.Equal("dataplane_xsk", ProgramOf(a));
            DeviceException e = Assert.Throws<DeviceException>(() => rig.Ports.Attach($"net_af_xdp1,iface={a}"));
            Assert.Contains("dataplane_xsk", e.Why, StringComparison.Ordinal);
        }
        AssertNoProgram(a);
    }

    [Fact]
    public void AfXdp_NetlinkProgramLeftByAKill_IsReplaced()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, _) = lab.AddVeth();
        using (Process forward = StartForward(a, "attach=netlink"))
            Kill(forward);
        Assert.Equal("dataplane_xsk", ProgramOf(a));   // before links there was no way for it to go
        using (var rig = new PortRig())
            rig.Start($"net_af_xdp0,iface={a},attach=netlink");
        AssertNoProgram(a);
    }

    [Theory]
    [InlineData("drv")]
    [InlineData("skb")]
    public void AfXdp_ProcessKilled_LeavesNoProgram(string mode)
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, _) = lab.AddVeth();
        using (Process forward = StartForward(a, "mode=" + mode))
        {
            Assert.Equal("dataplane_xsk", ProgramOf(a));
            Kill(forward);
        }
        AssertNoProgram(a);
        using var rig = new PortRig();
        rig.Start($"net_af_xdp0,iface={a},mode={mode}");   // and its queue is free
    }

    internal static string? ProgramOf(string link) =>
        Show(link).TryGetProperty("xdp", out JsonElement xdp)
            ? Bpf.ProgramName(xdp.GetProperty("prog").GetProperty("id").GetUInt32()) : null;

    internal static void AssertNoProgram(string link) => Assert.True(
        SpinWait.SpinUntil(() => !Show(link).TryGetProperty("xdp", out _), TimeSpan.FromSeconds(60)),
        $"{link} still has an XDP program");

    private static string DelayFile(Port port, string name) => $"/sys/class/net/{port.Info.InterfaceName}/{name}";

    private static (string Count, string Ns) Delay(Port port) =>
        (File.ReadAllText(DelayFile(port, "napi_defer_hard_irqs")).Trim(),
        File.ReadAllText(DelayFile(port, "gro_flush_timeout")).Trim());

    private static void SetDelay(Port port, string count, string ns)
    {
        File.WriteAllText(DelayFile(port, "napi_defer_hard_irqs"), count);
        File.WriteAllText(DelayFile(port, "gro_flush_timeout"), ns);
    }

    internal static ulong Xstat(Port port, string name) => port.GetXstats().Single(xstat => xstat.Name == name).Value;

    private static Process StartForward(string link, string arguments)
    {
        Process forward = AppProcess.Start("Forward", "--no-huge", "-l", AppProcess.Lcores(1), "--vdev",
            $"net_af_xdp0,iface={link},{arguments}", "--", "--forward-mode", "rxonly", "--stats-period", "0");
        Assert.True(SpinWait.SpinUntil(() => ProgramOf(link) != null || forward.HasExited, TimeSpan.FromMinutes(2)));
        return forward;
    }

    private static void Kill(Process process)
    {
        AppProcess.Signal(process, AppProcess.SigKill);
        process.WaitForExit();
    }

    private static JsonElement Show(string link) => JsonDocument.Parse(Host.Run("ip", "-d", "-j", "link", "show", link))
        .RootElement[0];
}
