using System.Diagnostics;

namespace Dataplane.Tests;

public sealed class PcapPortTests : IDisposable
{
    private readonly PcapFolder _folder = new();
    private readonly PcapRig _rig = new(mbufs: 64);

    public void Dispose()
    {
        _rig.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void Timing_Original_KeepsThePauses()
    {
        ulong[] stamps = [5_000_000_000, 5_020_000_000, 5_010_000_000, 5_060_000_000];
        Save("in", stamps.Select(stamp => new TestPacket(stamp, new byte[60])));
        using Port port = _rig.Start($"rx_pcap={_folder["in"]},timing=1");
        var burst = new Mbuf[8];
        var arrivals = new List<(double Asked, double Came)>();
        var clock = Stopwatch.StartNew();
        while (arrivals.Count < stamps.Length && clock.Elapsed.TotalSeconds < 60)
        {
            double asked = clock.Elapsed.TotalMilliseconds;
            int received = port.RxQueues[0].RxBurst(burst);
            Mbuf.FreeBulk(burst.AsSpan(0, received));
            for (int i = 0; i < received; i++)
                arrivals.Add((asked, clock.Elapsed.TotalMilliseconds));
        }
        // From before the call that brought the first one, lower bounds hold on any machine; how late a packet is
        // depends on who else wants the CPU.
        Assert.Equal(4, arrivals.Count);
        Assert.InRange(arrivals[1].Came - arrivals[0].Asked, 19.9, 15_000);
        Assert.InRange(arrivals[2].Came - arrivals[1].Asked, 0, 15_000);
        Assert.InRange(arrivals[3].Came - arrivals[0].Asked, 59.9, 15_000);
    }

    [Fact]
    public void Eof_AllFilesRead_TakesTheLinkDownOnceAndStartBringsItBack()
    {
        Save("in", [new(0, new byte[60])]);
        using Port port = _rig.Start($"rx_pcap={_folder["in"]},eof=1");
        using var told = new ManualResetEventSlim();
        port.Events += (_, what) =>
        {
            if (what == PortEvent.LinkChanged)
                told.Set();
        };
        Assert.True(port.GetLink().Up);
        Assert.Single(_rig.Receive(port));
        Assert.True(told.Wait(TimeSpan.FromSeconds(60)));
        Assert.False(port.GetLink().Up);
        port.Stop();
        port.Start();
        Assert.True(port.GetLink().Up);
        Assert.Single(_rig.Receive(port));
    }

    [Fact]
    public void Scatter_PoolTooSmallForAPacket_WaitsAndLosesNothing()
    {
        byte[] large = PcapFileTests.Bytes(60_000, 1);   // 30 of the pool's 64 mbufs
        Save("in", [new(0, large), new(0, large), new(0, large)]);
        using Port port = _rig.Start($"rx_pcap={_folder["in"]}");
        var burst = new Mbuf[4];
        Assert.Equal(2, port.RxQueues[0].RxBurst(burst));
        Assert.Equal(0, port.RxQueues[0].RxBurst(burst.AsSpan(2)));
        Assert.Equal(60, _rig.Pool.InUseCount);
        Assert.InRange(port.GetStats().RxNoMbuf, 2ul, 6ul);
        Assert.Equal(large, DriverRig.BytesOf(burst[1]));
        Mbuf.FreeBulk(burst.AsSpan(0, 2));
        Assert.Equal(large, Assert.Single(_rig.Receive(port)).Bytes);
    }

    [Theory]
    [InlineData("pcap")]
    [InlineData("pcapng")]
    public void Written_BeforeStop_IsReadableAfterReclaimAndGoesOnAfterStart(string format)
    {
        string file = _folder["out"];
        using Port port = _rig.Start($"tx_pcap={file},format={format},flush=60000");
        Send(port, 10);
        Assert.Empty(_rig.Read($"rx_pcap={file}", out _));
        port.TxQueues[0].ReclaimTx();
        Assert.Equal(10, _rig.Read($"rx_pcap={file}", out _).Count);
        Send(port, 5);
        port.Stop();
        Assert.Equal(15, _rig.Read($"rx_pcap={file}", out _).Count);
        port.Start();
        Send(port, 1);
        port.Dispose();
        List<TestPacket> read = _rig.Read($"rx_pcap={file}", out _);
        Assert.Equal(16, read.Count);
        ulong now = (ulong)(DateTime.UtcNow - DateTime.UnixEpoch).TotalNanoseconds;
        Assert.All(read, packet => Assert.InRange(packet.Nanoseconds, now - 60_000_000_000, now + 1_000_000_000));
    }

    [Fact]
    public void Snaplen_LongPackets_AreCutInTheFileAndCountedWhenRead()
    {
        _rig.Write($"tx_pcap={_folder["out"]},snaplen=50", [new(0, new byte[49]), new(0, new byte[51])]);
        using Port port = _rig.Start($"rx_pcap={_folder["out"]}");
        Assert.Equal([49, 50], _rig.Receive(port).Select(packet => packet.Bytes.Length));
        Assert.Equal(1ul, port.GetXstats().Single(xstat => xstat.Name == "rx_q0_truncated").Value);
    }

    [Fact]
    public void Pipe_ReaderIsBehind_TakesFewerAndLosesNothing()
    {
        string pipe = _folder["pipe"];
        using (Process make = Process.Start("mkfifo", [pipe]))
            make.WaitForExit();
        var e = Assert.Throws<DeviceException>(() => _rig.Start($"tx_pcap={pipe}"));
        Assert.Equal(Errno.ENXIO, e.Errno);
        using var reader = new FileStream(pipe, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, 0);
        Port port = _rig.Start($"tx_pcap={pipe}");
        int sent = 0;
        for (int taken; (taken = Send(port, 32, 1000)) == 32; sent += taken)
            Assert.InRange(sent, 0, 10_000);
        Assert.Equal(0ul, port.GetStats().TxErrors);
        var bytes = new byte[1 << 20];
        int got = 0;
        while (got < 24 + sent * 1016)
        {
            port.TxQueues[0].ReclaimTx();
            got += reader.Read(bytes, got, Math.Min(bytes.Length - got, 24 + sent * 1016 - got));
        }
        port.Dispose();
        File.WriteAllBytes(_folder["copy"], bytes[..got]);
        Assert.Equal(sent, _rig.Read($"rx_pcap={_folder["copy"]}", out _).Count);
    }

    [Fact]
    public void Queues_WithoutAnEnd_ReceiveNothingAndDropWhatIsSent()
    {
        Save("in", [new(0, new byte[60])]);
        using Port reads = _rig.Start($"rx_pcap={_folder["in"]}");
        Send(reads, 3);
        Assert.Equal((0ul, 3ul), (reads.GetStats().TxPackets, reads.GetStats().TxErrors));
        using Port writes = _rig.Start($"tx_pcap={_folder["out"]}");
        Assert.Empty(_rig.Receive(writes));
    }

    private void Save(string name, IEnumerable<TestPacket> packets) =>
        File.WriteAllBytes(_folder[name], PcapBytes.File(packets, new TestFormat(Nano: true)));

    private int Send(Port port, int count, int length = 60)
    {
        var packets = new Mbuf[count];
        for (int i = 0; i < count; i++)
            packets[i] = _rig.Make(new TestPacket(0, new byte[length]));
        int sent = port.TxQueues[0].TxBurst(packets);
        Mbuf.FreeBulk(packets.AsSpan(sent));
        return sent;
    }
}
