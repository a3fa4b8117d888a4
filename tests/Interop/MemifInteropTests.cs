using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Our memif against DPDK's: testpmd sends back what we send it, and we look at every byte.</summary>
public sealed unsafe class MemifInteropTests : IDisposable
{
    private readonly DriverRig _rig = new(Drivers.All, [], TimeSpan.FromMilliseconds(600));
    private readonly string _socket = $"dp-memif-{Guid.NewGuid():N}";

    public void Dispose()
    {
        _rig.Stop();
        _rig.AssertAllBack("stopped");
        _rig.Dispose();
    }

    [Theory]
    [InlineData("role=server", "role=client")]
    [InlineData("role=client", "role=server")]
    [InlineData("role=client,zero-copy=yes,rsize=8", "role=server")]
    [InlineData("role=server,trust=yes", "role=client,zero-copy=yes,rsize=9")]
    [InlineData("role=server,id=9,secret=sesame", "role=client,id=9,secret=sesame,bsize=1024")]
    [InlineData("role=client,id=9,secret=sesame,bsize=4096,rsize=12", "role=server,id=9,secret=sesame")]
    public void Testpmd_SendsBack_EveryByteInOrder(string ours, string theirs)
    {
        Port port = Start(ours);
        using TestpmdProcess testpmd = Testpmd(theirs, "io");
        AssertUp(port);
        int small = Echo(port, 20_000, 60, 1514, 2000);
        int jumbo = Echo(port, 2_000, 1500, 5000, 700, window: 32);   // testpmd drops what its ring has no room for
        testpmd.Stop();
        Assert.Equal((20_000, 2_000), (small, jumbo));
        PortStats stats = port.GetStats();
        Assert.Equal((22_000ul, 22_000ul), (stats.RxPackets, stats.TxPackets));
        Assert.Equal((0ul, 0ul), (stats.RxErrors, stats.TxErrors));
        Assert.Equal(stats.TxBytes, stats.RxBytes);
        AssertDown(port);
        port.Stop();
        _rig.AssertAllBack("stopped");
    }

    [Theory]
    [InlineData("role=server", "role=client")]
    [InlineData("role=client", "role=server")]
    public void Testpmd_SeveralQueues_EachIsItsOwnRing(string ours, string theirs)
    {
        Port port = Start(ours, queues: 3);
        using TestpmdProcess testpmd = Testpmd(theirs, "io", "--rxq=3", "--txq=3");
        AssertUp(port);
        for (int queue = 0; queue < 3; queue++)
            Assert.Equal(1000, Echo(port, 1000, 60, 1514, 2000, queue));
        port.Stop();
        _rig.AssertAllBack("stopped");
    }

    [Theory]
    [InlineData("role=server", "role=client")]
    [InlineData("role=client", "role=server")]
    [InlineData("role=client,zero-copy=yes,rsize=8", "role=server")]
    public void Testpmd_KilledInMidBurst_TheNextOneIsFound(string ours, string theirs)
    {
        Port port = Start(ours);
        for (int life = 0; life < 3; life++)
        {
            using TestpmdProcess testpmd = Testpmd(theirs, "txonly");
            AssertUp(port);
            var burst = new Mbuf[32];
            long end = Environment.TickCount64 + 60_000;
            for (int received = 0; received < 10_000; received += ReceiveOrSend(port, burst))
                Assert.True(Environment.TickCount64 < end, "testpmd sends nothing");
            testpmd.KillNine();
            while (port.GetLink().Up)
            {
                ReceiveOrSend(port, burst);
                Assert.True(Environment.TickCount64 < end, "testpmd was killed, and the link is up");
            }
        }
        port.Stop();
        _rig.AssertAllBack("stopped");
    }

