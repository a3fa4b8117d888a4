namespace Dataplane.Tests;

/// <summary>How many captures there may be, how they end, and what counts of a long burst.</summary>
public sealed class CaptureLifeTests : IDisposable
{
    private readonly CaptureRig _rig = new();

    public void Dispose() => _rig.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void QueuesThatAreReleased_TellTheReader(bool closes)
    {
        using ControlConnection connection = _rig.Connect();
        using CaptureReader reader = _rig.Attach(connection);
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal(1, _rig.Port.TxQueues[0].TxBurst([_rig.Make(new byte[60])]));
            Assert.Equal(1, _rig.ReceiveAll());
        }
        _rig.Port.Stop();
        Assert.Equal(CaptureEnd.None, reader.End);
        if (closes)
            _rig.Ports.Detach(_rig.Port);
        else
            _rig.Port.Configure(new PortConfig { RxQueues = 1, TxQueues = 1 });
        Assert.Equal(CaptureEnd.Released, reader.End);
        Assert.Equal(6, reader.Read(new CaptureList(), ulong.MaxValue - 1));
    }

    /// <summary>A port is configured anew time and again while captures begin: each is refused, or learns that its
    /// queues went.</summary>
    [Fact]
    public void CapturesThatBegin_WhileThePortIsConfigured_AreRefusedOrTold()
    {
        bool isDone = false;
        int made = 0;
        Exception? failure = null;
        var attaching = new Thread(() =>
        {
            try
            {
                while (!Volatile.Read(ref isDone))
                    if (AttachAndWaitForTheEnd())
                        Interlocked.Increment(ref made);
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        attaching.Start();
        var config = new PortConfig { RxQueues = 2, TxQueues = 2, RxOffloads = RxOffloads.Scatter,
            TxOffloads = TxOffloads.MultiSegments };
        for (long end = Environment.TickCount64 + (long)CaptureRig.Patience.TotalMilliseconds; Volatile.Read(ref made)
            < 20 && attaching.IsAlive && Environment.TickCount64 < end;)
        {
            _rig.Port.Stop();
            _rig.Port.Start(config, _rig.Pool);
        }
        Volatile.Write(ref isDone, true);
        _rig.Port.Stop();
        _rig.Port.Configure(config);
        attaching.Join();
        Assert.Null(failure);
        Assert.True(made >= 20, $"{made} captures began");
    }

    /// <summary>The same with packets, none of which is lost on its way, and with captures that go at any time; one
    /// begun afterwards has all.</summary>
    [Fact]
    public void CapturesThatComeAndGo_WhileThePortIsConfigured_LoseNothing()
    {
        bool isDone = false;
        int made = 0, captured = 0;
        Exception? failure = null;
        var attaching = new Thread(() =>
        {
            try
            {
                for (int i = 0; !Volatile.Read(ref isDone); i++)
                    if (AttachForAWhile(i, ref captured))
                        Interlocked.Increment(ref made);
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        attaching.Start();
        var config = new PortConfig { RxQueues = 2, TxQueues = 2, RxOffloads = RxOffloads.Scatter,
            TxOffloads = TxOffloads.MultiSegments };
        int rounds = 0;
        for (long end = Environment.TickCount64 + (long)CaptureRig.Patience.TotalMilliseconds;
            (Volatile.Read(ref made) < 60 || Volatile.Read(ref captured) == 0) && attaching.IsAlive
            && Environment.TickCount64 < end; rounds++)
        {
            _rig.Port.Stop();
            _rig.Port.Start(config, _rig.Pool);
            for (int i = 0; i < 50; i++)
                Assert.Equal(1, _rig.Port.TxQueues[i & 1].TxBurst([_rig.Make(new byte[60 + i])]));
            Assert.Equal((25, 25), (_rig.ReceiveAll(0), _rig.ReceiveAll(1)));
        }
        Volatile.Write(ref isDone, true);
        attaching.Join();
        Assert.Null(failure);
        Assert.True(made >= 60 && captured > 0, $"{made} captures began in {rounds} rounds, {captured} packets");
        _rig.WaitForNone();
        using ControlConnection connection = _rig.Connect();
        using CaptureReader last = _rig.Attach(connection);
        Assert.Equal(1, _rig.Port.TxQueues[0].TxBurst([_rig.Make(new byte[60])]));
        Assert.Equal(1, _rig.ReceiveAll());
        Assert.Equal(2, last.Read(new CaptureList(), ulong.MaxValue - 1));
    }

    private bool AttachForAWhile(int turns, ref int captured)
    {
        using ControlConnection connection = _rig.Connect();
        try
        {
            using CaptureReader reader = _rig.Attach(connection,
                CaptureRig.Request(ringBytes: CaptureRequest.LeastRingBytes));
            var list = new CaptureList();
            for (int i = 0; i < turns % 50 && reader.End == CaptureEnd.None; i++)
                reader.Read(list, ulong.MaxValue - 1);
            Assert.All(list.Packets, packet => Assert.InRange(packet.Bytes.Length, 60, 109));
            Volatile.Write(ref captured, captured + list.Packets.Count);
            return true;
        }
        catch (DataplaneException e) when (e.Errno is Errno.EAGAIN or Errno.ENODEV or Errno.EBUSY)
        {
            return false;
        }
    }

    private bool AttachAndWaitForTheEnd()
    {
        using ControlConnection connection = _rig.Connect();
        try
        {
            using CaptureReader reader = _rig.Attach(connection,
                CaptureRig.Request(ringBytes: CaptureRequest.LeastRingBytes));
            Assert.True(SpinWait.SpinUntil(() => reader.End != CaptureEnd.None, CaptureRig.Patience), "nobody told");
            return true;
        }
        catch (DataplaneException e) when (e.Errno is Errno.EAGAIN or Errno.ENODEV or Errno.EBUSY)
        {
            return false;       // EBUSY: connections that went, and are not known to have gone
        }
    }

    [Fact]
    public void Captures_AreLimited_OfAConnectionAndInAll()
    {
        var things = new List<IDisposable>();
        CaptureRequest request = CaptureRig.Request(queue: 0, direction: CaptureDirection.Receive,
            ringBytes: CaptureRequest.LeastRingBytes);
        void Refused(ControlConnection connection, string why)
        {
            DataplaneException refusal = Assert.Throws<DataplaneException>(() => _rig.Attach(connection, request));
            Assert.Equal(Errno.EBUSY, refusal.Errno);
            Assert.Contains(why, refusal.Message, StringComparison.Ordinal);
        }
        for (int i = 0; i < CaptureRequest.MostCaptures / CaptureRequest.MostCapturesOfAClient; i++)
        {
            ControlConnection connection = _rig.Connect();
            things.Add(connection);
            for (int capture = 0; capture < CaptureRequest.MostCapturesOfAClient; capture++)
                things.Add(_rig.Attach(connection, request));
            Refused(connection, "4 of 4 of this connection");
        }
        using ControlConnection last = _rig.Connect();
        Refused(last, "16 of 16");
        Assert.Equal(16, _rig.Sessions);
        things.ForEach(thing => thing.Dispose());
        _rig.WaitForNone();
        _rig.Attach(last, request).Dispose();
    }

    /// <summary>Of a burst longer than a tap keeps, those that the queue did not take do not count.</summary>
    [Fact]
    public unsafe void LongBurst_CountsWhatTheQueueTook()
    {
        const uint size = 1 << 20;
        using var memory = new CaptureMemory(1, size);
        var header = (CaptureRingHeader*)memory.Ring(0);
        using var tap = new CaptureTap(null, 64, new CaptureRing(memory.Ring(0), size, memory.Line(0)));
        Mbuf[] packets = [.. Enumerable.Range(0, 1500).Select(_ => _rig.Make(new byte[60]))];
        void AssertCounts(ulong accepted, ulong captured)
        {
            CaptureRingHeader counts = *(CaptureRingHeader*)memory.Ring(0);
            Assert.Equal((accepted, accepted, captured, accepted - captured),
                (counts.Seen, counts.Accepted, counts.Captured, counts.Dropped));
        }
        tap.Offer(packets);
        tap.Count(1000);
        AssertCounts(1000, 1000);
        tap.Offer(packets);
        tap.Count(1100);
        AssertCounts(2100, 2024);
        ulong end = header->Head;
        tap.Offer(packets.AsSpan(0, 1));
        tap.Count(1);
        AssertCounts(2101, 2025);
        Assert.Equal(76u, ((CaptureRecord*)(memory.Ring(0) + CaptureRingHeader.Bytes + end))->Lost);
        Mbuf.FreeBulk(packets);
    }
}
