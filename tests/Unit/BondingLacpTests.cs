using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>LACP's machines with time of the test's own and PDUs as bytes. IEEE 802.1AX-2008 §5.4.</summary>
public class BondingLacpTests
{
    private const LacpState Active = LacpState.Activity | LacpState.Aggregation;
    private const LacpState InUse = LacpState.Synchronization | LacpState.Collecting | LacpState.Distributing;

    private static readonly MacAddress s_a = MacAddress.Local(0xa), s_b = MacAddress.Local(0xb);

    // A frame as Linux' bond driver sends it: version 1, three TLVs and the terminator. Written by hand from §5.4.2.2.
    private const string Frame = "0180c2000002 020000000b01 8809 01 01"
        + "0114 ffff 02000000000b 0015 00ff 0002 3d 000000"
        + "0214 ffff 02000000000a 0003 00ff 0001 07 000000"
        + "0310 0000 000000000000000000000000 0000"
        + "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";

    [Fact]
    public void Pdu_Frame_IsReadAndWrittenTheSame()
    {
        byte[] bytes = Bytes(Frame);
        Assert.Equal(LacpPdu.FrameBytes, bytes.Length);
        Assert.True(LacpPdu.TryParse(bytes, out LacpPdu pdu));
        Assert.Equal(new LacpParty(0xffff, s_b, 0x15, 0xff, 2, Active | InUse), pdu.Actor);
        Assert.Equal(new LacpParty(0xffff, s_a, 3, 0xff, 1, Active | LacpState.ShortTimeout), pdu.Partner);
        var written = new byte[LacpPdu.FrameBytes];
        written.AsSpan().Fill(0xee);
        pdu.Write(written, MacAddress.Local(0xb01));
        Assert.Equal(bytes, written);
    }

    [Theory]
    [InlineData(14, 0x02, false)]   // subtype
    [InlineData(15, 0x00, false)]   // version
    [InlineData(15, 0x02, true)]    // a later one is read as the first
    [InlineData(16, 0x02, false)]   // the actor's TLV
    [InlineData(17, 0x13, false)]
    [InlineData(36, 0x01, false)]   // the partner's
    [InlineData(37, 0xff, false)]
    [InlineData(60, 0xff, true)]    // reserved
    public void Pdu_FieldChanged_IsRefusedWhereItMustBe(int at, byte value, bool isRead)
    {
        byte[] bytes = Bytes(Frame);
        bytes[at] = value;
        Assert.Equal(isRead, LacpPdu.TryParse(bytes, out _));
        for (int length = 0; length < LacpPdu.FrameBytes; length++)
            Assert.False(LacpPdu.TryParse(bytes.AsSpan(0, length), out _));
    }

    [Fact]
    public void Marker_Information_IsAnsweredAndNothingElseIs()
    {
        byte[] marker = new byte[LacpPdu.FrameBytes], answer = new byte[LacpPdu.FrameBytes];
        Bytes("0180c2000002 020000000b01 8809 02 01 0110 0002 02000000000b 00001234 0000").CopyTo(marker, 0);
        Assert.True(LacpPdu.TryAnswerMarker(marker, answer, s_a));
        Assert.Equal("0180C200000202000000000A8809" + "02010210000202000000000B000012340000",
            Convert.ToHexString(answer)[..64]);
        marker[16] = 2;     // an answer is not answered
        Assert.False(LacpPdu.TryAnswerMarker(marker, answer, s_a));
        Assert.False(LacpPdu.TryAnswerMarker(Bytes(Frame), answer, s_a));
        Assert.False(LacpPdu.TryAnswerMarker(marker.AsSpan(0, 60), answer, s_a));
    }

    [Fact]
    public void TwoPorts_LinkUp_AgreeAndDistributeAfterTheWait()
    {
        var rig = new Pair();
        rig.Run(1999);
        Assert.False(rig.A.IsCollecting || rig.B.IsCollecting);
        Assert.Equal(LacpMachine.MuxState.Waiting, rig.A.Mux);
        rig.Run(200);
        Assert.True(rig.A.IsDistributing && rig.B.IsDistributing);
        Assert.Equal(Active | InUse, rig.A.Actor.State);
        Assert.Equal(rig.A.Actor, rig.B.Partner);
        Assert.Equal(rig.B.Actor, rig.A.Partner);
    }

