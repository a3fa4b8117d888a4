using Dataplane.Native;
using static Dataplane.Native.Filter;

namespace Dataplane.Tests;

/// <summary>Captures: what goes by a queue comes out of its ring, whole and once, and what does not fit is
/// counted.</summary>
public sealed class CaptureTests : IDisposable
{
    private readonly CaptureRig _rig = new();
    private readonly Random _random = new(3);

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void BothDirections_AreCapturedWholeAndInOrder()
    {
        using ControlConnection connection = _rig.Connect();
        using CaptureReader reader = _rig.Attach(connection);
        Assert.Equal(4, reader.Rings.Count);
        Assert.Equal(["net_fake0"], reader.Rings.Select(ring => ring.PortName).Distinct());
        List<byte[]> sent = Pass(queue: 1, count: 50);
        var list = new CaptureList();
        Assert.Equal(100, reader.Read(list, ulong.MaxValue - 1));
        foreach (CaptureDirection direction in Enum.GetValues<CaptureDirection>())
        {
            int ring = RingOf(reader, 1, direction);
            Assert.Equal(sent, list.Packets.Where(packet => packet.Ring == ring).Select(packet => packet.Bytes));
            CaptureRingHeader counts = reader.Counts(ring);
            Assert.Equal((50ul, 50ul, 50ul, 0ul), (counts.Seen, counts.Accepted, counts.Captured, counts.Dropped));
        }
        Assert.Equal(list.Packets.OrderBy(packet => packet.Record.Tsc).Select(packet => packet.Bytes),
            list.Packets.Select(packet => packet.Bytes));
        Assert.All(list.Packets, packet => Assert.Equal((uint)packet.Bytes.Length, packet.Record.Length));
    }

    [Fact]
    public void Stamps_AreTheTimeOfDay()
    {
        using ControlConnection connection = _rig.Connect();
        using CaptureReader reader = _rig.Attach(connection);
        var clock = new CaptureClock(reader.Reply);
        long before = Clock.Nanoseconds(Clock.CLOCK_REALTIME);
        Pass(queue: 0, count: 1);
        long after = Clock.Nanoseconds(Clock.CLOCK_REALTIME);
        var list = new CaptureList();
        reader.Read(list, ulong.MaxValue - 1);
        clock.Compare();
        const long slack = 20_000_000;      // the clocks are read one after the other, on a busy machine
        Assert.All(list.Packets, packet =>
            Assert.InRange((long)clock.ToRealTime(packet.Record.Tsc), before - slack, after + slack));
    }

    /// <summary>What is read up to there was stamped a burst's time ago: all of it is there.</summary>
    [Fact]
    public void Settled_LeavesLcoresTimeToPublish()
    {
        using ControlConnection connection = _rig.Connect();
        using CaptureReader reader = _rig.Attach(connection);
        var clock = new CaptureClock(reader.Reply);
        ulong settled = clock.Settled, now = Tsc.Read();
        Assert.True(settled <= now - Tsc.FromMicroseconds(900), $"{now - settled} cycles");
        Pass(queue: 0, count: 3);
        Assert.Equal(0, reader.Read(new CaptureList(), settled));
        Assert.Equal(6, reader.Read(new CaptureList(), clock.Now));
    }

    /// <summary>A full queue takes some and is offered the others again: each is captured once.</summary>
    [Fact]
    public void Transmit_OfWhatTheQueueDidNotTake_IsNotCaptured()
    {
        using ControlConnection connection = _rig.Connect();
        using CaptureReader reader = _rig.Attach(connection,
            CaptureRig.Request(direction: CaptureDirection.Transmit, queue: 0));
        List<byte[]> frames = [.. Enumerable.Range(0, 200).Select(i => CaptureRig.Frame(9, 60 + i, _random))];
        Mbuf[] packets = [.. frames.Select(frame => _rig.Make(frame))];
        int refused = 0;
        for (int at = 0; at < packets.Length;)
        {
            int taken = _rig.Port.TxQueues[0].TxBurst(packets.AsSpan(at, Math.Min(50, packets.Length - at)));
            refused += taken == 0 ? 1 : 0;
            at += taken;
            if (taken == 0)
                _rig.ReceiveAll();
        }
        _rig.ReceiveAll();
        Assert.True(refused > 1, "the queue was never full");
        var list = new CaptureList();
        reader.Read(list, ulong.MaxValue - 1);
        Assert.Equal(frames, list.Packets.Select(packet => packet.Bytes));
        Assert.Equal((200ul, 200ul, 200ul), (reader.Counts(0).Seen, reader.Counts(0).Accepted,
            reader.Counts(0).Captured));
    }

