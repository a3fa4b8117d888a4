namespace Dataplane.Tests;

/// <summary>VLAN tags: taken out, put in, let through.</summary>
public abstract unsafe partial class DriverContract
{
    private const ushort Tci = 0x6064;      // priority 3, VLAN 100

    [Fact]
    public void VlanStrip_TaggedFrame_TagMovesIntoTheMbuf()
    {
        using DriverRig rig = Rig();
        if ((rig.Receiver.Info.RxOffloads & RxOffloads.VlanStrip) == 0)
            return;
        var tagged = new TestFrame(1) { Tci = Tci };
        var plain = new TestFrame(1);
        foreach (bool strip in (bool[])[true, false])
        {
            rig.Start(new PortConfig(),
                new PortConfig { RxOffloads = strip ? RxOffloads.VlanStrip : RxOffloads.None });
            List<Mbuf> arrived = rig.Through(rig.Packet(tagged.Build()), rig.Packet(plain.Build()));
            Assert.Equal(2, arrived.Count);
            const MbufFlags Stripped = MbufFlags.RxVlan | MbufFlags.RxVlanStripped;
            Assert.Equal((strip ? plain : tagged).Build(), DriverRig.BytesOf(arrived[0]));
            Assert.Equal(plain.Build(), DriverRig.BytesOf(arrived[1]));
            if (strip)
                Assert.Equal((Stripped, Tci), (arrived[0].Flags & Stripped, arrived[0].VlanTci));
            else
                Assert.Equal(MbufFlags.None, arrived[0].Flags & MbufFlags.RxVlanStripped);
            Assert.Equal(MbufFlags.None, arrived[1].Flags & Stripped);
            Mbuf.FreeBulk([.. arrived]);
            rig.Stop();
            rig.AssertAllBack("stopped");
        }
    }

    [Fact]
    public void VlanInsert_FlagSet_FrameLeavesWithATag()
    {
        using DriverRig rig = Rig();
        if ((rig.Sender.Info.TxOffloads & TxOffloads.VlanInsert) == 0)
            return;
        rig.Start(new PortConfig { TxOffloads = TxOffloads.VlanInsert }, new PortConfig());
        var plain = new TestFrame(2);
        Mbuf tagged = rig.Packet(plain.Build());
        tagged.Flags |= MbufFlags.TxVlan;
        tagged.VlanTci = Tci;
        List<Mbuf> arrived = rig.Through(tagged, rig.Packet(plain.Build()));
        Assert.Equal([(plain with { Tci = Tci }).Build(), plain.Build()], arrived.Select(DriverRig.BytesOf));
        Mbuf.FreeBulk([.. arrived]);
    }

    [Fact]
    public void VlanFilter_On_LetsThroughWhatWasAskedFor()
    {
        using DriverRig rig = Rig();
        Port port = rig.Receiver;
        rig.Start();
        Assert.Throws<ConfigException>(() => port.SetVlanFilter(100, true));
        if (!IsNic || (port.Info.RxOffloads & RxOffloads.VlanFilter) == 0)
            return;
        rig.Stop();
        rig.Start(new PortConfig(), new PortConfig { RxOffloads = RxOffloads.VlanFilter });
        port.SetPromiscuous(false);
        var plain = new TestFrame(3) { To = port.MacAddress };
        byte[][] frames = [.. ((ushort?[])[100, 101, 4095, 5, null]).Select(tci => (plain with { Tci = tci }).Build())];
        Assert.Equal([frames[4]], rig.Through(frames));
        port.SetVlanFilter(100, true);
        port.SetVlanFilter(4095, true);
        Assert.Equal([frames[0], frames[2], frames[4]], rig.Through(frames));
        port.SetVlanFilter(100, false);
        Assert.Equal([frames[2], frames[4]], rig.Through(frames));
        rig.Stop();
        rig.Restart();
        Assert.Equal([frames[2], frames[4]], rig.Through(frames));
        Assert.Throws<ConfigException>(() => port.SetVlanFilter(4096, true));
    }
}
