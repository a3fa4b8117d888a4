using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <content>Links that come and go while packets are under way.</content>
public sealed partial class BondingTests
{
    [Fact]
    public void Member_LinkWentAndCameBetweenTwoLooks_IsNoticedOnce()
    {
        Port near = _ports.Attach("net_wire0"), far = _ports.Attach("net_wire1");
        near.Start(new PortConfig(), _pool);
        far.Start(new PortConfig(), _pool);
        var member = new Member(near, 0);
        near.Events += (_, what) => { if (what == PortEvent.LinkChanged) member.NoteLinkChange(); };
        member.Forget();
        member.Look(1, 0, 0);
        Assert.Equal((true, false), (member.Link.Up, member.HasBounced));
        far.SetLink(false);
        far.SetLink(true);
        member.Look(2, 0, 0);
        Assert.Equal((true, true), (member.Link.Up, member.HasBounced));
        member.Look(3, 0, 0);
        Assert.Equal((true, false), (member.Link.Up, member.HasBounced));
    }

    // What a full member holds back goes before what comes later, also once it is the only one left.
    [Fact]
    public void Balance_LinksComeAndGoUnderFullMembers_EachMembersFlowsStayInOrder()
    {
        (Port bond, Port[] far) = BondOfWires("mode=2,xmit_policy=l34,lsc_poll_period_ms=1", descriptors: 32);
        bool stop = false;
        string? wrong = null;
        long received = 0;
        var receiver = new Thread(() =>
        {
            var last = new ushort[far.Length, 32];
            for (int turn = 0; !Volatile.Read(ref stop); turn++)
            {
                int member = turn % far.Length;
                Receive(far[member], 8, bytes =>
                {
                    int flow = (bytes[34] << 8 | bytes[35]) - 1024;
                    ushort number = (ushort)(bytes[58] << 8 | bytes[59]);
                    if ((short)(number - last[member, flow]) < 0)
                        wrong ??= $"member {member}, flow {flow}: {number} behind {last[member, flow]}";
                    last[member, flow] = number;
                    received++;
                });
            }
        });
        receiver.Start();
        long taken = 0;
        ushort made = 0;
        try
        {
            for (int round = 0; round < 100; round++)
            {
                SendSome(2);
                SetOthers(up: false);
                SendSome(6);
                SetOthers(up: true);
            }
            Wait(() => bond.TxQueues[0].ReclaimTx() >= 0
                && (ulong)Interlocked.Read(ref received) == bond.GetStats().TxPackets);
        }
        finally
        {
            Volatile.Write(ref stop, true);
            receiver.Join();
        }
        Assert.Null(wrong);
        PortStats stats = bond.GetStats();
        Assert.Equal((ulong)taken, stats.TxPackets + stats.TxErrors);

        void SetOthers(bool up)
        {
            far[1].SetLink(up);
            far[2].SetLink(up);
            _ = bond.GetLink();
        }

        void SendSome(int bursts)
        {
            for (int burst = 0; burst < bursts; burst++)
            {
                ushort first = made;
                int sent = Send(bond, 96, i => Numbered((first + i) % 32, (ushort)(first + i)));
                made = (ushort)(first + sent);
                taken += sent;
            }
        }
    }

    // Room comes between the try with what is held back and the new burst.
    [Fact]
    public void Balance_LastMemberHoldsPacketsBack_NewOnesDoNotOvertakeThem()
    {
        (Port bond, Port[] far) = BondOfWires("mode=2,xmit_policy=l34,lsc_poll_period_ms=1000", descriptors: 32);
        for (int burst = 0; burst < 8; burst++)
            Send(bond, 64, i => Flow(i % 32, 0));
        far[1].SetLink(false);
        far[2].SetLink(false);
        Wait(() => bond.GetLink().SpeedMbps == 100_000);
        var numbers = new List<byte>();
        var room = new RoomAfterFirstCall(() => Receive(far[0], 32, bytes => numbers.Add(bytes[59])));
        TxQueue member = _ports.Find("net_wire0")!.TxQueues[0];
        member.AddCallback(room);
        Send(bond, 8, _ => Flow(0, 1));
        member.RemoveCallback(room);
        for (int turn = 0; turn < 8; turn++)
        {
            bond.TxQueues[0].ReclaimTx();
            Receive(far[0], 256, bytes => numbers.Add(bytes[59]));
        }
        Assert.Equal(numbers.Order(), numbers);
        Assert.InRange(numbers.Count(number => number == 0), 33, 96);
    }

    private sealed class RoomAfterFirstCall(Action make) : TxCallback
    {
        private int _calls;

        public override void OnOffered(TxQueue queue, ReadOnlySpan<Mbuf> packets) { }

        public override void OnTaken(TxQueue queue, ReadOnlySpan<Mbuf> packets, int taken)
        {
            if (++_calls == 1)
                make();
        }
    }

    private static byte[] Numbered(int flow, ushort number)
    {
        byte[] bytes = Flow(flow, (byte)number);
        bytes[58] = (byte)(number >> 8);
        return bytes;
    }
}