    [Theory]
    [InlineData(false, 30_000, 90_000)]
    [InlineData(true, 1000, 3000)]
    public void Partner_FallsSilent_IsGivenUpInTime(bool fast, int period, int timeout)
    {
        var rig = new Pair(fast);
        rig.Run(10_000);
        Assert.True(rig.A.IsDistributing && rig.B.IsDistributing);
        int before = rig.SentByA;
        rig.Run(10 * period);
        Assert.InRange(rig.SentByA - before, 9, 11);
        rig.Cut = true;
        long cut = rig.Now;
        rig.Run(timeout + period + 100, () => rig.A.Receiving != LacpMachine.ReceiveState.Current);
        Assert.InRange(rig.Now - cut, timeout - period - 100, timeout + 100);
        Assert.False(rig.A.IsDistributing || rig.A.IsCollecting);
        Assert.Equal(LacpMachine.ReceiveState.Expired, rig.A.Receiving);
        Assert.True((rig.A.Actor.State & LacpState.Expired) != 0);
        before = rig.SentByA;
        rig.Run(LacpMachine.ShortTimeoutMs - 100);
        Assert.InRange(rig.SentByA - before, 2, 5);     // it asks each second
        rig.Run(200);
        Assert.Equal(LacpMachine.ReceiveState.Defaulted, rig.A.Receiving);
        Assert.Equal(LacpMachine.MuxState.Detached, rig.A.Mux);
        Assert.Equal(default, rig.A.Partner.System);
        rig.Cut = false;
        rig.Run(LacpMachine.SlowPeriodicMs + 5000);
        Assert.True(rig.A.IsDistributing && rig.B.IsDistributing);
    }

    [Fact]
    public void Link_GoesDown_StopsAtOnceAndComesBack()
    {
        var rig = new Pair();
        rig.Run(10_000);
        rig.SetLink(false);
        rig.Run(1);
        Assert.Equal((LacpMachine.ReceiveState.PortDisabled, false), (rig.A.Receiving, rig.A.IsCollecting));
        int sent = rig.SentByA;
        rig.Run(100_000);
        Assert.Equal(sent, rig.SentByA);
        rig.SetLink(true);
        rig.Run(5000);
        Assert.True(rig.A.IsDistributing && rig.B.IsDistributing);
    }

    [Fact]
    public void Partner_IsAnotherThanBefore_PortIsDetachedFirst()
    {
        var rig = new Pair();
        rig.Run(10_000);
        LacpPdu other = rig.B.Pdu with { Actor = rig.B.Actor with { System = MacAddress.Local(0xc) } };
        rig.A.Receive(other, rig.Now);
        Assert.False(rig.A.IsSelected);
        rig.A.Advance(rig.Now);
        Assert.Equal(LacpMachine.MuxState.Detached, rig.A.Mux);
    }

    [Fact]
    public void Partner_NotInStepOrOfAnotherMind_IsNotCollectedFrom()
    {
        var a = new LacpMachine(Party(s_a, 1), 0);
        a.SetLink(true, 3, 0);
        LacpPdu From(LacpState state, LacpParty partner) => new(Party(s_b, 2) with { Key = 9, State = state }, partner);
        void Check(LacpPdu pdu, LacpMachine.MuxState expected)
        {
            a.Receive(pdu, 10);
            a.IsSelected = true;
            a.Advance(10);
            Assert.Equal(expected, a.Mux);
        }

        a.Receive(From(Active, a.Actor), 10);
        Check(From(Active, a.Actor), LacpMachine.MuxState.Attached);
        Check(From(Active | LacpState.Synchronization, a.Actor), LacpMachine.MuxState.Collecting);
        Check(From(Active | LacpState.Synchronization | LacpState.Collecting, a.Actor),
            LacpMachine.MuxState.Distributing);
        Check(From(Active | LacpState.Synchronization, a.Actor), LacpMachine.MuxState.Collecting);
        Check(From(Active, a.Actor), LacpMachine.MuxState.Attached);
        // In step with somebody else.
        Check(From(Active | InUse, a.Actor with { Port = 7 }), LacpMachine.MuxState.Attached);
        Check(From(Active | InUse, a.Actor with { System = s_b }), LacpMachine.MuxState.Attached);
        Check(From(Active | InUse, a.Actor), LacpMachine.MuxState.Distributing);
    }

    [Fact]
    public void Pdus_InAFlood_AreAnsweredThreeTimesASecond()
    {
        var a = new LacpMachine(Party(s_a, 1), 0);
        a.SetLink(true, 3, 0);
        int sent = 0;
        for (long now = 0; now < 10_000; now++)
        {
            a.Receive(new LacpPdu(Party(s_b, 2) with { Key = (ushort)now }, default), now);
            a.Advance(now);
            if (!a.WantsToSend(now))
                continue;
            a.Sent(now);
            sent++;
        }
        Assert.InRange(sent, 27, 33);
    }

