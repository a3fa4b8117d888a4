using Dataplane.Net;

namespace Dataplane.Tests;

/// <summary>Sizes and addresses of frames: what arrives, and what is left out.</summary>
public abstract unsafe partial class DriverContract
{
    [Fact]
    public void Scatter_JumboFrames_ArriveWholeInSeveralSegments()
    {
        using DriverRig rig = Rig();
        if ((rig.Receiver.Info.RxOffloads & RxOffloads.Scatter) == 0
            || (rig.Sender.Info.TxOffloads & TxOffloads.MultiSegments) == 0 || MakesItsOwn)
            return;
        int mtu = Math.Min(9000, Math.Min(rig.Receiver.Info.MaxMtu, rig.Sender.Info.MaxMtu));
        RxOffloads senders = rig.Sender.Info.RxOffloads & RxOffloads.Scatter;
        rig.Start(new PortConfig { Mtu = mtu, TxOffloads = TxOffloads.MultiSegments, RxOffloads = senders },
            new PortConfig { Mtu = mtu, TxOffloads = rig.Receiver.Info.TxOffloads & TxOffloads.MultiSegments,
                RxOffloads = RxOffloads.Scatter });
        int room = Mbuf.DefaultBufferSize - Mbuf.DefaultHeadroom;
        foreach (int length in (int[])[mtu + EtherHeader.Size, 2 * room, 2 * room + 1, room + 1, room, 60, 3000])
        {
            if (length > mtu + EtherHeader.Size)
                continue;
            byte[] frame = new TestFrame(11).OfLength(length).Build();
            List<Mbuf> arrived = rig.Through(rig.Packet(frame, segmentBytes: 1000));
            Assert.True(arrived.Count == 1, $"a frame of {length} bytes did not arrive");
            Assert.Equal(frame, DriverRig.BytesOf(arrived[0]));
            Assert.InRange(arrived[0].SegmentCount, (length + room - 1) / room, DriverRig.PoolSize);
            arrived[0].Free();
        }
        rig.Stop();
        rig.AssertAllBack("stopped");
    }

    [Fact]
    public void Mtu_EachAllowed_FramesOfThatSizePass()
    {
        using DriverRig rig = Rig();
        if (MakesItsOwn)
            return;
        PortInfo info = rig.Receiver.Info;
        foreach (int mtu in (int[])[info.MinMtu, 576, 1499, 1500])
        {
            if (mtu < info.MinMtu || mtu > info.MaxMtu)
                continue;
            rig.Start(new PortConfig { Mtu = mtu });
            Assert.Equal((mtu, mtu), (rig.Sender.Mtu, rig.Receiver.Mtu));
            byte[] full = new TestFrame(12).OfLength(Math.Max(82, mtu + EtherHeader.Size)).Build();
            Assert.Equal([full], rig.Through([full]));
            rig.Stop();
        }
        rig.AssertAllBack("stopped");
    }

    [Fact]
    public void Receive_NothingGivenBack_CountsAndRecovers()
    {
        using DriverRig rig = Rig();
        if (!IsNic)
            return;
        rig.Start();
        var packets = new Mbuf[1024];
        Assert.Equal(packets.Length, rig.Make(packets, 100));
        var held = new List<Mbuf>();
        int sent = 0;
        // What the sender has done with is taken at once, so the receiver finds no mbuf for its descriptors.
        for (; rig.Receiver.GetStats().RxNoMbuf == 0 && sent < packets.Length; sent += 8)
        {
            rig.Offer(packets.AsSpan(sent, 8));
            while (rig.Pool.TryAlloc(out Mbuf free))
                held.Add(free);
            int received = 0;
            Assert.True(rig.WaitFor(() => (received += ReceiveInto(rig, held)) >= 8
                || rig.Receiver.GetStats().RxNoMbuf > 0), $"packets {sent} to {sent + 8} did not arrive");
        }
        Assert.InRange(rig.Receiver.GetStats().RxNoMbuf, 1ul, ulong.MaxValue);
        Mbuf.FreeBulk(packets.AsSpan(sent));
        Mbuf.FreeBulk([.. held]);
        var rest = new Mbuf[DriverRig.PoolSize];
        Mbuf.FreeBulk(rest.AsSpan(0, rig.Receive(rig.Rx, rest)));
        Exchange(rig, 64);
        rig.Stop();
        rig.AssertAllBack("stopped");
    }

    [Fact]
    public void MacFilter_EachMode_LetsThroughWhatItShould()
    {
        using DriverRig rig = Rig();
        if (!IsNic)
            return;
        rig.Start();
        Port port = rig.Receiver;
        MacAddress own = port.MacAddress, other = MacAddress.Local(0x1234), group = new(0x0100_5e00_0042),
            group2 = new(0x3333_0000_0017);
        byte[][] frames = [.. ((MacAddress[])[own, MacAddress.Broadcast, other, group, group2])
            .Select((to, i) => new TestFrame(20 + i) { To = to }.Build())];
        void Expect(string when, params int[] through)
        {
            int[] came = [.. rig.Through(frames)
                .Select(bytes => Array.FindIndex(frames, frame => frame.SequenceEqual(bytes)))];
            Assert.True(through.SequenceEqual(came),
                $"{when}: frames {string.Join(' ', came)} came through, not {string.Join(' ', through)}");
        }

        Expect("promiscuous", 0, 1, 2, 3, 4);
        port.SetPromiscuous(false);
        Expect("its own address alone", 0, 1);
        if (TryMode(() => port.SetAllMulticast(true)))
        {
            Expect("all multicast", 0, 1, 3, 4);
            port.SetAllMulticast(false);
            Expect("all multicast off", 0, 1);
        }
        if (port.Info.MaxMacAddresses > 1)
        {
            port.AddMacAddress(other);
            Expect("one more address", 0, 1, 2);
            port.AddMacAddress(group);
            Expect("and a group", 0, 1, 2, 3);
            rig.Stop();
            rig.Restart();
            Expect("started again", 0, 1, 2, 3);
            port.RemoveMacAddress(other);
            Expect("without the address", 0, 1, 3);
            port.RemoveMacAddress(group);
            Expect("without the group", 0, 1);
        }
        if (TryMode(() => port.SetMacAddress(other)))
        {
            // The marker goes to the port's own address, so it comes through with either.
            Expect("another own address", 1, 2);
            port.SetMacAddress(own);
            Expect("its first address again", 0, 1);
        }
        port.SetPromiscuous(true);
        Expect("promiscuous again", 0, 1, 2, 3, 4);
    }

    private static int ReceiveInto(DriverRig rig, List<Mbuf> held)
    {
        var burst = new Mbuf[32];
        int received = rig.Rx.RxBurst(burst);
        held.AddRange(burst.AsSpan(0, received));
        return received;
    }

    // False where the driver says that it cannot, in the words for that.
    private static bool TryMode(Action set)
    {
        try
        {
            set();
            return true;
        }
        catch (DataplaneException e) when (e.Errno == Errno.EOPNOTSUPP)
        {
            return false;
        }
    }
}
