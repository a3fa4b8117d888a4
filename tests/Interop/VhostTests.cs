namespace Dataplane.Tests;

/// <summary>Our vhost-user ends against DPDK's: numbered packets, which testpmd sends back as they come.</summary>
public sealed class VhostTests
{
    public static IEnumerable<ITheoryDataRow> Ends =>
        from backEnd in (bool[])[true, false]
        from packed in (bool[])[false, true]
        from listens in (bool[])[true, false]
        select new TheoryDataRow<bool, bool, bool>(backEnd, packed, listens);

    /// <param name="backEnd">Our side is net_vhost and testpmd's net_virtio_user; else the other way round.</param>
    /// <param name="packed">Packed rings.</param>
    /// <param name="listens">Our side listens; else it connects, before anybody listens.</param>
    [Theory]
    [MemberData(nameof(Ends))]
    public void Testpmd_SendsBackWhatWeSend_AllOfItInOrder(bool backEnd, bool packed, bool listens)
    {
        Host.Require("dpdk-testpmd", "stdbuf");
        using var folder = new PcapFolder();
        string socket = folder["vhost.sock"];
        using var rig = new DriverRig(Pmd.Drivers.All, [Ours(backEnd, packed, listens, socket)],
            TimeSpan.FromMilliseconds(600), new EalOptions { NoHuge = true, NoPci = true });
        rig.Sender.Start(new PortConfig(), rig.Pool);
        using (var testpmd = new TestpmdProcess(Theirs(backEnd, packed, listens, socket), "io"))
        {
            rig.WaitForLinks();
            Assert.Equal(packed ? "packed" : "split", rig.Rx.BurstMode.Split(',')[0]);
            Echo(rig, 20_000);
            (long received, long sent) = testpmd.Stop();
            Assert.True(received >= 20_000 && sent >= 20_000, $"testpmd received {received} and sent {sent}");
        }
        // It is gone: the port says so, and takes the next.
        Assert.True(SpinWait.SpinUntil(() => !rig.Sender.GetLink().Up, TimeSpan.FromSeconds(60)), "the link stays up");
        using (var testpmd = new TestpmdProcess(Theirs(backEnd, packed, listens, socket), "io"))
        {
            rig.WaitForLinks();
            Drain(rig);
            Echo(rig, 2000);
        }
        rig.Stop();
        rig.AssertAllBack("stopped");
    }

    /// <summary>Sends, and checks what comes back; never so many at once that the far end could lose one.</summary>
    private static void Echo(DriverRig rig, int count)
    {
        var packets = new Mbuf[32];
        uint first = rig.NextSequence, expected = first;
        long start = Environment.TickCount64;
        while (expected - first < count)
        {
            Assert.True(Environment.TickCount64 - start < 120_000,
                $"{expected - first} of {count} came back, {rig.NextSequence - first} were sent");
            if (rig.NextSequence - first < count && rig.NextSequence - expected < 128)
            {
                int made = rig.Make(packets);
                for (int done = 0; done < made; done += rig.Tx.TxBurst(packets.AsSpan(done, made - done)))
                    Assert.True(Environment.TickCount64 - start < 120_000, "it takes no more packets");
            }
            int received = rig.Rx.RxBurst(packets);
            foreach (Mbuf packet in packets.AsSpan(0, received))
            {
                if (DriverRig.SequenceOf(packet) is not { } sequence)
                    continue;
                Assert.Equal(expected++, sequence);
                Assert.Equal(DriverRig.Expected(sequence, packet.PacketLength), DriverRig.BytesOf(packet));
            }
            Mbuf.FreeBulk(packets.AsSpan(0, received));
        }
    }

    private static void Drain(DriverRig rig)
    {
        var packets = new Mbuf[32];
        for (int received; (received = rig.Receive(rig.Rx, packets)) > 0;)
            Mbuf.FreeBulk(packets.AsSpan(0, received));
    }

    private static string Ours(bool backEnd, bool packed, bool listens, string socket) => backEnd
        ? $"net_vhost0,iface={socket}{(listens ? "" : ",client=1")}"
        : $"net_virtio_user0,path={socket},packed_vq={(packed ? 1 : 0)}{(listens ? ",server=1" : "")}";

    private static string Theirs(bool backEnd, bool packed, bool listens, string socket) => backEnd
        ? $"net_virtio_user0,path={socket},packed_vq={(packed ? 1 : 0)}{(listens ? "" : ",server=1")}"
        : $"net_vhost0,iface={socket}{(listens ? ",client=1" : "")}";
}
