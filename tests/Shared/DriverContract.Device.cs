using Dataplane.Net;

namespace Dataplane.Tests;

/// <summary>What a device tells of itself: descriptors, interrupts, link, EEPROM, registers, counters.</summary>
public abstract unsafe partial class DriverContract
{
    // Long enough for an interrupt that should not be to come; each must be waited out.
    private const int SilenceMs = 200;

    [Fact]
    public void DescriptorStatus_PacketsMove_IsToldAsTheyDo()
    {
        using DriverRig rig = Rig();
        rig.Start();
        int last = rig.Tx.Config.Descriptors - 1;
        if (rig.Rx.GetDescriptorStatus(0) != DescriptorStatus.Unknown)
        {
            Assert.Equal(DescriptorStatus.WithDevice, rig.Rx.GetDescriptorStatus(0));
            rig.Offer(rig.Packet(new TestFrame(1).Build()), rig.Packet(new TestFrame(2).Build()));
            Assert.True(rig.WaitFor(() => rig.Rx.GetDescriptorStatus(1) == DescriptorStatus.Done),
                "two packets sent, and the second descriptor holds none");
            Assert.Equal(DescriptorStatus.Done, rig.Rx.GetDescriptorStatus(0));
            Assert.Equal(DescriptorStatus.WithDevice, rig.Rx.GetDescriptorStatus(2));
            if (rig.Rx.WaitingCount >= 0)
                Assert.Equal(2, rig.Rx.WaitingCount);
            Assert.Equal(2, FreeAll(rig.Collect(2)));
            Assert.Equal(DescriptorStatus.WithDevice, rig.Rx.GetDescriptorStatus(0));
        }
        else
            Assert.False(IsNic, "a NIC's receive queue tells nothing of its descriptors");
        if (rig.Tx.GetDescriptorStatus(0) != DescriptorStatus.Unknown)
        {
            rig.Offer(rig.Packet(new TestFrame(3).Build()));
            Assert.Equal(1, FreeAll(rig.Collect(1)));
            // The one before the next to be filled is the packet's that has arrived: it is sent, and said to be.
            Assert.True(rig.WaitFor(() => rig.Tx.GetDescriptorStatus(last) == DescriptorStatus.Done),
                "a packet has arrived, and its descriptor is not done");
        }
        else
            Assert.False(IsNic, "a NIC's transmit queue tells nothing of its descriptors");
    }

    [Fact]
    public void RxInterrupt_Armed_WakesOnAPacketAndNotOnSilence()
    {
        using DriverRig rig = Rig();
        if (!rig.Receiver.Info.RxInterrupts)
        {
            Assert.Throws<ConfigException>(() => rig.Receiver.Configure(new PortConfig { RxInterrupts = true }));
            return;
        }
        rig.Start(new PortConfig(), new PortConfig { RxInterrupts = true });
        Exchange(rig, 32);
        using var waiter = new RxWaiter(rig.Receiver.RxQueues);
        var burst = new Mbuf[32];
        for (int round = 0; round < 5; round++)
        {
            Assert.True(Holds(Silent), $"round {round}: woken, and there was nothing");
            waiter.Arm();
            Assert.Equal(0, rig.Rx.RxBurst(burst));
            rig.Offer(rig.Packet(new TestFrame(round).Build()));
            Assert.True(waiter.Sleep((int)Patience.TotalMilliseconds * 100 + 1000),
                $"round {round}: it slept through a packet");
            Assert.Equal(1, FreeAll(rig.Collect(1)));
            Assert.True(Holds(Untold), $"round {round}: told of a packet though it did not ask");
        }
        rig.Stop();
        rig.AssertAllBack("stopped");

        bool Holds(Func<bool> condition) => RepeatsInterrupts ? rig.WaitFor(condition) : condition();

        bool Silent()
        {
            waiter.Arm();
            Mbuf.FreeBulk(burst.AsSpan(0, rig.Rx.RxBurst(burst)));
            return !waiter.Sleep(SilenceMs);
        }

        bool Untold()       // disarmed, packets come and nobody is told
        {
            rig.Offer(rig.Packet(new TestFrame(1).Build()));
            Assert.Equal(1, FreeAll(rig.Collect(1)));
            return !waiter.Sleep(0) || !IsNic;
        }
    }

    [Fact]
    public void Link_TakenDownAndUp_IsTold()
    {
        using DriverRig rig = Rig();
        rig.Start();
        Port port = rig.Receiver;
        int told = 0;
        port.Events += (_, what) => Interlocked.Add(ref told, what == PortEvent.LinkChanged ? 1 : 0);
        if (!TryMode(() => port.SetLink(false)))
            return;
        Assert.True(rig.WaitFor(() => !port.GetLink().Up), "the link was taken down and is up");
        if (port.Info.LinkInterrupts)
            Assert.True(rig.WaitFor(() => Volatile.Read(ref told) >= 1), "the link went down, and nobody was told");
        int before = Volatile.Read(ref told);
        port.SetLink(true);
        rig.WaitForLinks();
        if (port.Info.LinkInterrupts)
            Assert.True(rig.WaitFor(() => Volatile.Read(ref told) > before), "the link came up, and nobody was told");
        Exchange(rig, 32);
    }

    [Fact]
    public void Eeprom_Read_BeginsWithTheAddress()
    {
        using DriverRig rig = Rig();
        Port port = rig.Receiver;
        var bytes = new byte[6];
        Assert.Throws<ConfigException>(() => port.ReadEeprom(port.Info.EepromBytes, bytes));
        Assert.Throws<ConfigException>(() => port.ReadEeprom(1, bytes));
        if (port.Info.EepromBytes == 0)
            return;
        port.ReadEeprom(0, bytes);
        Assert.Equal(port.Info.MacAddress, MacAddress.Read(bytes));
        var all = new byte[port.Info.EepromBytes];
        port.ReadEeprom(0, all);
        Assert.Equal(bytes, all[..6]);
    }

    [Fact]
    public void Registers_Read_AreNamedOnceAndAnswer()
    {
        using DriverRig rig = Rig();
        rig.Start();
        IReadOnlyList<RegisterValue> registers = [];
        if (!TryMode(() => registers = rig.Receiver.ReadRegisters()))
            return;
        Assert.NotEmpty(registers);
        Assert.DoesNotContain(registers.CountBy(register => register.Name), name => name.Value > 1);
        Assert.DoesNotContain(registers.CountBy(register => register.Offset), offset => offset.Value > 1);
        Assert.Contains(registers, register => register.Value is not (0 or uint.MaxValue));
        Exchange(rig, 32);      // reading them disturbed nothing
    }

    [Fact]
    public void FlowControl_Set_IsTold()
    {
        using DriverRig rig = Rig();
        rig.Start();
        FlowControl first = default;
        if (!TryMode(() => first = rig.Receiver.GetFlowControl()))
            return;
        foreach ((bool receive, bool transmit) in ((bool, bool)[])[(true, true), (true, false), (false, true),
            (false, false)])
        {
            var wanted = new FlowControl(receive, transmit, Autonegotiate: false);
            if (!TryMode(() => rig.Receiver.SetFlowControl(wanted)))
                return;
            Assert.Equal(wanted, rig.Receiver.GetFlowControl());
        }
        rig.Receiver.SetFlowControl(first);
        rig.WaitForLinks();
        Exchange(rig, 32);
    }

    private static int FreeAll(List<(int Queue, Mbuf Packet)> packets)
    {
        foreach ((int _, Mbuf packet) in packets)
            packet.Free();
        return packets.Count;
    }
}
