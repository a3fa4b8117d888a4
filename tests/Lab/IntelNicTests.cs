using System.Buffers.Binary;
using System.Diagnostics;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>What igb and e1000e do beyond the driver contract, on the models in the machine.</summary>
[Guest(Machines.Intel612)]
public sealed class IntelNicTests(ITestOutputHelper output)
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(1);
    private int _told;

    private int Told => Volatile.Read(ref _told);

    [Theory]
    [InlineData("e1000e", InterruptKind.IntX)]
    [InlineData("e1000e", InterruptKind.Msi)]
    [InlineData("e1000e", InterruptKind.MsiX)]
    [InlineData("igb", InterruptKind.Msi)]
    [InlineData("igb", InterruptKind.MsiX)]
    public void Link_TakenAwayOutside_IsToldByTheKindOfInterruptAskedFor(string model, InterruptKind kind)
    {
        using DriverRig rig = Rig(model, new EalOptions { VfioIntr = kind });
        Port port = rig.Receiver;
        Assert.True(port.Info.LinkInterrupts, $"{model} has no {kind}");
        Assert.Equal(kind == InterruptKind.MsiX, port.Info.RxInterrupts);     // a vector for each queue
        rig.Start(new PortConfig { RxInterrupts = port.Info.RxInterrupts });
        port.Events += (_, what) => Interlocked.Add(ref _told, what == PortEvent.LinkChanged ? 1 : 0);
        for (int round = 0; round < 6; round++)
        {
            bool up = round % 2 != 0;
            int before = Told;
            Guest.Monitor($"set_link nic{Number(port)} {(up ? "on" : "off")}");
            Assert.True(SpinWait.SpinUntil(() => Told > before && port.GetLink().Up == up, s_patience),
                $"round {round}: told {Told - before} times that the link is {(up ? "up" : "down")}");
        }
        Exchange(rig);
    }

    [Theory]
    [InlineData("e1000e")]
    [InlineData("igb")]
    public void InterruptKinds_NotAskedFor_AreNotThere(string model)
    {
        using DriverRig rig = Rig(model, new EalOptions { VfioIntr = InterruptKind.MsiX });
        PciFunction function = ((IntelPort)rig.Receiver).Function;
        Assert.Equal((0, 0), (function.MaxVectors(InterruptKind.IntX), function.MaxVectors(InterruptKind.Msi)));
        Assert.InRange(function.MaxVectors(InterruptKind.MsiX), 2, 25);
    }

    [Theory]
    [InlineData("e1000e")]
    [InlineData("igb")]
    public void Led_OnAndOff_BlinksAndShowsWhatItDid(string model)
    {
        const uint On = 0xe, Blink = 0x80;
        using DriverRig rig = Rig(model);
        uint before = Register(rig.Receiver, "Ledctl");
        rig.Receiver.SetLed(true);
        Assert.Equal(On | Blink | (before & ~0xffu), Register(rig.Receiver, "Ledctl"));
        rig.Receiver.SetLed(true);
        rig.Receiver.SetLed(false);
        Assert.Equal(before, Register(rig.Receiver, "Ledctl"));
    }

    [Theory]
    [InlineData("e1000e")]
    [InlineData("igb")]
    public void FlowControl_Set_IsInCtrlAndItsThresholdsFitTheBuffer(string model)
    {
        const int ReceivesPause = 27, SendsPause = 28;
        using DriverRig rig = Rig(model);
        rig.Start();
        foreach ((bool receive, bool transmit) in ((bool, bool)[])[(true, false), (false, true), (true, true)])
        {
            rig.Receiver.SetFlowControl(new FlowControl(receive, transmit, Autonegotiate: false));
            uint control = Register(rig.Receiver, "Ctrl");
            Assert.Equal((receive, transmit), ((control >> ReceivesPause & 1) != 0, (control >> SendsPause & 1) != 0));
        }
        uint high = Register(rig.Receiver, "Fcrth"), low = Register(rig.Receiver, "Fcrtl") & 0xffff;
        uint kilobytes = model == "igb" ? Register(rig.Receiver, "Rxpbs") & 0x7f : Register(rig.Receiver, "Pba") & 0xff;
        output.WriteLine($"{model}: {kilobytes} KB for receive, pause from {high}, go on below {low}");
        Assert.InRange(high, low + 1, kilobytes * 1024 - 1518);
    }

    [Theory]
    [InlineData("e1000e")]
    [InlineData("igb")]
    public void Eeprom_FirstWords_AddUpToTheirChecksum(string model)
    {
        const int Words = 0x40, Sum = 0xbaba;        // Intel's NVM maps: word 0x3f makes it so
        using DriverRig rig = Rig(model);
        var bytes = new byte[2 * Words];
        rig.Receiver.ReadEeprom(0, bytes);
        int sum = 0;
        for (int i = 0; i < bytes.Length; i += 2)
            sum += BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(i));
        Assert.Equal(Sum, sum & 0xffff);
        Assert.Matches(@"^\d+\.[0-9a-f]{2}\.[0-9a-f]$", rig.Receiver.FirmwareVersion!);
    }

    [Fact]
    public void Clock_OfIgb_CountsNanoseconds()
    {
        using DriverRig rig = Rig("igb");
        rig.Start();
        ulong before = rig.Receiver.ReadClock();
        long start = Stopwatch.GetTimestamp();
        SpinWait.SpinUntil(() => Stopwatch.GetElapsedTime(start).TotalMilliseconds > 200);
        double elapsed = Stopwatch.GetElapsedTime(start).TotalNanoseconds;
        ulong counted = rig.Receiver.ReadClock() - before;
        output.WriteLine($"{counted} ns counted in {elapsed:f0}");
        Assert.InRange(counted, elapsed / 2, elapsed * 4);
    }

    [Fact]
    public void Stamp_OfAPtpSyncMessage_IsTheTimeItCame()
    {
        using DriverRig rig = Rig("igb");
        rig.Start(new PortConfig(), new PortConfig { RxOffloads = RxOffloads.Timestamp });
        MbufField<ulong> field = MbufDynamic.RegisterField<ulong>(rig.Eal.Memory, MbufDynamic.TimestampField);
        MbufFlags flag = MbufDynamic.LookupFlag(rig.Eal.Memory, MbufDynamic.RxTimestampFlag);
        for (int round = 0; round < 3; round++)      // the second needs the room the first was read from
        {
            byte[] sync = new byte[60];
            Convert.FromHexString("011b19000000" + "020000000077" + "88f7" + "0002002c").CopyTo(sync, 0);
            ulong before = rig.Receiver.ReadClock();
            rig.Offer(rig.Packet(sync));
            Mbuf packet = rig.Collect(1, m => m.PacketLength == 60 && m.Data[12] == 0x88).Single().Packet;
            ulong after = rig.Receiver.ReadClock();
            Assert.Equal(PacketType.L2EtherTimesync, packet.PacketType);
            Assert.Equal(flag | MbufFlags.RxIeee1588Ptp | MbufFlags.RxIeee1588Timestamp,
                packet.Flags & (flag | MbufFlags.RxIeee1588Ptp | MbufFlags.RxIeee1588Timestamp));
            Assert.InRange(field.Of(packet), before, after);
            packet.Free();
        }
    }

    [Fact]
    public void Errata_OfThe82574_AreHeededAfterEveryStart()
    {
        using DriverRig rig = Rig("e1000e");
        rig.Start();
        Check();
        rig.Stop();                                  // resets the MAC
        rig.Restart();
        Check();

        void Check()
        {
            Port port = rig.Receiver;
            Assert.Equal(1u << 22 | 1 << 27, Register(port, "Gcr") & (1 << 22 | 1 << 27));
            Assert.Equal(1u, Register(port, "Gcr2") & 1);
            Assert.Equal(1u << 10, Register(port, "Tarc0") & 1 << 10);   // QEMU keeps no more than its low bits
            Assert.Equal(Register(port, "Txdctl0"), Register(port, "Txdctl1"));
            Assert.Equal(1u << 22, Register(port, "Txdctl0") & 1 << 22);
            Assert.Equal(1u << 12, Register(port, "Rfctl") & 1 << 12);
        }
    }

    /// <summary>A function whose registers cannot be reached: its memory is switched off, or it sleeps (D3hot).
    /// </summary>
    [Theory]
    [InlineData("e1000e", false)]
    [InlineData("e1000e", true)]
    [InlineData("igb", false)]
    [InlineData("igb", true)]
    public void Registers_OutOfReach_EndInAMessageAndTheNextStartWorks(string model, bool asleep)
    {
        long start = Stopwatch.GetTimestamp();
        using (Eal eal = Eal.Initialize(Options(null)))
        using (PciFunction function = eal.OpenNic(Guest.Pair(model).Second))
        {
            Hide(function, asleep);
            PciPortDriver driver = model == "igb" ? new IgbPmd() : new E1000ePmd();
            var context = new PortContext(eal, DevArgs.Parse(Guest.Pair(model).Second), 0) { Function = function };
            DeviceException e = Assert.Throws<DeviceException>(() => driver.Create(context));
            output.WriteLine($"after {Stopwatch.GetElapsedTime(start).TotalSeconds:f1} s: {e.Message}");
            Assert.Contains("does not answer", e.What);
            Assert.NotNull(e.Why);
            Assert.NotNull(e.Fix);
        }
        using (DriverRig rig = Rig(model))           // and one that is lost while it runs
        {
            rig.Start();
            Exchange(rig);
            Hide(((IntelPort)rig.Receiver).Function, asleep);
            start = Stopwatch.GetTimestamp();
            Assert.False(rig.Receiver.GetLink().Up);
            Assert.Equal(0, rig.Rx.RxBurst(new Mbuf[8]));
            rig.Receiver.Stop();
            Assert.InRange(Stopwatch.GetElapsedTime(start).TotalSeconds, 0, s_patience.TotalSeconds);
        }
        using DriverRig again = Rig(model);
        again.Start();
        Exchange(again);
    }

    private static void Exchange(DriverRig rig)
    {
        for (int i = 0; i < 10; i++)
        {
            rig.WaitForLinks();
            rig.Offer(rig.Packet(new TestFrame(i).Build()));
            foreach ((int _, Mbuf packet) in rig.Collect(1))
                packet.Free();
        }
    }

    private static DriverRig Rig(string model, EalOptions? options = null)
    {
        (string first, string second) = Guest.Pair(model);
        return new DriverRig(Drivers.All, [first, second], TimeSpan.FromMilliseconds(300), Options(options));
    }

    private static EalOptions Options(EalOptions? options) =>
        (options ?? new EalOptions()) with { MemoryMb = 64, Lcores = [new(0, CpuSet.Of(0))] };

    private static int Number(Port port) => Array.IndexOf(Guest.Nics, port.Info.Pci!.Address.ToString()) + 1;

    private static uint Register(Port port, string name) =>
        port.ReadRegisters().Single(register => register.Name == name).Value;

    /// <summary>By sysfs, behind VFIO's back: command register, or the power management capability's state.</summary>
    private static void Hide(PciFunction function, bool asleep)
    {
        const byte PowerManagement = 1;
        const int Command = 4, ControlAndStatus = 4;
        int at = asleep ? function.FindCapability(PowerManagement) + ControlAndStatus : Command;
        using FileStream config = new($"/sys/bus/pci/devices/{function.Device.Address}/config", FileMode.Open,
            FileAccess.ReadWrite, FileShare.ReadWrite, 0);
        config.Position = at;
        int value = config.ReadByte();
        config.Position = at;
        config.WriteByte((byte)(asleep ? value | 3 : value & ~2));
    }
}
