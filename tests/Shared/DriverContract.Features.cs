namespace Dataplane.Tests;

/// <summary>Data, queues, offloads, link, addresses, arguments.</summary>
public abstract unsafe partial class DriverContract
{
    [Fact]
    public void Configure_AgainWithMoreQueues_Works()
    {
        using DriverRig rig = Rig();
        rig.Start();
        Exchange(rig, 32);
        rig.Stop();
        int rxQueues = Math.Min(4, rig.Receiver.Info.MaxRxQueues), txQueues = Math.Min(4, rig.Sender.Info.MaxTxQueues);
        rig.Start(new PortConfig { RxQueues = rxQueues, TxQueues = txQueues });
        var packets = new Mbuf[64];
        int sent = 0, received = 0;
        foreach (TxQueue queue in rig.Sender.TxQueues)
            sent += rig.Send(queue, packets.AsSpan(0, rig.Make(packets.AsSpan(0, 48), 100)));
        Assert.Equal(48 * txQueues, sent);
        var queues = new HashSet<int>();
        if (!MakesItsOwn)
            foreach ((int queue, Mbuf packet) in rig.Collect(sent, packet => DriverRig.SequenceOf(packet) != null))
            {
                queues.Add(queue);
                received++;
                packet.Free();
            }
        rig.Stop();
        rig.AssertAllBack("stopped");
        if (MakesItsOwn)
            return;
        Assert.InRange(received, Math.Min(sent, 64), sent);
        Assert.InRange(queues.Count, Math.Min(2, rxQueues), rxQueues);
    }

    [Fact]
    public void Data_Sent_ArrivesUnchangedAndInOrder()
    {
        using DriverRig rig = Rig();
        rig.Start();
        uint expected = rig.NextSequence;
        var packets = new Mbuf[32];
        for (int round = 0; round < 20; round++)
        {
            int sent = rig.Send(rig.Tx, packets.AsSpan(0, rig.Make(packets)));
            Assert.Equal(packets.Length, sent);
            int received = ReceiveOurs(rig, packets);
            for (int i = 0; i < received; i++)
            {
                Assert.Equal(rig.Receiver.Id, packets[i].Header->Port);
                Assert.Equal(MbufFlags.None, packets[i].Header->OlFlags & MbufFlags.TxIpv4);
                if (MakesItsOwn)
                    Assert.NotEmpty(DriverRig.BytesOf(packets[i]));
                else
                    Assert.Equal(DriverRig.Expected(expected++, packets[i].PacketLength),
                        DriverRig.BytesOf(packets[i]));
            }
            Mbuf.FreeBulk(packets.AsSpan(0, received));
            Assert.Equal(packets.Length, received);
        }
    }

    [Fact]
    public void Data_SeveralSegments_ArrivesWholeOrIsCounted()
    {
        using DriverRig rig = Rig();
        bool claimed = (rig.Sender.Info.TxOffloads & TxOffloads.MultiSegments) != 0;
        rig.Start(new PortConfig { TxOffloads = rig.Sender.Info.TxOffloads & TxOffloads.MultiSegments });
        var packets = new Mbuf[1];
        Assert.Equal(1, rig.Make(packets, 900));
        byte[] whole = DriverRig.BytesOf(packets[0]);
        Mbuf chain = Split(rig, packets[0], 100, 1, 799);
        int sent = rig.Send(rig.Tx, [chain]);
        PortStats stats = rig.Sender.GetStats();
        int received = ReceiveOurs(rig, packets);
        if (claimed)
        {
            Assert.Equal((1, 1ul, 900ul), (sent, stats.TxPackets, stats.TxBytes));
            Assert.Equal(1, received);
            if (!MakesItsOwn)
                Assert.Equal(whole, DriverRig.BytesOf(packets[0]));
        }
        else
        {
            Assert.Equal((ulong)sent, stats.TxErrors);
            Assert.Equal(0, received);
        }
        Mbuf.FreeBulk(packets.AsSpan(0, received));
        rig.Stop();
        rig.AssertAllBack("stopped");
    }