    [Fact]
    public void Pdu_Hostile_NeverThrowsAndNeverAggregatesWithNobody()
    {
        var random = new Random(1);
        byte[] good = Bytes(Frame), bytes = new byte[LacpPdu.FrameBytes];
        var rig = new Pair();
        rig.Run(10_000);
        var a = new LacpMachine(Party(s_a, 1), 0);
        a.SetLink(true, 3, 0);
        int read = 0;
        for (int i = 0; i < 100_000; i++)
        {
            good.CopyTo(bytes, 0);
            for (int changes = random.Next(1, 12); changes > 0; changes--)
                bytes[random.Next(14, bytes.Length)] = (byte)random.Next(256);
            if (LacpPdu.TryParse(bytes.AsSpan(0, random.Next(8) == 0 ? random.Next(bytes.Length) : bytes.Length),
                out LacpPdu pdu))
            {
                read++;
                a.Receive(pdu, i);
            }
            a.IsSelected = a.HasPartner && random.Next(2) == 0;
            a.Advance(i);
            Assert.True(!a.IsDistributing || (a.Partner.State & InUse) != 0);
            Assert.Equal(s_a, a.Actor.System);
        }
        Assert.InRange(read, 20_000, 99_000);
    }

    [Fact]
    public void Selection_PortsOfSeveralPartners_TakesOneAggregatorAndKeepsIt()
    {
        LacpMachine[] ports = [.. Enumerable.Range(1, 4).Select(i => new LacpMachine(Party(s_a, i), 0))];
        (LacpMachine, uint)[] all = [.. ports.Select(port => (port, 1000u))];
        void Hear(int port, MacAddress system, ushort key, LacpState state = Active)
        {
            ports[port].SetLink(true, 3, 0);
            ports[port].Receive(new LacpPdu(new LacpParty(1, system, key, 1, (ushort)port, state),
                ports[port].Actor), 0);
        }

        var stable = new LacpSelection(AggregatorChoice.Stable);
        stable.Apply(all);
        Assert.All(ports, port => Assert.False(port.IsSelected));
        Hear(0, s_b, 1, Active | LacpState.Synchronization | LacpState.Collecting);
        stable.Apply(all);
        Hear(1, MacAddress.Local(0xc), 1);
        Hear(2, MacAddress.Local(0xc), 1);
        stable.Apply(all);
        Assert.Equal([true, false, false, false], ports.Select(port => port.IsSelected));   // kept, though smaller
        var count = new LacpSelection(AggregatorChoice.Count);
        count.Apply(all);
        Assert.Equal([false, true, true, false], ports.Select(port => port.IsSelected));
        all[0].Item2 = 10_000;
        var bandwidth = new LacpSelection(AggregatorChoice.Bandwidth);
        bandwidth.Apply(all);
        Assert.Equal([true, false, false, false], ports.Select(port => port.IsSelected));
        // Another key of the same system, and one that must be alone, are other aggregators.
        Hear(2, MacAddress.Local(0xc), 2);
        Hear(3, s_b, 1, LacpState.Activity);
        bandwidth.Apply(all);
        Assert.Equal([true, false, false, false], ports.Select(port => port.IsSelected));
        ports[0].SetLink(false, 3, 1);
        stable.Apply(all);
        Assert.Equal([false, true, false, false], ports.Select(port => port.IsSelected));
    }

    private static LacpParty Party(MacAddress system, int port) =>
        new(0xffff, system, 0, 0xff, (ushort)port, Active);

    private static byte[] Bytes(string hex) => Convert.FromHexString(hex.Replace(" ", ""));

    /// <summary>Two ports on a cable, and a clock.</summary>
    private sealed class Pair
    {
        private readonly LacpSelection _ofA = new(AggregatorChoice.Stable), _ofB = new(AggregatorChoice.Stable);

        internal Pair(bool fast = false)
        {
            LacpState timeout = fast ? LacpState.ShortTimeout : LacpState.None;
            A = new LacpMachine(Party(s_a, 1) with { State = Active | timeout }, 2000);
            B = new LacpMachine(Party(s_b, 2) with { State = Active | timeout }, 2000);
            SetLink(true);
        }

        internal LacpMachine A { get; }
        internal LacpMachine B { get; }
        internal long Now { get; private set; } = 1;
        internal int SentByA { get; private set; }

        /// <summary>Nothing comes through, and the links stay up.</summary>
        internal bool Cut { get; set; }

        internal void SetLink(bool up)
        {
            A.SetLink(up, 3, Now);
            B.SetLink(up, 3, Now);
        }

        /// <summary>Runs both for some time, or until a condition holds.</summary>
        internal void Run(int milliseconds, Func<bool>? until = null)
        {
            for (long end = Now + milliseconds; Now < end && until?.Invoke() != true; Now++)
            {
                SentByA += Step(A, B, _ofA);
                Step(B, A, _ofB);
            }
        }

        private int Step(LacpMachine from, LacpMachine to, LacpSelection selection)
        {
            from.Advance(Now);
            selection.Apply([(from, 1000)]);
            from.Advance(Now);
            if (!from.WantsToSend(Now))
                return 0;
            var bytes = new byte[LacpPdu.FrameBytes];
            from.Pdu.Write(bytes, s_a);
            from.Sent(Now);
            Assert.True(LacpPdu.TryParse(bytes, out LacpPdu pdu));
            if (!Cut)
                to.Receive(pdu, Now);
            return 1;
        }
    }
}
