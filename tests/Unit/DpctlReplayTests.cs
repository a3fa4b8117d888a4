using System.Diagnostics;
using Dataplane.Dpctl;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Replaying, with time as the tests want it: one cycle is a nanosecond.</summary>
public sealed class DpctlReplayTests : IDisposable
{
    private const double Hz = 1e9;
    private const ulong Second = 1_000_000_000;

    private readonly PcapFolder _folder = new();
    private readonly PcapRig _rig = new();

    public DpctlReplayTests() => ManualClock.Now = 5_000;

    public void Dispose()
    {
        _rig.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData("2Mpps", 2e6, true)]
    [InlineData("50kpps", 5e4, true)]
    [InlineData("7pps", 7, true)]
    [InlineData("1.5Gbit/s", 1.5e9, false)]
    [InlineData("800 kbps", 8e5, false)]
    public void Rate_WithUnit_IsRead(string text, double value, bool isPackets) =>
        Assert.Equal(new ReplayRate(isPackets ? ReplayTiming.Packets : ReplayTiming.Bits, value),
            ReplayRate.Parse(text));

    [Theory]
    [InlineData("2M")]
    [InlineData("0pps")]
    [InlineData("-1kpps")]
    [InlineData("1,5Gbit/s")]
    [InlineData("pps")]
    [InlineData("NaNpps")]
    public void Rate_Wrong_IsRefused(string text) => Assert.Contains("--rate",
        Assert.Throws<ConfigException>(() => ReplayRate.Parse(text)).Message, StringComparison.Ordinal);

    [Fact]
    public void Pace_Original_FollowsStampsAndNeverGoesBack()
    {
        var pace = new ReplayPace(new(ReplayTiming.Original), Hz, FileOf(4, nanoseconds: 300));
        ulong[] first = [.. ((ulong[])[1000, 1100, 1050, 1300]).Select((stamp, i) => pace.Next(stamp, 60, i == 0))];
        Assert.Equal([0, 100, 100, 300], first);
        // The next pass begins after the mean pause, 300 / 3.
        Assert.Equal(400ul, pace.Next(1000, 60, true));
        Assert.Equal(500ul, pace.Next(1100, 60, false));
    }

    [Fact]
    public void Pace_SpeedAndRates_AreKept()
    {
        var fast = new ReplayPace(new(ReplayTiming.Original, 4), Hz, FileOf(2, 400));
        Assert.Equal((0ul, 100ul), (fast.Next(7, 60, true), fast.Next(407, 60, false)));
        var packets = new ReplayPace(new(ReplayTiming.Packets, 1000), Hz, FileOf(9, 0));
        Assert.Equal([0, 1_000_000, 2_000_000], Enumerable.Range(0, 3).Select(i => packets.Next(0, 60, i == 0)));
        var bits = new ReplayPace(new(ReplayTiming.Bits, 8e9), Hz, FileOf(9, 0));
        Assert.Equal([0, 100, 1600], new uint[] { 100, 1500, 60 }.Select((size, i) => bits.Next(0, size, i == 0)));
        var top = new ReplayPace(new(ReplayTiming.Top), Hz, FileOf(9, 0));
        Assert.Equal([0, 0], new uint[] { 100, 1500 }.Select((size, i) => top.Next((ulong)i * 99, size, i == 0)));
    }

    [Fact]
    public void Pace_StampsOfCenturies_DoNotOverflow()
    {
        var pace = new ReplayPace(new(ReplayTiming.Original, 1e-9), 5e9, FileOf(2, ulong.MaxValue));
        pace.Next(0, 60, true);
        ulong due = pace.Next(ulong.MaxValue, 60, false);
        Assert.InRange(due, Second * 1000, ulong.MaxValue / 2);
        Assert.InRange(pace.Next(0, 60, true), due, ulong.MaxValue / 2);
    }