    [Fact]
    public void Testpmd_Sends_SleepersAreWoken()
    {
        Port port = Start("role=server", interrupts: true);
        using var waiter = new RxWaiter(port.RxQueues);
        using TestpmdProcess testpmd = Testpmd("role=client", "txonly");
        AssertUp(port);
        var burst = new Mbuf[32];
        long end = Environment.TickCount64 + 60_000;
        for (int slept = 0; slept < 20;)
        {
            Assert.True(Environment.TickCount64 < end, "it was not woken twenty times in a minute");
            int received;
            while ((received = port.RxQueues[0].RxBurst(burst)) > 0)
                Mbuf.FreeBulk(burst.AsSpan(0, received));
            waiter.Arm();
            if ((received = port.RxQueues[0].RxBurst(burst)) > 0)
            {
                Mbuf.FreeBulk(burst.AsSpan(0, received));
                waiter.Disarm();
            }
            else if (waiter.Sleep(100))
                slept++;
        }
    }

    private Port Start(string args, int queues = 1, bool interrupts = false)
    {
        Programs.Require("dpdk-testpmd");
        Assert.SkipUnless(Environment.ProcessorCount > 1, "needs two CPUs: testpmd has a main lcore of its own");
        Port port = _rig.Ports.Attach($"net_memif0,socket={_socket},{args}");
        port.Start(new PortConfig
        {
            RxQueues = queues, TxQueues = queues, Mtu = 9000, RxInterrupts = interrupts,
            RxOffloads = RxOffloads.Scatter, TxOffloads = TxOffloads.MultiSegments,
        }, _rig.Pool);
        return port;
    }

    private TestpmdProcess Testpmd(string args, string mode, params string[] own) =>
        new($"net_memif0,socket={_socket},{args}", mode,
            args.Contains("zero-copy", StringComparison.Ordinal) ? ["--single-file-segments"] : [],
            ["--port-topology=loop", .. own]);

    private static void AssertUp(Port port) =>
        Assert.True(port.WaitForLink(TimeSpan.FromMinutes(1)).Up, "no connection with testpmd");

    private static void AssertDown(Port port) => Assert.True(SpinWait.SpinUntil(() => !port.GetLink().Up,
        TimeSpan.FromMinutes(1)), "testpmd has ended, and the link is up");

    private int ReceiveOrSend(Port port, Mbuf[] burst)
    {
        int received = port.RxQueues[0].RxBurst(burst);
        Mbuf.FreeBulk(burst.AsSpan(0, received));
        Mbuf packet = Make(1, 100, 1000);
        if (port.TxQueues[0].TxBurst([packet]) == 0)
            packet.Free();
        return received;
    }

    /// <summary>Sends packets with numbers in them, so many under way at a time, and checks what comes back.</summary>
    /// <returns>How many came back, each as it was sent and in order.</returns>
    private int Echo(Port port, int packets, int shortest, int longest, int segment, int queue = 0, int window = 128)
    {
        var random = new Random(packets);
        var lengths = new Queue<int>();
        var burst = new Mbuf[32];
        uint sent = 0, back = 0;
        long last = Environment.TickCount64;
        while (back < packets && Environment.TickCount64 - last < 30_000)
        {
            while (sent < packets && sent - back < window)
            {
                int length = random.Next(shortest, longest + 1);
                Mbuf packet = Make(sent, length, segment);
                if (port.TxQueues[queue].TxBurst([packet]) == 0)
                {
                    packet.Free();
                    break;
                }
                lengths.Enqueue(length);
                sent++;
            }
            int received = port.RxQueues[queue].RxBurst(burst);
            foreach (Mbuf packet in burst.AsSpan(0, received))
            {
                Assert.Equal(DriverRig.Expected(back++, lengths.Dequeue()), DriverRig.BytesOf(packet));
                packet.Free();
            }
            if (received > 0)
                last = Environment.TickCount64;
        }
        return (int)back;
    }

    private Mbuf Make(uint sequence, int length, int segment)
    {
        ReadOnlySpan<byte> bytes = DriverRig.Expected(sequence, length);
        Mbuf head = default;
        for (int at = 0; at < length; at += segment)
        {
            ReadOnlySpan<byte> piece = bytes.Slice(at, Math.Min(segment, length - at));
            Mbuf part = _rig.Pool.Alloc();
            Assert.True(part.TryAppend(piece.Length, out Span<byte> room));
            piece.CopyTo(room);
            if (head.IsNull)
                head = part;
            else
                Assert.True(head.TryChain(part));
        }
        return head;
    }
}
