using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <content>802.3ad, and what all tests here are made of.</content>
public sealed partial class BondingTests
{
    [Fact]
    public void Lacp_TwoBonds_AgreeThoughNobodyPollsAndFailOver()
    {
        (Port a, Port b) = BondsOfWires("mode=4,xmit_policy=l34,aggregate_wait_ms=0,lsc_poll_period_ms=1");
        Wait(() => a.GetLink().SpeedMbps == 300_000 && b.GetLink().SpeedMbps == 300_000);
        Assert.Equal(64, Send(a, 64, i => Flow(i % 32, 0)));
        ReceiveAll(b, 64);
        for (int i = 0; i < 3; i++)
            Assert.InRange(Xstat(b, $"member{i}_lacp_rx"), 1ul, 1000ul);
        Assert.Equal(64ul, b.GetStats().RxPackets);
        Assert.Equal(64 * 60ul, a.GetStats().TxBytes);      // LACP's own are in the members' counters alone
        _ports.Detach(_ports.Find("net_wire1")!);
        Wait(() => a.GetLink().SpeedMbps == 200_000 && b.GetLink().SpeedMbps == 200_000);
        Assert.Equal(64, Send(a, 64, i => Flow(i % 32, 0)));
        ReceiveAll(b, 64);
        Assert.InRange(Xstat(a, "bond_failovers"), 1ul, 10ul);
    }

    [Fact]
    public void Lacp_NoPartner_CarriesNothing()
    {
        (Port bond, Port[] far) = BondOfWires("mode=4,aggregate_wait_ms=0,lsc_poll_period_ms=1");
        var heard = new int[far.Length];
        Wait(() =>
        {
            int[] now = ReceiveEach(far, keep: bytes => Assert.True(LacpPdu.TryParse(bytes, out _)));
            heard = [.. heard.Zip(now, (before, more) => before + more)];
            return heard.Min() > 0;
        });
        Assert.False(bond.GetLink().Up);
        Assert.Equal(0, Send(bond, 4));
        Assert.Equal(4, Send(far[0], 4));
        for (int i = 0; i < 64; i++)
            Assert.Equal(0, Receive(bond, 32));
        Wait(() => Xstat(bond, "bond_rx_not_in_use") == 4);
    }

    [Fact]
    public void Lacp_HostileFramesOnOneMember_CostThatMemberAlone()
    {
        (Port a, Port b) = BondsOfWires("mode=4,aggregate_wait_ms=0,lsc_poll_period_ms=1");
        Wait(() => a.GetLink().SpeedMbps == 300_000 && b.GetLink().SpeedMbps == 300_000);
        _ports.Detach(b);
        Port evil = _ports.Find("net_wire1")!;
        Port good = _ports.Attach("net_bonding7,mode=4,aggregate_wait_ms=0,lsc_poll_period_ms=1,"
            + "member=net_wire3,member=net_wire5");
        evil.Start(new PortConfig(), _pool);
        good.Start(new PortConfig(), _pool);
        var random = new Random(8);
        var frame = new byte[LacpPdu.FrameBytes];
        new LacpPdu(new LacpParty(1, MacAddress.Local(0x666), 1, 1, 1, (LacpState)0x3d), default)
            .Write(frame, MacAddress.Local(0x666));
        for (int i = 0; i < 100_000; i += 50)
        {
            Assert.InRange(Send(evil, 50, _ => Mutate(frame, random)), 0, 50);
            Receive(a, 64);
            Receive(evil, 64);
        }
        Wait(() => a.GetLink() is { Up: true, SpeedMbps: >= 200_000 } && good.GetLink().SpeedMbps == 200_000);
        Assert.InRange(Xstat(a, "member0_lacp_rx_bad") + Xstat(a, "member0_lacp_rx_dropped"), 1000ul, 100_000ul);
        Assert.Equal(0ul, Xstat(a, "member1_lacp_rx_bad") + Xstat(a, "member1_lacp_rx_dropped"));
        Assert.Equal(32, Send(good, 32));
        Assert.InRange(Receive(a, 64), 32, 64);
    }