    [Fact]
    public void Sender_TimePasses_SendsWhatIsDueAndNotMore()
    {
        (ReplaySender<ManualClock> sender, Port far) = Sender([0, 1000, 1000, 5000], passes: 2);
        Assert.Equal(1, Step(sender, far));
        Assert.Equal(0, Step(sender, far));
        Assert.Equal(0, Step(sender, far, 999));
        Assert.Equal(2, Step(sender, far, 1));
        Assert.Equal(1, Step(sender, far, 4500));
        Assert.Equal(0, Step(sender, far));     // second pass: 5000 / 3 later
        Assert.Equal(1, Step(sender, far, 1667 - 500));
        Assert.Equal(2, Step(sender, far, 1001));
        Assert.Equal(1, Step(sender, far, 4000));
        Assert.Equal(0, Step(sender, far));
        Assert.True(sender.IsDone);
        Assert.Equal((8ul, 8ul, 0ul, 0ul), (sender.Counters.Read, sender.Counters.Sent, sender.Counters.Dropped,
            sender.Counters.Refused));
        // The fourth packet was 500 late, nothing else by more than a few.
        Assert.Equal(8, sender.Counters.Late.Count);
        Assert.InRange(sender.Counters.Late.Max, 496ul, 504ul);
        Assert.InRange(sender.Counters.Late.Percentile(80), 0ul, 2ul);
    }

    [Fact]
    public void Sender_PortFull_OffersAgainInOrderAndGivesUpAfterItsPatience()
    {
        const int Packets = 5000;
        (ReplaySender<ManualClock> sender, Port far) = Sender([.. new ulong[Packets]], passes: 1);
        while (sender.Counters.Refused == 0)
            sender.Step();
        ulong taken = sender.Counters.Sent;
        Assert.InRange(taken, 1ul, Packets - 1ul);
        var sequence = new List<uint>();
        sequence.AddRange(Take(far));
        while (!sender.IsDone && sender.Counters.Sent < Packets - 32)
        {
            sender.Step();
            sequence.AddRange(Take(far));
        }
        Assert.Equal(Enumerable.Range(0, sequence.Count), sequence.Select(number => (int)number));
        Assert.False(sender.GaveUp);
        far.Stop();     // a cable to a stopped port takes no more once it is full
        sender.Finish();
        Assert.Equal(sender.Counters.Read, sender.Counters.Sent + sender.Counters.Dropped);
    }

    [Fact]
    public void Sender_PortNeverTakes_GivesUp()
    {
        (ReplaySender<ManualClock> sender, _) = Sender([.. new ulong[5000]], passes: 1);
        for (int i = 0; i < 100_000 && sender.Counters.Refused == 0; i++)
            sender.Step();
        ManualClock.Now += 9 * Second;
        sender.Step();
        Assert.False(sender.IsDone);
        ManualClock.Now += 2 * Second;
        sender.Step();
        Assert.True(sender.IsDone && sender.GaveUp);
        sender.Finish();
        Assert.True(sender.Counters.Dropped > 0);
        Assert.Equal(sender.Counters.Read, sender.Counters.Sent + sender.Counters.Dropped);
    }

    [Fact]
    public void Sender_DurationOver_EndsAndFreesTheRest()
    {
        (ReplaySender<ManualClock> sender, Port far) = Sender([0, Second, 30 * Second], passes: 1, seconds: 2);
        Assert.Equal(1, Step(sender, far));
        Assert.Equal(1, Step(sender, far, (long)Second));
        Assert.Equal(0, Step(sender, far, (long)Second));
        Assert.True(sender.IsDone && !sender.GaveUp);
        sender.Finish();
        Assert.Equal((3ul, 2ul, 1ul), (sender.Counters.Read, sender.Counters.Sent, sender.Counters.Dropped));
    }