    [Fact]
    public void Offloads_EachClaimed_MovesPackets()
    {
        using DriverRig rig = Rig();
        foreach (RxOffloads offload in Enum.GetValues<RxOffloads>().Where(o => (o & rig.Receiver.Info.RxOffloads) != 0))
            TryOffload(rig, new PortConfig { RxOffloads = offload }, offload.ToString());
        foreach (TxOffloads offload in Enum.GetValues<TxOffloads>().Where(o => (o & rig.Sender.Info.TxOffloads) != 0))
            TryOffload(rig, new PortConfig { TxOffloads = offload }, offload.ToString());
    }

    [Fact]
    public void Offloads_NotClaimed_AreRefusedByName()
    {
        using DriverRig rig = Rig();
        foreach (RxOffloads offload in Enum.GetValues<RxOffloads>().Where(o => (o & ~rig.Sender.Info.RxOffloads) != 0))
            Assert.Contains(offload.ToString(), Assert.Throws<ConfigException>(
                () => rig.Sender.Configure(new PortConfig { RxOffloads = offload })).What);
        foreach (TxOffloads offload in Enum.GetValues<TxOffloads>().Where(o => (o & ~rig.Sender.Info.TxOffloads) != 0))
            Assert.Contains(offload.ToString(), Assert.Throws<ConfigException>(
                () => rig.Sender.Configure(new PortConfig { TxOffloads = offload })).What);
    }

    [Fact]
    public void Link_StartedAndStopped_FollowsThePort()
    {
        using DriverRig rig = Rig();
        rig.Start();
        Assert.True(rig.Sender.GetLink().Up);
        Assert.True(rig.Receiver.GetLink().Up);
        rig.Stop();
        Assert.Equal(PortState.Stopped, rig.Sender.State);
    }

    [Fact]
    public void MtuAndAddress_OfEveryPort_AreValid()
    {
        using DriverRig rig = Rig();
        foreach (Port port in rig.Ports.Ports)
        {
            PortInfo info = port.Info;
            Assert.False(port.MacAddress.IsMulticast);
            Assert.NotEqual(default, port.MacAddress);
            Assert.InRange(port.Mtu, info.MinMtu, info.MaxMtu);
            Assert.Throws<ConfigException>(() => port.SetMtu(info.MinMtu - 1));
            Assert.Throws<ConfigException>(() => port.SetMtu(info.MaxMtu + 1));
            Assert.InRange(info.MaxRxQueues, 1, Port.MaxQueues);
            Assert.InRange(info.MaxTxQueues, 1, Port.MaxQueues);
            Assert.InRange(info.DefaultDescriptors, info.MinDescriptors, info.MaxDescriptors);
            if (info.Pci == null)
                Assert.StartsWith(info.DriverName, port.Name, StringComparison.Ordinal);
            else
                Assert.Equal(info.Pci.Address.ToString(), port.Name);
        }
        Assert.Equal(rig.Ports.Ports.Count, rig.Ports.Ports.Select(port => port.MacAddress).Distinct().Count());
    }

    [Fact]
    public void Arguments_Wrong_AreRefusedWithTheDevicesName()
    {
        Assert.NotEmpty(BadDevices);
        foreach (string device in BadDevices.Where(DriverRig.IsPci))
            Assert.Contains(device.Split(',')[0],
                Assert.ThrowsAny<DataplaneException>(() => Rig([device]).Dispose()).What);
        using DriverRig rig = Rig(devices: []);
        foreach (string device in BadDevices.Where(device => !DriverRig.IsPci(device)))
        {
            DataplaneException e = Assert.ThrowsAny<DataplaneException>(() => rig.Ports.Attach(device));
            Assert.Contains(device.Split(',')[0], e.What);
        }
        Assert.Empty(rig.Ports.Ports);
    }
}
