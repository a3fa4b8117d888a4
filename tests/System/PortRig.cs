using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>An environment with a pool and started ports, for one test.</summary>
internal sealed class PortRig : IDisposable
{
    private NetLab? _lab;

    internal PortRig(int mbufs = 4096, int dataRoom = Mbuf.DefaultBufferSize)
    {
        Eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        Pool = Mempool.CreateMbufPool(Eal.Memory, "rig", mbufs, cacheSize: 0, dataRoomBytes: dataRoom);
        Ports = PortList.Probe(Eal, Drivers.All);
    }

    internal Eal Eal { get; }

    internal Mempool Pool { get; }

    internal PortList Ports { get; }

    /// <summary>Two started ports of a driver on the ends of a veth pair, which goes with the rig.</summary>
    internal static PortRig OverVeth(string driver, out Port left, out Port right, string arguments = "",
        PortConfig? config = null, int mbufs = 4096, int dataRoom = Mbuf.DefaultBufferSize)
    {
        Host.Require();
        var lab = new NetLab();
        PortRig? rig = null;
        try
        {
            (string a, string b) = lab.AddVeth();
            rig = new PortRig(mbufs, dataRoom) { _lab = lab };
            string more = arguments.Length > 0 ? "," + arguments : "";
            left = rig.Start($"{driver}0,iface={a}{more}", config);
            right = rig.Start($"{driver}1,iface={b}{more}", config);
            return rig;
        }
        catch
        {
            if (rig == null)
                lab.Dispose();
            else
                rig.Dispose();
            throw;
        }
    }

    /// <summary>Attaches, configures and starts a port.</summary>
    internal Port Start(string device, PortConfig? config = null)
    {
        Port port = Ports.Attach(device);
        Start(port, config ?? new PortConfig());
        return port;
    }

    internal void Start(Port port, PortConfig config)
    {
        port.Configure(config);
        for (int i = 0; i < config.RxQueues; i++)
            port.SetupRxQueue(i, Pool);
        for (int i = 0; i < config.TxQueues; i++)
            port.SetupTxQueue(i);
        port.Start();
    }

    /// <summary>A packet with these bytes; the caller owns it.</summary>
    internal Mbuf Packet(ReadOnlySpan<byte> bytes) => Packet(Pool, bytes);

    /// <summary>The same of another pool.</summary>
    internal static unsafe Mbuf Packet(Mempool pool, ReadOnlySpan<byte> bytes)
    {
        Assert.True(pool.TryAlloc(out Mbuf first));
        Mbuf last = first;
        while (true)
        {
            int part = Math.Min(bytes.Length, last.Tailroom);
            bytes[..part].CopyTo(new Span<byte>(last.DataPointer, part));
            last.Header->DataLen = (ushort)part;
            first.Header->PktLen += (uint)part;
            bytes = bytes[part..];
            if (bytes.IsEmpty)
                return first;
            Assert.True(pool.TryAlloc(out Mbuf next));
            last.Header->Next = next.Header;
            first.Header->NbSegs++;
            last = next;
        }
    }

    /// <summary>Sends all, a burst at a time, until <paramref name="seconds"/> are over.</summary>
    internal static void SendAll(TxQueue queue, ReadOnlySpan<Mbuf> packets, double seconds = 60)
    {
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (!packets.IsEmpty)
        {
            packets = packets[queue.TxBurst(packets[..Math.Min(32, packets.Length)])..];
            Assert.True(clock.Elapsed.TotalSeconds < seconds, $"{packets.Length} packets could not be sent");
        }
    }

    /// <summary>Sends all, and receives meanwhile, so that no queue runs over; the bytes of each.</summary>
    internal static List<byte[]> Exchange(TxQueue tx, IReadOnlyList<RxQueue> rx, ReadOnlySpan<Mbuf> packets)
    {
        int count = packets.Length;
        var received = new List<byte[]>();
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (received.Count < count && clock.Elapsed.TotalSeconds < 60)
        {
            packets = packets[tx.TxBurst(packets[..Math.Min(32, packets.Length)])..];
            received.AddRange(Collect(rx, 32, seconds: 0.0001));
        }
        return received;
    }

    /// <summary>Receives until there are <paramref name="count"/> packets or time is over; the bytes of each.</summary>
    internal static List<byte[]> Collect(IEnumerable<RxQueue> queues, int count, double seconds = 60)
    {
        var burst = new Mbuf[32];
        var packets = new List<byte[]>();
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (packets.Count < count && clock.Elapsed.TotalSeconds < seconds)
            foreach (RxQueue queue in queues)
            {
                int received = queue.RxBurst(burst);
                foreach (Mbuf packet in burst.AsSpan(0, received))
                {
                    packets.Add(Bytes(packet));
                    packet.Free();
                }
            }
        return packets;
    }

    /// <summary>Receives one packet; the caller owns it.</summary>
    internal static Mbuf CollectOne(RxQueue queue)
    {
        var packet = new Mbuf[1];
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (queue.RxBurst(packet) == 0)
            Assert.True(clock.Elapsed.TotalSeconds < 60, "nothing received");
        return packet[0];
    }

    /// <summary>All bytes of a packet's segments.</summary>
    internal static byte[] Bytes(Mbuf packet)
    {
        var bytes = new byte[packet.PacketLength];
        int at = 0;
        for (Mbuf segment = packet; !segment.IsNull; segment = segment.Next)
        {
            segment.Data.CopyTo(bytes.AsSpan(at));
            at += segment.DataLength;
        }
        Assert.Equal(bytes.Length, at);
        return bytes;
    }

    public void Dispose()
    {
        Ports.Dispose();
        int lost = Pool.InUseCount;
        Pool.Dispose();
        Eal.Dispose();
        _lab?.Dispose();
        Assert.True(lost == 0,
            $"{lost} mbufs did not come back; a test that failed half-way holds some, and this hides why");
    }
}
