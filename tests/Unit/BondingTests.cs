using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Bonds over wires, rings and null ports, beyond the driver contract.</summary>
public sealed partial class BondingTests : IDisposable
{
    private const int PoolSize = 2048;

    private readonly Eal _eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
    private readonly PortList _ports;
    private readonly Mempool _pool;

    public BondingTests()
    {
        _ports = new PortList(_eal, Drivers.All);
        _pool = Mempool.CreateMbufPool(_eal.Memory, "p", PoolSize, cacheSize: 0);
    }

    public void Dispose()
    {
        foreach (Port port in _ports.Ports)
            if (port.Owner == null)
                port.Stop();
        Assert.Equal(PoolSize, _pool.AvailableCount);
        _ports.Dispose();
        _pool.Dispose();
        _eal.Dispose();
    }

    [Fact]
    public void Backup_ActiveMemberFails_AnotherTakesOverAndThePrimaryComesBack()
    {
        (Port bond, Port[] far) = BondOfWires("mode=1,primary=net_wire2");
        Assert.Equal(4, Send(bond, 4));
        Assert.Equal([0, 4, 0], ReceiveEach(far));
        far[1].SetLink(false);
        Wait(() => bond.GetLink().Up && Send(bond, 4) == 4);
        Assert.Equal([4, 0, 0], ReceiveEach(far));
        Assert.Equal(1ul, Xstat(bond, "bond_failovers"));
        Assert.Contains("net_wire0", bond.Info.Mode!);
        far[0].SetLink(false);
        Wait(() => bond.GetLink().Up && Send(bond, 4) == 4);
        Assert.Equal([0, 0, 4], ReceiveEach(far));
        far[0].SetLink(true);
        Wait(() => bond.GetLink().Up);
        Assert.Equal(4, Send(bond, 4));
        Assert.Equal([0, 0, 4], ReceiveEach(far));      // who works stays
        far[1].SetLink(true);
        Wait(() => Xstat(bond, "bond_member_changes") >= 4);
        Assert.Equal(4, Send(bond, 4));
        Assert.Equal([0, 4, 0], ReceiveEach(far));
        Assert.Equal(2ul, Xstat(bond, "bond_failovers"));
    }

    [Fact]
    public void Backup_PacketsOfAMemberNotInUse_AreDroppedAndCounted()
    {
        (Port bond, Port[] far) = BondOfWires("mode=1");
        Assert.Equal(4, Send(far[1], 4));
        Assert.Equal(4, Send(far[0], 4));
        Assert.Equal(4, Receive(bond, 32));
        for (int poll = 0; poll < 32; poll++)
            Assert.Equal(0, Receive(bond, 32));
        Assert.Equal((4ul, 4ul), (Xstat(bond, "bond_rx_not_in_use"), bond.GetStats().RxPackets));
    }

    [Fact]
    public void Link_AllMembersDown_IsDownAndToldAndNothingIsTaken()
    {
        (Port bond, Port[] far) = BondOfWires("mode=2");
        int told = 0;
        bond.Events += (_, what) => Interlocked.Add(ref told, what == PortEvent.LinkChanged ? 1 : 0);
        Assert.Equal(300_000u, bond.GetLink().SpeedMbps);
        foreach (Port port in far)
            port.SetLink(false);
        Wait(() => Volatile.Read(ref told) > 0 && !bond.GetLink().Up);      // nobody need ask for it to be told
        Assert.Equal(0, Send(bond, 4));
        far[2].SetLink(true);
        Wait(() => bond.GetLink().Up);
        Assert.Equal(100_000u, bond.GetLink().SpeedMbps);
        Assert.Equal(4, Send(bond, 4));
        Assert.Equal([0, 0, 4], ReceiveEach(far));
    }

    [Fact]
    public void Delays_LinkComesAndGoes_CountsWhenTheyAreOver()
    {
        (Port bond, Port[] far) = BondOfWires("mode=1,down_delay=3600000,lsc_poll_period_ms=1");
        far[0].SetLink(false);
        for (int look = 0; look < 20; look++)
            Assert.Contains("net_wire0", AfterALook(bond).Info.Mode!);
        _ports.Detach(bond);
        Port[] members = [.. Enumerable.Range(0, 3).Select(i => _ports.Find($"net_wire{2 * i}")!)];
        Port slow = _ports.Attach($"net_bonding1,mode=1,up_delay=3600000,member={members[1].Name}");
        slow.Start(new PortConfig(), _pool);
        for (int look = 0; look < 20; look++)
            Assert.False(AfterALook(slow).GetLink().Up);
    }