    [Fact]
    public void Filter_TakesWhatItSays_AndSnapLengthCuts()
    {
        sock_filter[] udpPort7 =
        [
            new() { code = BPF_LD | BPF_H | BPF_ABS, k = 36 },
            new() { code = BPF_JMP | BPF_JEQ | BPF_K, k = 7, jf = 1 },
            new() { code = BPF_RET | BPF_K, k = 262144 }, new() { code = BPF_RET | BPF_K },
        ];
        using ControlConnection connection = _rig.Connect();
        using CaptureReader reader = _rig.Attach(connection, CaptureRig.Request(snapLength: 100, queue: 0,
            direction: CaptureDirection.Transmit), udpPort7);
        List<byte[]> frames = [.. Enumerable.Range(0, 60).Select(i =>
            CaptureRig.Frame((ushort)(i % 3 == 0 ? 7 : 8), 60 + i * 20, _random))];
        foreach (byte[] frame in frames)
            Assert.Equal(1, _rig.Port.TxQueues[0].TxBurst([_rig.Make(frame, segment: 30)]));    // port in the second
        _rig.ReceiveAll();
        var list = new CaptureList();
        reader.Read(list, ulong.MaxValue - 1);
        Assert.Equal(frames.Where((_, i) => i % 3 == 0).Select(frame => frame[..Math.Min(frame.Length, 100)]),
            list.Packets.Select(packet => packet.Bytes));
        Assert.Equal(frames.Where((_, i) => i % 3 == 0).Select(frame => (uint)frame.Length),
            list.Packets.Select(packet => packet.Record.Length));
        Assert.Equal((60ul, 20ul), (reader.Counts(0).Seen, reader.Counts(0).Accepted));
    }

    /// <summary>Random lengths round and round a small ring, read at random: what is kept is whole and in order, and
    /// with what was lost it is all there was.</summary>
    [Fact]
    public void FullRing_DropsAndCounts()
    {
        using ControlConnection connection = _rig.Connect();
        using CaptureReader reader = _rig.Attach(connection, CaptureRig.Request(queue: 0,
            direction: CaptureDirection.Receive, ringBytes: CaptureRequest.LeastRingBytes));
        var frames = new List<byte[]>();
        var list = new CaptureList();
        for (int i = 0; i < 20_000; i++)
        {
            byte[] frame = CaptureRig.Frame((ushort)i, _random.Next(60, 3000), _random);
            BitConverter.TryWriteBytes(frame.AsSpan(42), frames.Count);
            frames.Add(frame);
            Assert.Equal(1, _rig.Port.TxQueues[0].TxBurst([_rig.Make(frame)]));
            if (i % 16 == 15)
                _rig.ReceiveAll();
            if (_random.Next(60) == 0)
                reader.Read(list, ulong.MaxValue - 1);
        }
        _rig.ReceiveAll();
        reader.Read(list, ulong.MaxValue - 1);
        ulong expected = 0, lost = 0;
        foreach ((_, CaptureRecord record, byte[] bytes) in list.Packets)
        {
            lost += record.Lost;
            expected += record.Lost;
            Assert.Equal((int)expected, BitConverter.ToInt32(bytes, 42));
            Assert.Equal(frames[(int)expected++], bytes);
        }
        CaptureRingHeader counts = reader.Counts(0);
        Assert.Equal((20_000ul, 20_000ul, (ulong)list.Packets.Count), (counts.Seen, counts.Accepted, counts.Captured));
        Assert.Equal(20_000ul, counts.Captured + counts.Dropped);
        Assert.InRange(counts.Dropped, 100ul, 19_900ul);
        Assert.InRange(counts.Dropped - lost, 0ul, 200ul);     // those after the last that was kept
    }

