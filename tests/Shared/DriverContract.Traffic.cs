namespace Dataplane.Tests;

/// <summary>Conservation and counting.</summary>
public abstract unsafe partial class DriverContract
{
    [Fact]
    public void Traffic_AnyMix_EveryMbufComesBack()
    {
        using DriverRig rig = Rig();
        rig.Start();
        var random = new Random(7);
        var held = new Queue<Mbuf>();
        var packets = new Mbuf[64];
        for (int step = 0; step < MixSteps; step++)
        {
            int want = random.Next(1, packets.Length + 1);
            switch (random.Next(8))
            {
                case < 3:
                    rig.Send(rig.Tx, packets.AsSpan(0, rig.Make(packets.AsSpan(0, want))));
                    break;
                case < 6:
                    foreach (Mbuf packet in packets.AsSpan(0, rig.Rx.RxBurst(packets.AsSpan(0, want))))
                        held.Enqueue(packet);
                    break;
                case 6:
                    while (want-- > 0 && held.TryDequeue(out Mbuf packet))
                        packet.Free();
                    break;
                default:
                    rig.Tx.ReclaimTx(want);
                    break;
            }
            if (step % 500 != 499)
                continue;
            rig.Stop();
            Assert.Equal(0, rig.Rx.RxBurst(packets));
            Assert.Equal(0, rig.Send(rig.Tx, packets.AsSpan(0, rig.Make(packets))));
            Assert.Equal(DriverRig.PoolSize, rig.Pool.AvailableCount + held.Sum(packet => (int)packet.Header->NbSegs));
            while (held.Count > DriverRig.PoolSize / 2)
                held.Dequeue().Free();      // a NIC starts with mbufs in its descriptors, or not at all
            rig.Start();
        }
        Mbuf.FreeBulk([.. held]);
        rig.Stop();
        rig.AssertAllBack("stopped");
    }

    [Fact]
    public void Transmit_NobodyReceives_CallerKeepsWhatIsNotTaken()
    {
        using DriverRig rig = Rig();
        rig.Start();
        var packets = new Mbuf[32];
        ulong taken = 0;
        for (int i = 0; i < 300; i++)
        {
            int made = rig.Make(packets, 60 + i);
            taken += (ulong)rig.Send(rig.Tx, packets.AsSpan(0, made));
        }
        PortStats stats = rig.Sender.GetStats();
        Assert.Equal(taken, stats.TxPackets + stats.TxErrors);
        rig.Stop();
        rig.AssertAllBack("stopped");
    }

    [Fact]
    public void Receive_PoolIsEmpty_CountsAndRecovers()
    {
        using DriverRig rig = Rig();
        rig.Start();
        var burst = new Mbuf[32];
        var all = new Mbuf[DriverRig.PoolSize];
        int out_ = 0;
        while (out_ < all.Length && rig.Pool.TryAlloc(out all[out_]))
            out_++;
        int received = rig.Rx.RxBurst(burst);
        Mbuf.FreeBulk(burst.AsSpan(0, received));
        if (MakesItsOwn)
        {
            Assert.Equal(0, received);
            Assert.Equal(32ul, rig.Receiver.GetStats().RxNoMbuf);
        }
        Mbuf.FreeBulk(all.AsSpan(0, out_));
        Exchange(rig, 64);
        rig.Stop();
        rig.AssertAllBack("stopped");
    }

    [Fact]
    public void Counters_Traffic_EqualWhatMoved()
    {
        using DriverRig rig = Rig();
        rig.Start();
        var random = new Random(11);
        var packets = new Mbuf[64];
        var lengths = new int[64];
        ulong sent = 0, sentBytes = 0, received = 0, receivedBytes = 0;
        for (int i = 0; i < 400; i++)
        {
            int made = rig.Make(packets.AsSpan(0, random.Next(1, 65)));
            for (int p = 0; p < made; p++)
                lengths[p] = packets[p].PacketLength;
            int taken = rig.Send(rig.Tx, packets.AsSpan(0, made));
            sent += (uint)taken;
            sentBytes += (ulong)lengths.Take(taken).Sum();
            // Polled less than sent for a while, so that queues run full; then emptied.
            int got = i % 16 < 12 ? 0 : rig.Rx.RxBurst(packets);
            received += (uint)got;
            receivedBytes += (ulong)packets.Take(got).Sum(packet => packet.PacketLength);
            Mbuf.FreeBulk(packets.AsSpan(0, got));
        }
        PortStats tx = rig.Sender.GetStats(), rx = rig.Receiver.GetStats();
        Assert.Equal((sent, received), (tx.TxPackets + tx.TxErrors, rx.RxPackets));
        Assert.Equal(receivedBytes, rx.RxBytes);
        if (tx.TxErrors == 0)
            Assert.Equal(sentBytes, tx.TxBytes);
        Assert.InRange(received, 1ul, ulong.MaxValue);
        AssertXstatsAgree(rig.Sender);
        AssertXstatsAgree(rig.Receiver);
        rig.Sender.ResetStats();
        rig.Receiver.ResetStats();
        Assert.Equal(0ul, rig.Sender.GetStats().TxPackets);
        Assert.Equal(0ul, rig.Receiver.GetStats().RxBytes);
    }

    [Fact]
    public void Traffic_ManyPackets_AllocatesNothing()
    {
        using DriverRig rig = Rig();
        rig.Start();
        Move(rig, 20_000); // warm: everything compiled, every lazy thing made
        long before = GC.GetAllocatedBytesForCurrentThread();
        int sent = Move(rig, ManyPackets);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(0, allocated);
        Assert.InRange(sent, ManyPackets, int.MaxValue);
    }

    [Fact]
    public void StartStop_HundredTimes_NothingStays()
    {
        using DriverRig rig = Rig();
        var packets = new Mbuf[32];
        rig.Start();
        for (int i = 0; i < 100; i++)
        {
            foreach (Port port in rig.Ports.Ports)
            {
                port.Stop();
                port.Start();
            }
            rig.Send(rig.Tx, packets.AsSpan(0, rig.Make(packets)));
            if (i % 3 == 0)
                Mbuf.FreeBulk(packets.AsSpan(0, rig.Rx.RxBurst(packets)));
            rig.Stop();
            rig.AssertAllBack($"stop {i}");
            foreach (Port port in rig.Ports.Ports)
                port.Start();
        }
        rig.WaitForLinks();
        Exchange(rig, 32);
    }
}