    [Fact]
    public void Balance_ManyFlows_UseAllMembersAndEachFlowStaysWithOneInOrder()
    {
        (Port bond, Port[] far) = BondOfWires("mode=2,xmit_policy=l34");
        var seen = new Dictionary<int, int>();
        var next = new Dictionary<int, byte>();
        for (int round = 0; round < 20; round++)
        {
            Assert.Equal(64, Send(bond, 64, i => Flow(i % 32, (byte)(round * 2 + i / 32))));
            for (int member = 0; member < far.Length; member++)
                foreach ((int flow, byte number) in Flows(far[member]))
                {
                    Assert.Equal(member, seen.TryAdd(flow, member) ? member : seen[flow]);
                    Assert.Equal(next.GetValueOrDefault(flow), number);
                    next[flow] = (byte)(number + 1);
                }
        }
        Assert.Equal(32, seen.Count);
        Assert.Equal(3, seen.Values.Distinct().Count());
        Assert.All(next.Values, number => Assert.Equal(40, number));
    }

    [Fact]
    public void Balance_MembersAreFull_WhatIsHeldBackIsSentNextInOrderAndBounded()
    {
        (Port bond, Port[] far) = BondOfWires("mode=2,xmit_policy=l34", descriptors: 32);
        var next = new Dictionary<int, byte>();
        var made = new byte[32];
        long taken = 0, received = 0;
        var random = new Random(5);
        for (int round = 0; round < 400; round++)
        {
            byte[] before = [.. made];
            int count = random.Next(1, 150);
            int[] flows = [.. Enumerable.Range(0, count).Select(_ => random.Next(32))];
            int sent = Send(bond, count, i => Flow(flows[i], made[flows[i]]++));
            // What was not taken was not sent: its numbers are used again.
            before.CopyTo(made, 0);
            foreach (int flow in flows.Take(sent))
                made[flow]++;
            taken += sent;
            if (round % 3 == 0)
                Check(far[random.Next(far.Length)]);
            PortStats stats = bond.GetStats();
            Assert.Equal((ulong)taken, stats.TxPackets + stats.TxErrors);
            Assert.Equal((ulong)taken * 60, stats.TxBytes);
            Assert.InRange(taken - received, 0, 3 * (32 + 64));
        }
        for (int i = 0; i < 40; i++)
        {
            bond.TxQueues[0].ReclaimTx();
            foreach (Port port in far)
                Check(port);
        }
        Assert.Equal(taken, received);

        void Check(Port port)
        {
            foreach ((int flow, byte number) in Flows(port))
            {
                Assert.Equal(next.GetValueOrDefault(flow), number);
                next[flow] = (byte)(number + 1);
                received++;
            }
        }
    }

    [Fact]
    public void Balance_SenderGoesAway_WhatIsHeldBackIsSentAllTheSame()
    {
        (Port bond, Port[] far) = BondOfWires("mode=2,xmit_policy=l34,lsc_poll_period_ms=1", descriptors: 32);
        int taken = Send(bond, 600, i => Flow(i % 32, 0));
        Assert.InRange(taken, 97, 600);
        int received = 0;
        Wait(() => (received += ReceiveEach(far).Sum()) == taken);
    }

    [Fact]
    public void Balance_MemberWithPacketsHeldBackFails_TheyAreCountedAsDropped()
    {
        (Port bond, Port[] far) = BondOfWires("mode=2,xmit_policy=l34", descriptors: 32);
        int taken = Send(bond, 600, i => Flow(i % 32, 0));
        foreach (Port port in far[1..])
            port.SetLink(false);
        Wait(() => bond.GetLink().SpeedMbps == 100_000);
        int received = ReceiveEach(far).Sum();
        taken += Send(bond, 1);
        received += ReceiveEach(far).Sum();
        PortStats stats = bond.GetStats();
        Assert.Equal(taken - received, (int)stats.TxErrors);
        Assert.InRange(taken - received, 1, 128);
        Assert.Equal(stats.TxPackets * 60, stats.TxBytes);
    }

    [Fact]
    public void Broadcast_EveryMemberSendsEachPacket()
    {
        (Port bond, Port[] far) = BondOfWires("mode=3", descriptors: 32);
        Assert.Equal(8, Send(bond, 8));
        Assert.Equal([8, 8, 8], ReceiveEach(far));
        Assert.Equal((8ul, 8 * 60ul), (bond.GetStats().TxPackets, bond.GetStats().TxBytes));
        Assert.Equal(20, Send(bond, 20));
        Assert.Equal(20, Receive(far[0], 32));
        Assert.Equal(32, Send(bond, 40));       // the first has room for 32, the others for 12
        Assert.Equal([32, 32, 32], ReceiveEach(far));
        Assert.Equal(40ul, Xstat(bond, "bond_tx_copies_lost"));
        Assert.Equal(PoolSize, _pool.AvailableCount);
    }

    [Fact]
    public void InTurn_Bursts_GoByEachMember()
    {
        (Port bond, Port[] far) = BondOfWires("mode=0");
        for (int i = 0; i < 6; i++)
            Assert.Equal(5, Send(bond, 5));
        Assert.Equal([10, 10, 10], ReceiveEach(far));
    }