    // The test is the partner on the first cable, and says one thing after another.
    [Fact]
    public void Lacp_PartnerMovesByAndBy_IsCollectedFromBeforeItIsSentTo()
    {
        (Port bond, Port[] far) = BondOfWires("mode=4,aggregate_wait_ms=0,lsc_poll_period_ms=1");
        LacpParty heard = default;
        var frame = new byte[LacpPdu.FrameBytes];
        int data = 0;
        void Hear() => Receive(far[0], 256, bytes =>
        {
            if (LacpPdu.TryParse(bytes, out LacpPdu pdu))
                heard = pdu.Actor;
            else
                data++;
        });
        void Say(LacpState state, LacpState told)
        {
            const LacpState InUse = LacpState.Synchronization | LacpState.Collecting | LacpState.Distributing;
            Wait(() =>
            {
                Hear();
                new LacpPdu(new LacpParty(1, MacAddress.Local(0x99), 5, 1, 1,
                    LacpState.Activity | LacpState.Aggregation | state), heard).Write(frame, MacAddress.Local(0x99));
                Send(far[0], 1, _ => frame);
                Assert.Equal(0, Receive(bond, 32));
                return (heard.State & InUse) == told;
            });
            _ = bond.GetLink();     // what was told is done
        }
        void Check(bool sends, bool collects)
        {
            data = 0;
            if (sends)
                Wait(() => Send(bond, 4) == 4);     // the control thread may be in the queue just now
            else
                Assert.Equal(0, Send(bond, 4));
            Hear();
            Assert.Equal(sends ? 4 : 0, data);
            ulong before = Xstat(bond, "bond_rx_not_in_use");
            int delivered = 0;
            Assert.Equal(4, Send(far[0], 4));
            Wait(() => (delivered += Receive(bond, 32)) + (int)(Xstat(bond, "bond_rx_not_in_use") - before) == 4);
            Assert.Equal(collects ? 4 : 0, delivered);
        }

        Say(LacpState.None, LacpState.Synchronization);
        Check(sends: false, collects: false);
        Say(LacpState.Synchronization, LacpState.Synchronization | LacpState.Collecting);
        Check(sends: false, collects: true);
        Say(LacpState.Synchronization | LacpState.Collecting,
            LacpState.Synchronization | LacpState.Collecting | LacpState.Distributing);
        Check(sends: true, collects: true);
        // A link that came back at once begins anew, whether it was seen to be down or only told.
        far[0].SetLink(false);
        far[0].SetLink(true);
        Wait(() =>
        {
            Hear();
            return (heard.State & LacpState.Expired) != 0;
        });
        Say(LacpState.Synchronization, LacpState.Synchronization | LacpState.Collecting);
        Check(sends: false, collects: true);
        Say(LacpState.None, LacpState.Synchronization);
        Check(sends: false, collects: false);
    }

    [Fact]
    public void Lacp_PacketsKeptWhileNobodyPolled_ComeFirstAndInOrder()
    {
        (Port a, Port b) = BondsOfWires("mode=4,xmit_policy=l34,aggregate_wait_ms=0,lsc_poll_period_ms=1");
        Wait(() => a.GetLink().SpeedMbps == 300_000 && b.GetLink().SpeedMbps == 300_000);
        ulong Heard() => (ulong)Enumerable.Range(0, 3).Sum(i => (long)Xstat(b, $"member{i}_rx_packets"));
        ulong before = Heard();
        Assert.Equal(100, Send(a, 100, i => Flow(0, (byte)i)));
        Wait(() => Heard() >= before + 32);
        var seen = new List<byte>();
        var burst = new Mbuf[5];
        Wait(() =>
        {
            int count = b.RxQueues[0].RxBurst(burst);
            foreach (Mbuf packet in burst.AsSpan(0, count))
                seen.Add(packet.Data[59]);
            Mbuf.FreeBulk(burst.AsSpan(0, count));
            return seen.Count == 100;
        });
        Assert.Equal(Enumerable.Range(0, 100).Select(i => (byte)i), seen);
    }