    [Fact]
    public void Sender_Steady_AllocatesNothing()
    {
        (ReplaySender<ManualClock> sender, Port far) = Sender([.. Enumerable.Range(0, 1000).Select(i => (ulong)i)],
            passes: 100_000);
        var burst = new Mbuf[32];
        long before = 0;
        for (int i = 0; i < 60_000; i++)
        {
            if (i == 10_000)
                before = GC.GetAllocatedBytesForCurrentThread();
            sender.Step();
            Mbuf.FreeBulk(burst.AsSpan(0, far.RxQueues[0].RxBurst(burst)));
            ManualClock.Now += 30;
        }
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        Assert.InRange(sender.Counters.Sent, 1_000_000ul, ulong.MaxValue);
        sender.Finish();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Scan_File_CountsWhatIsInIt(bool ng)
    {
        TestPacket[] packets = [new(10_000, Bytes(0, 60)), new(40_000, Bytes(1, 1500), OriginalLength: 2000),
            new(20_000, new byte[13]), new(20_000, Bytes(2, 9000))];
        File.WriteAllBytes(_folder["f"], PcapBytes.File(packets, new TestFormat(ng, Nano: true)));
        Assert.Equal(new ReplayFile(_folder["f"], 3, 10_560, 1, 1, 9000, 30_000, 1), ReplayFile.Scan(_folder["f"]));
    }

    [Fact]
    public void Scan_SpoiltOrEmpty_SaysSo()
    {
        byte[] good = PcapBytes.File([new(1, Bytes(0, 60)), new(2, Bytes(1, 60))], new TestFormat());
        File.WriteAllBytes(_folder["spoilt"], good[..^5]);
        Assert.Contains("ends within a record",
            Assert.Throws<ConfigException>(() => ReplayFile.Scan(_folder["spoilt"])).Message);
        File.WriteAllBytes(_folder["empty"], good[..24]);
        Assert.Contains("empty", Assert.Throws<ConfigException>(() => ReplayFile.Scan(_folder["empty"])).Message);
        Assert.Contains("comma", Assert.Throws<ConfigException>(() => ReplayFile.Scan("a,b.pcap")).Message);
    }

    [Fact]
    public void Scan_Pipe_IsRefusedAtOnce()
    {
        using (Process make = Process.Start("mkfifo", [_folder["pipe"]]))
            make.WaitForExit();
        using var writer = new FileStream(_folder["pipe"], FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, 0);
        writer.Write(PcapBytes.File([new(1, Bytes(0, 60))], new TestFormat()));
        Assert.Contains("read twice", Assert.Throws<ConfigException>(() => ReplayFile.Scan(_folder["pipe"])).Message);
    }

    private static ReplayFile FileOf(ulong packets, ulong nanoseconds) =>
        new("f", packets, packets * 60, 0, 0, 60, nanoseconds, 0);

    private static byte[] Bytes(uint sequence, int length) => DriverRig.Expected(sequence, length);

    /// <summary>A sender of packets with these stamps into a cable, and the cable's far end.</summary>
    private (ReplaySender<ManualClock>, Port) Sender(ulong[] stamps, ulong passes, double seconds = 1e9)
    {
        File.WriteAllBytes(_folder["f"], PcapBytes.File(stamps.Select((stamp, i) =>
            new TestPacket(stamp, Bytes((uint)i, 80))), new TestFormat(Nano: true)));
        ReplayFile file = ReplayFile.Scan(_folder["f"]);
        Port near = _rig.Ports.Attach("net_wire0"), far = _rig.Ports.Attach("net_wire1");
        foreach (Port port in new[] { near, far })
            port.Start(new PortConfig(), _rig.Pool);
        var source = (PcapRxQueue)_rig.Start($"rx_pcap={_folder["f"]}").RxQueues[0];
        var plan = new ReplayPlan(file.Packets, passes * file.Packets, (ulong)(seconds * Second), 10 * Second, 50_000,
            IsTimed: true);
        return (new ReplaySender<ManualClock>(source, near.TxQueues[0], near.RxQueues[0], _rig.Stamp, plan,
            new ReplayPace(new(ReplayTiming.Original), Hz, file), default), far);
    }

    private static int Step(ReplaySender<ManualClock> sender, Port far, long later = 0)
    {
        ManualClock.Now += (ulong)later;
        sender.Step();
        return Take(far).Count;
    }

    private static List<uint> Take(Port far)
    {
        var burst = new Mbuf[32];
        var numbers = new List<uint>();
        for (int received; (received = far.RxQueues[0].RxBurst(burst)) > 0;)
            foreach (Mbuf packet in burst.AsSpan(0, received))
            {
                numbers.Add(DriverRig.SequenceOf(packet)!.Value);
                packet.Free();
            }
        return numbers;
    }

    /// <summary>One thread's time.</summary>
    private readonly struct ManualClock : IReplayClock
    {
        [ThreadStatic]
        internal static ulong Now;

        public ulong Read() => Now;
    }
}