    [Fact]
    public void Member_TouchedDirectly_IsRefusedAndSaysWhose()
    {
        (Port bond, _) = BondOfWires("mode=1");
        Port member = _ports.Find("net_wire0")!;
        Assert.Equal(bond.Name, member.Owner);
        Action[] touches = [member.Stop, member.Start, () => member.Configure(new PortConfig()),
            () => member.SetupRxQueue(0, _pool), () => member.SetMtu(1400), () => member.SetLink(false),
            () => member.SetPromiscuous(true), () => member.SetMacAddress(MacAddress.Local(7))];
        foreach (Action touch in touches)
        {
            DataplaneException e = Assert.Throws<DataplaneException>(touch);
            Assert.Equal(Errno.EBUSY, e.Errno);
            Assert.Contains(bond.Name, e.Message);
        }
        Assert.Contains("net_bonding0", Assert.Throws<DataplaneException>(
            () => _ports.Attach("net_bonding5,mode=1,member=net_wire0")).Message);
        Assert.Equal(4, Send(bond, 4));
        Assert.Equal(4, Receive(_ports.Find("net_wire1")!, 32));
    }

    [Fact]
    public void Close_Members_AreOrdinaryPortsAgainAsTheyWere()
    {
        Port[] members = [_ports.Attach("net_ring0"), _ports.Attach("net_ring1")];
        MacAddress[] addresses = [.. members.Select(port => port.MacAddress)];
        members[1].SetPromiscuous(true);
        Port bond = _ports.Attach("net_bonding0,mode=2,member=net_ring0,member=net_ring1,primary=net_ring1");
        Assert.Equal(addresses[1], bond.MacAddress);
        bond.Start(new PortConfig { Mtu = 4000 }, _pool);
        bond.AddMacAddress(MacAddress.Local(77));
        bond.SetPromiscuous(true);
        Assert.All(members, port => Assert.Equal((addresses[1], 4000, true, PortState.Started),
            (port.MacAddress, port.Mtu, port.Promiscuous, port.State)));
        bond.SetMacAddress(MacAddress.Local(78));
        Assert.All(members, port => Assert.Equal(MacAddress.Local(78), port.MacAddress));
        _ports.Detach(bond);
        Assert.Equal(addresses, members.Select(port => port.MacAddress));
        Assert.Equal([false, true], members.Select(port => port.Promiscuous));
        Assert.All(members, port => Assert.Equal((1500, (string?)null, 1),
            (port.Mtu, port.Owner, port.MacAddresses.Count)));
        members[0].Start(new PortConfig(), _pool);
        Assert.Equal(4, Send(members[0], 4));
        Assert.Equal(4, Receive(members[0], 32));
    }

    [Fact]
    public void Member_ClosedWhileInUse_CostsItsShareOnly()
    {
        (Port bond, Port[] far) = BondOfWires("mode=2,xmit_policy=l34");
        Assert.Equal(64, Send(bond, 64, i => Flow(i % 32, 0)));
        Assert.Equal(64, ReceiveEach(far).Sum());
        ulong before = bond.GetStats().TxBytes;
        _ports.Detach(_ports.Find("net_wire2")!);
        Assert.Equal(64, Send(bond, 64, i => Flow(i % 32, 0)));     // with no look at the links between
        int[] got = ReceiveEach(far);
        Assert.Equal((64, 0), (got.Sum(), got[1]));
        Assert.True(bond.GetLink().Up);
        Assert.Equal(before + 64 * 60, bond.GetStats().TxBytes);
        bond.Stop();
        bond.Start();
        Assert.Equal(64, Send(bond, 64, i => Flow(i % 32, 0)));
        Assert.Equal(64, ReceiveEach(far).Sum());
        bond.Stop();
        bond.Start(new PortConfig(), _pool);
        Assert.Equal(64, Send(bond, 64, i => Flow(i % 32, 0)));
        Assert.Equal(64, ReceiveEach(far).Sum());
        foreach (string last in (string[])["net_wire0", "net_wire4"])
            _ports.Detach(_ports.Find(last)!);
        Assert.False(bond.GetLink().Up);
        Assert.Equal(0, Send(bond, 4));
        Assert.Equal(0, Receive(bond, 4));
        bond.Stop();
        Assert.Contains("no member", Assert.Throws<DataplaneException>(bond.Start).What);
    }

    [Fact]
    public void Member_ClosedWhileThreadsPoll_NothingIsTornDownUnderThem()
    {
        (Port bond, Port[] far) = BondOfWires("mode=2,xmit_policy=l34,lsc_poll_period_ms=1");
        bool stop = false;
        long sent = 0, got = 0;
        var poller = new Thread(() =>
        {
            while (!Volatile.Read(ref stop))
            {
                sent += Send(bond, 32, i => Flow(i, 0));
                got += ReceiveEach(far).Sum() + Receive(bond, 32);
            }
        });
        poller.Start();
        for (int round = 0; round < 200; round++)
        {
            far[round % 2].SetLink(round / 2 % 2 != 0);
            _ = bond.GetLink();
        }
        _ports.Detach(_ports.Find("net_wire4")!);
        Wait(() => Interlocked.Read(ref sent) > 1000);
        Volatile.Write(ref stop, true);
        poller.Join();
        PortStats stats = bond.GetStats();
        Assert.Equal((ulong)sent, stats.TxPackets + stats.TxErrors);
    }
}
