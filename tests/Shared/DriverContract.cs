namespace Dataplane.Tests;

/// <summary>
/// What every driver owes its users. A driver's own test class says how it is wired up and inherits the rest.
/// </summary>
public abstract unsafe partial class DriverContract
{
    /// <summary>The device that sends and the one that receives; one that loops, or makes and swallows, stands
    /// alone.</summary>
    protected abstract IReadOnlyList<string> Devices { get; }

    /// <summary>Devices of the driver with arguments it must refuse.</summary>
    protected abstract IReadOnlyList<string> BadDevices { get; }

    /// <summary>The drivers to choose from.</summary>
    protected virtual IReadOnlyList<PortDriver> AllDrivers => Pmd.Drivers.All;

    /// <summary>It receives packets nobody sent, and what it sends goes nowhere.</summary>
    protected virtual bool MakesItsOwn => false;

    /// <summary>
    /// It is a NIC, which does what it claims itself and to every packet: sorts them by address, looks at every
    /// checksum. Virtual ports carry what they are given, and a kernel's ports know only what the kernel says.
    /// </summary>
    protected virtual bool IsNic => false;

    /// <summary>What a NIC says of checksums it says of every packet. A joining by Linux's bridge asks nobody of a
    /// packet whose checksum is there already.</summary>
    protected virtual bool SaysEveryChecksum => IsNic;

    /// <summary>FIN and PSH of a packet that is cut into segments are in the last of them, as they should be.</summary>
    protected virtual bool LastSegmentIsMarked => true;

    /// <summary>An interrupt may come once more, late, and nothing is there.</summary>
    protected virtual bool RepeatsInterrupts => false;

    /// <summary>What the environment of its ports takes; null: ordinary memory and no PCI.</summary>
    protected virtual EalOptions? Settings => null;

    /// <summary>How long a packet may take from sender to receiver.</summary>
    protected virtual TimeSpan Patience => TimeSpan.Zero;

    /// <summary>Packets of the test for allocation.</summary>
    protected virtual int ManyPackets => 1_000_000;

    /// <summary>Steps of the test with mixed traffic.</summary>
    protected virtual int MixSteps => 3000;

    /// <summary>Makes what the devices stand on (interfaces, files), or skips the test and says what is
    /// missing.</summary>
    protected virtual void Prepare() { }

    private DriverRig Rig(IReadOnlyList<string>? devices = null)
    {
        Prepare();
        return new DriverRig(AllDrivers, devices ?? Devices, Patience, Settings);
    }

    private void TryOffload(DriverRig rig, PortConfig config, string name)
    {
        rig.Start(config with
        {
            RxOffloads = config.RxOffloads & rig.Sender.Info.RxOffloads,
            TxOffloads = config.TxOffloads & rig.Receiver.Info.TxOffloads,
        });
        var packets = new Mbuf[32];
        Assert.Equal(32, rig.Send(rig.Tx, packets.AsSpan(0, rig.Make(packets, 200))));
        int received = ReceiveOurs(rig, packets);
        foreach (Mbuf packet in packets.AsSpan(0, received))
            Assert.True(config.RxOffloads != RxOffloads.RssHash || (packet.Header->OlFlags & MbufFlags.RxRssHash) != 0,
                "no hash");
        Mbuf.FreeBulk(packets.AsSpan(0, received));
        Assert.True(received == 32, $"{received} of 32 packets came through with {name}");
        rig.Stop();
        rig.AssertAllBack(name);
    }

    /// <summary>Sends packets and receives as many.</summary>
    private void Exchange(DriverRig rig, int count)
    {
        var packets = new Mbuf[count];
        Assert.Equal(count, rig.Send(rig.Tx, packets.AsSpan(0, rig.Make(packets, 128))));
        int received = ReceiveOurs(rig, packets);
        Mbuf.FreeBulk(packets.AsSpan(0, received));
        Assert.Equal(count, received);
    }

    /// <summary>Receives until the span is full of packets the rig made (of any, from a port that makes
    /// them).</summary>
    private int ReceiveOurs(DriverRig rig, Span<Mbuf> packets)
    {
        int kept = 0;
        for (int received; kept < packets.Length && (received = rig.Receive(rig.Rx, packets[kept..])) > 0;)
            foreach (Mbuf packet in packets.Slice(kept, received))
            {
                if (MakesItsOwn || DriverRig.SequenceOf(packet) != null)
                    packets[kept++] = packet;
                else
                    packet.Free();
            }
        return kept;
    }

    private static int Move(DriverRig rig, int packets)
    {
        Span<Mbuf> burst = stackalloc Mbuf[64];
        int sent = 0;
        while (sent < packets)
        {
            if (rig.Pool.TryAllocBulk(burst[..32]))
            {
                foreach (Mbuf packet in burst[..32])
                    packet.Append(64);
                int taken = rig.Tx.TxBurst(burst[..32]);
                Mbuf.FreeBulk(burst[taken..32]);
                sent += taken;
            }
            int received = rig.Rx.RxBurst(burst);
            Mbuf.FreeBulk(burst[..received]);
        }
        return sent;
    }

    private static Mbuf Split(DriverRig rig, Mbuf packet, params int[] lengths)
    {
        byte[] bytes = DriverRig.BytesOf(packet);
        packet.Free();
        Mbuf head = default, last = default;
        int at = 0;
        foreach (int length in lengths)
        {
            Assert.True(rig.Pool.TryAlloc(out Mbuf segment));
            bytes.AsSpan(at, length).CopyTo(new Span<byte>(segment.Append(length), length));
            at += length;
            if (head.IsNull)
                head = segment;
            else
                last.Header->Next = segment.Header;
            last = segment;
        }
        head.Header->NbSegs = (ushort)lengths.Length;
        head.Header->PktLen = (uint)bytes.Length;
        return head;
    }

    private static void AssertXstatsAgree(Port port)
    {
        PortStats stats = port.GetStats();
        IReadOnlyList<Xstat> xstats = port.GetXstats();
        Assert.Equal(xstats.Count, xstats.Select(x => x.Name).Distinct().Count());
        ulong Sum(string prefix, string suffix) => xstats
            .Where(x => x.Name.StartsWith(prefix, StringComparison.Ordinal)
            && x.Name.EndsWith(suffix, StringComparison.Ordinal))
            .Aggregate(0ul, (sum, x) => sum + x.Value);
        Assert.Equal(stats.RxPackets, Sum("rx_q", "_packets"));
        Assert.Equal(stats.TxBytes, Sum("tx_q", "_bytes"));
        Assert.Equal(stats.TxPackets + stats.TxErrors, Sum("tx_q", "_packets"));
        Assert.Equal(stats.RxPackets, Sum("rx_good_packets", ""));
    }
}