    [Fact]
    public void Reader_ToldToStop_GoesOnWhereItWas()
    {
        using ControlConnection connection = _rig.Connect();
        using CaptureReader reader = _rig.Attach(connection);
        List<byte[]> sent = Pass(queue: 0, count: 20);
        CaptureList first = new() { Most = 7 }, rest = new();
        Assert.Equal(7, reader.Read(first, ulong.MaxValue - 1));
        Assert.Equal(33, reader.Read(rest, ulong.MaxValue - 1));
        Assert.Equal(0, reader.Read(rest, ulong.MaxValue - 1));
        int transmit = RingOf(reader, 0, CaptureDirection.Transmit);
        Assert.Equal(sent, first.Packets.Concat(rest.Packets).Where(packet => packet.Ring == transmit)
            .Select(packet => packet.Bytes));
    }

    [Fact]
    public void TwoCaptures_EachHaveAll_AndEndApart()
    {
        using ControlConnection one = _rig.Connect(), other = _rig.Connect();
        using CaptureReader first = _rig.Attach(one), second = _rig.Attach(other);
        Pass(queue: 0, count: 5);
        one.Dispose();
        Assert.True(SpinWait.SpinUntil(() => _rig.Sessions == 1, CaptureRig.Patience));
        Pass(queue: 0, count: 5);
        Assert.Equal((10, 20), (first.Read(new CaptureList(), ulong.MaxValue - 1),
            second.Read(new CaptureList(), ulong.MaxValue - 1)));
    }

    /// <summary>What a capture puts on the data path was compiled when it was attached, for packets in segments
    /// too.</summary>
    [Fact]
    public void FirstBurst_OfACapture_CompilesNothingOnTheLcore()
    {
        Mbuf[] packets = [.. Enumerable.Range(0, 8).Select(i => _rig.Make(CaptureRig.Frame(7, 100 + i, _random), 20))];
        (TxQueue tx, RxQueue rx) = (_rig.Port.TxQueues[0], _rig.Port.RxQueues[0]);
        using ControlConnection connection = _rig.Connect();
        using (_rig.Attach(connection, CaptureRig.Request(queue: 1)))   // of other queues: callbacks are called
            Assert.Equal(16, tx.TxBurst(packets) + rx.RxBurst(packets));
        using ControlConnection second = _rig.Connect();
        using CaptureReader reader = _rig.Attach(second, null, new() { code = BPF_LD | BPF_B | BPF_ABS, k = 60 },
            new() { code = BPF_RET | BPF_K, k = 128 });
        long before = System.Runtime.JitInfo.GetCompiledMethodCount(currentThread: true);
        int moved = tx.TxBurst(packets) + rx.RxBurst(packets);
        Assert.Equal(before, System.Runtime.JitInfo.GetCompiledMethodCount(currentThread: true));
        Assert.Equal(16, moved);
        var sink = new CountingSink();
        Assert.Equal(16, reader.Read(sink, ulong.MaxValue - 1));
        Mbuf.FreeBulk(packets);
    }

    [Fact]
    public void Attached_OnTheDataPath_AllocatesNothing()
    {
        using ControlConnection connection = _rig.Connect();
        using CaptureReader reader = _rig.Attach(connection, null, new sock_filter { code = BPF_RET | BPF_K, k = 128 });
        Mbuf[] packets = [.. Enumerable.Range(0, 32).Select(i => _rig.Make(CaptureRig.Frame(7, 60 + i, _random)))];
        (TxQueue tx, RxQueue rx) = (_rig.Port.TxQueues[0], _rig.Port.RxQueues[0]);
        long before = 0;
        int moved = 0;
        var sink = new CountingSink();
        for (int i = 0; i < 128 + 1_000_000 / 32; i++)
        {
            if (i % 64 == 0)
                reader.Read(sink, ulong.MaxValue - 1);
            if (i == 128)
                before = GC.GetAllocatedBytesForCurrentThread();
            moved += tx.TxBurst(packets);
            moved += rx.RxBurst(packets);
        }
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        reader.Read(sink, ulong.MaxValue - 1);
        Assert.Equal((128 + 1_000_000 / 32) * 64, moved);
        Assert.Equal(moved, sink.Packets);
        foreach (CaptureDirection direction in Enum.GetValues<CaptureDirection>())
        {
            CaptureRingHeader counts = reader.Counts(RingOf(reader, 0, direction));
            Assert.Equal(((ulong)moved / 2, (ulong)moved / 2, 0ul), (counts.Seen, counts.Captured, counts.Dropped));
        }
        Mbuf.FreeBulk(packets);
    }