    // Without a word of its own length or subtype it may be anybody's frame, and is delivered as such.
    private static byte[] Mutate(byte[] frame, Random random)
    {
        byte[] other = frame[..(random.Next(4) == 0 ? random.Next(15, frame.Length) : frame.Length)];
        for (int changes = random.Next(1, 10); changes > 0; changes--)
            other[random.Next(14, other.Length)] = (byte)random.Next(256);
        other[14] = (byte)random.Next(1, 4);
        return other;
    }

    private (Port Bond, Port[] Far) BondOfWires(string options, int descriptors = 0)
    {
        string members = "";
        var far = new Port[3];
        for (int i = 0; i < 3; i++)
        {
            _ports.Attach($"net_wire{2 * i}");
            far[i] = _ports.Attach($"net_wire{2 * i + 1}");
            far[i].Start(new PortConfig(), _pool, descriptors);
            members += $",member=net_wire{2 * i}";
        }
        Port bond = _ports.Attach($"net_bonding0,{options}{members}");
        bond.Start(new PortConfig(), _pool, descriptors);
        return (bond, far);
    }

    private (Port A, Port B) BondsOfWires(string options)
    {
        for (int i = 0; i < 6; i++)
            _ports.Attach($"net_wire{i}");
        Port a = _ports.Attach($"net_bonding0,{options},member=net_wire0,member=net_wire2,member=net_wire4");
        Port b = _ports.Attach($"net_bonding1,{options},member=net_wire1,member=net_wire3,member=net_wire5");
        a.Start(new PortConfig(), _pool);
        b.Start(new PortConfig(), _pool);
        return (a, b);
    }

    private int Send(Port port, int count, Func<int, byte[]>? make = null)
    {
        var packets = new Mbuf[count];
        Assert.True(_pool.TryAllocBulk(packets));
        for (int i = 0; i < count; i++)
        {
            byte[] bytes = make?.Invoke(i) ?? Flow(0, 0);
            Assert.True(packets[i].TryAppend(bytes.Length, out Span<byte> room));
            bytes.CopyTo(room);
        }
        int sent = port.TxQueues[0].TxBurst(packets);
        Mbuf.FreeBulk(packets.AsSpan(sent));
        return sent;
    }

    private static byte[] Flow(int flow, byte number)
    {
        byte[] bytes = new TestFrame(flow) { PayloadBytes = 18 }.Build();
        bytes[59] = number;
        return bytes;
    }

    private static List<(int Flow, byte Number)> Flows(Port port)
    {
        var flows = new List<(int, byte)>();
        Receive(port, 256, bytes => flows.Add(((bytes[34] << 8 | bytes[35]) - 1024, bytes[59])));
        return flows;
    }

    private static int[] ReceiveEach(Port[] ports, Action<byte[]>? keep = null) =>
        [.. ports.Select(port => Receive(port, 256, keep))];

    private static int Receive(Port port, int most, Action<byte[]>? keep = null)
    {
        var burst = new Mbuf[32];
        int received = 0, idle = 0;
        while (received < most && idle < 4)
        {
            int count = port.RxQueues[0].RxBurst(burst.AsSpan(0, Math.Min(32, most - received)));
            foreach (Mbuf packet in burst.AsSpan(0, count))
                keep?.Invoke(packet.Data.ToArray());
            Mbuf.FreeBulk(burst.AsSpan(0, count));
            received += count;
            idle = count == 0 ? idle + 1 : 0;
        }
        return received;
    }

    // A poll finds nothing where the control thread polls for LACP just then.
    private static void ReceiveAll(Port port, int count)
    {
        int received = 0;
        Wait(() => (received += Receive(port, 2 * count)) >= count);
        Assert.Equal(count, received);
    }

    private static Port AfterALook(Port bond)
    {
        _ = bond.GetLink();
        return bond;
    }

    private static ulong Xstat(Port port, string name) => port.GetXstats().Single(xstat => xstat.Name == name).Value;

    private static void Wait(Func<bool> condition) =>
        Assert.True(SpinWait.SpinUntil(condition, TimeSpan.FromSeconds(60)), "it does not happen");
}
