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
        Assert.Equal(64, Receive(b, 128));
        for (int i = 0; i < 3; i++)
            Assert.InRange(Xstat(b, $"member{i}_lacp_rx"), 1ul, 1000ul);
        Assert.Equal(64ul, b.GetStats().RxPackets);
        Assert.Equal(64 * 60ul, a.GetStats().TxBytes);      // LACP's own are in the members' counters alone
        _ports.Detach(_ports.Find("net_wire1")!);
        Wait(() => a.GetLink().SpeedMbps == 200_000 && b.GetLink().SpeedMbps == 200_000);
        Assert.Equal(64, Send(a, 64, i => Flow(i % 32, 0)));
        Assert.Equal(64, Receive(b, 128));
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

    private static Port AfterALook(Port bond)
    {
        _ = bond.GetLink();
        return bond;
    }

    private static ulong Xstat(Port port, string name) => port.GetXstats().Single(xstat => xstat.Name == name).Value;

    private static void Wait(Func<bool> condition) =>
        Assert.True(SpinWait.SpinUntil(condition, TimeSpan.FromSeconds(60)), "it does not happen");
}