    [Fact]
    public void StoppedQueue_StaysStopped_WhenACaptureComesAndGoes()
    {
        _rig.Port.TxQueues[0].Stop();
        using (ControlConnection connection = _rig.Connect())
        using (_rig.Attach(connection))
            AssertRefuses();
        _rig.WaitForNone();
        AssertRefuses();
        _rig.Port.TxQueues[0].Start();
        Pass(queue: 0, count: 1);

        void AssertRefuses()
        {
            Mbuf packet = _rig.Make(new byte[60]);
            Assert.Equal(0, _rig.Port.TxQueues[0].TxBurst([packet]));
            packet.Free();
        }
    }

    [Fact]
    public void PortsThatClose_EndTheirCaptures()
    {
        using ControlConnection connection = _rig.Connect();
        using CaptureReader reader = _rig.Attach(connection);
        Pass(queue: 0, count: 3);
        _rig.Ports.Dispose();
        Assert.Equal(0, _rig.Sessions);
        Assert.Equal(CaptureEnd.Ended, reader.End);
        Assert.Equal(6, reader.Read(new CaptureList(), ulong.MaxValue - 1));    // what was captured is still there
        Assert.Equal(Errno.EOPNOTSUPP, Assert.Throws<DataplaneException>(() => _rig.Attach(connection)).Errno);
    }

    [Fact]
    public void Requests_ThatCannotBe_AreRefusedWithTheReason()
    {
        using ControlConnection connection = _rig.Connect();
        using CaptureReader first = _rig.Attach(connection);
        void Refused(string why, CaptureRequest request, params sock_filter[] filter) => Assert.Contains(why,
            Assert.Throws<DataplaneException>(() => _rig.Attach(connection, request, filter)).Message,
            StringComparison.Ordinal);
        Refused("0 net_fake0 (2 receive, 2 transmit", CaptureRig.Request(port: 1));
        Refused("no such queue", CaptureRig.Request(queue: 2));
        Refused("snap length", CaptureRig.Request(snapLength: 15));
        Refused("snap length", CaptureRig.Request(snapLength: uint.MaxValue));
        Refused("power of two", CaptureRig.Request(ringBytes: 100_000));
        Refused("power of two", CaptureRig.Request(ringBytes: 1u << 31));
        Refused("direction", CaptureRig.Request(direction: 0));
        Refused("direction", CaptureRig.Request(direction: (CaptureDirection)7));
        Refused("too many", CaptureRig.Request(ringBytes: 256 << 20));
        Refused("jumps out", CaptureRig.Request(), new sock_filter { code = BPF_JMP | BPF_JA, k = 9 },
            new sock_filter { code = BPF_RET | BPF_K });
        CaptureRequest named = CaptureRig.Request();
        named.SetPortName("net_none");
        Refused("no such queue", named);
        named.SetPortName("net_fake0");
        using CaptureReader reader = _rig.Attach(connection, named);
        Assert.Equal(2, _rig.Sessions);
    }

    private static int RingOf(CaptureReader reader, int queue, CaptureDirection direction) =>
        Enumerable.Range(0, reader.Rings.Count).Single(i => reader.Rings[i].Queue == queue
            && reader.Rings[i].Direction == direction);

    /// <summary>Sends frames and receives them again.</summary>
    private List<byte[]> Pass(int queue, int count)
    {
        List<byte[]> frames = [.. Enumerable.Range(0, count).Select(i =>
            CaptureRig.Frame((ushort)i, _random.Next(60, 1514), _random))];
        foreach (byte[] frame in frames)
        {
            Assert.Equal(1, _rig.Port.TxQueues[queue].TxBurst([_rig.Make(frame)]));
            Assert.Equal(1, _rig.ReceiveAll(queue));
        }
        return frames;
    }
}

/// <summary>Counts packets, and keeps nothing.</summary>
internal sealed class CountingSink : ICaptureSink
{
    internal int Packets { get; private set; }

    public bool OnPacket(int ring, in CaptureRecord record, ReadOnlySpan<byte> data)
    {
        Packets++;
        return true;
    }
}
