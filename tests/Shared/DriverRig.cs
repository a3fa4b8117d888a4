using Dataplane.Net;

namespace Dataplane.Tests;

/// <summary>A sender and a receiver of the driver under test, with one pool, and the traffic to try them
/// with.</summary>
public sealed unsafe partial class DriverRig : IDisposable
{
    /// <summary>Mbufs in the pool: the number that must be there again at the end.</summary>
    public const int PoolSize = 4096;

    private const int HeaderBytes = 42, MinFrame = 60, MaxFrame = 1514;
    private const uint Magic = 0xd47a_914e;

    // Broadcasts nobody answers, from an address nobody has: UDP from 198.18.0.1 to 198.18.0.2 (RFC 2544's own
    // network).
    private static readonly byte[] s_header =
    [
        0x02, 0, 0, 0, 0, 0xee, 0x02, 0, 0, 0, 0, 0xdd, 0x08, 0x00,
        0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2,
        0x40, 0, 0, 9, 0, 0, 0, 0,
    ];

    private readonly Random _random = new(20260101);
    private readonly TimeSpan _patience;

    /// <summary>Makes ports of devices: virtual ones, or PCI functions by address, which a memory of hugepages
    /// serves.</summary>
    internal DriverRig(IReadOnlyList<PortDriver> drivers, IReadOnlyList<string> devices, TimeSpan patience,
        EalOptions? options = null)
    {
        _patience = patience;
        string[] functions = [.. devices.Where(IsPci)];
        Eal = Eal.Initialize((options ?? new EalOptions { NoHuge = true, NoPci = true }) with { Allow = functions });
        try
        {
            Pool = Mempool.CreateMbufPool(Eal.Memory, "rig", PoolSize, cacheSize: 0);
            Ports = functions.Length > 0 ? PortList.Probe(Eal, drivers) : new PortList(Eal, drivers);
            foreach (string device in devices.Except(functions))
                Ports.Attach(device);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public Eal Eal { get; }
    public PortList Ports { get; } = null!;
    public Mempool Pool { get; } = null!;
    public Port Sender => Ports.Ports[0];
    public Port Receiver => Ports.Ports[^1];
    public TxQueue Tx => Sender.TxQueues[0];
    public RxQueue Rx => Receiver.RxQueues[0];

    /// <summary>Sequence number of the next packet made.</summary>
    public uint NextSequence { get; private set; }

    /// <summary>Whether a device is named as a PCI function is.</summary>
    public static bool IsPci(string device) => PciAddress.TryParse(device.Split(',')[0], out _);

    /// <summary>Sets both ports up alike and starts them.</summary>
    public void Start(PortConfig? config = null) => Start(config ?? new PortConfig(), config ?? new PortConfig());

    /// <summary>Sets the two up, each its own way, and starts them.</summary>
    public void Start(PortConfig sender, PortConfig receiver)
    {
        foreach (Port port in Ports.Ports)
        {
            port.Start(port == Receiver ? receiver : sender, Pool, Descriptors(port));
            SetPromiscuous(port, true);     // the suite's frames are for nobody
        }
        WaitForLinks();
    }

    // A NIC holds a mbuf for every receive descriptor: few enough that eight queues leave some in the pool.
    private static int Descriptors(Port port) => port.Info.Pci == null ? 0
        : Math.Clamp(128, port.Info.MinDescriptors, port.Info.MaxDescriptors);

    /// <summary>Starts both again as they were.</summary>
    public void Restart()
    {
        foreach (Port port in Ports.Ports)
            port.Start();
        WaitForLinks();
    }

    /// <summary>How long to wait for what must come: a busy machine's patience.</summary>
    private TimeSpan Limit => _patience * 100;

    /// <summary>Waits until both can send and receive.</summary>
    public void WaitForLinks()
    {
        // Again where one had not noticed at first that the other end came anew.
        do
            foreach (Port port in Ports.Ports)
                Assert.True(port.WaitForLink(Limit).Up, $"link of {port.Name} does not come up");
        while (!Ports.Ports.All(port => port.GetLink().Up));
    }

    /// <summary>Receives for any address, where the port has the mode.</summary>
    public static void SetPromiscuous(Port port, bool on)
    {
        try
        {
            port.SetPromiscuous(on);
        }
        catch (DataplaneException e) when (e.Errno == Errno.EOPNOTSUPP)
        {
            // It receives all there is.
        }
    }

    public void Stop()
    {
        foreach (Port port in Ports.Ports)
            port.Stop();
    }

    /// <summary>Fills the span with packets to send, or as many as the pool has.</summary>
    public int Make(Span<Mbuf> packets, int frameBytes = 0)
    {
        int made = 0;
        while (made < packets.Length && Pool.TryAlloc(out packets[made]))
            Fill(packets[made++], frameBytes == 0 ? _random.Next(MinFrame, MaxFrame + 1) : frameBytes);
        return made;
    }

    /// <summary>Sends packets and frees those not taken. Returns how many were taken.</summary>
    public int Send(TxQueue queue, ReadOnlySpan<Mbuf> packets)
    {
        int sent = queue.TxBurst(packets);
        Assert.InRange(sent, 0, packets.Length);
        Mbuf.FreeBulk(packets[sent..]);
        return sent;
    }

    /// <summary>Receives until the span is full or nothing comes any more.</summary>
    public int Receive(RxQueue queue, Span<Mbuf> packets)
    {
        int received = 0;
        long start = Environment.TickCount64;
        for (int idle = 0; received < packets.Length
            && (idle < 4 || Environment.TickCount64 - start < _patience.TotalMilliseconds);)
        {
            int count = queue.RxBurst(packets[received..Math.Min(packets.Length, received + 32)]);
            Assert.InRange(count, 0, Math.Min(32, packets.Length - received));
            idle = count == 0 ? idle + 1 : 0;
            received += count;
        }
        return received;
    }

    /// <summary>The number the packet was made with, or null when it is none of ours (a kernel has its own
    /// traffic).</summary>
    public static uint? SequenceOf(Mbuf packet)
    {
        byte[] bytes = BytesOf(packet);
        return bytes.Length >= HeaderBytes + 8 && BitConverter.ToUInt32(bytes, HeaderBytes) == Magic
            ? BitConverter.ToUInt32(bytes, HeaderBytes + 4) : null;
    }

    /// <summary>The bytes a packet with that number and length was made of.</summary>
    public static byte[] Expected(uint sequence, int length)
    {
        var bytes = new byte[length];
        s_header.CopyTo(bytes, 0);
        bytes[17] = (byte)(length - 14);
        bytes[16] = (byte)(length - 14 >> 8);
        bytes[35] = (byte)(sequence & 63); // UDP source port: 64 flows
        bytes[28] = bytes[35];             // and addresses, for NICs that do not look at the ports of UDP
        bytes[39] = (byte)(length - 34);
        bytes[38] = (byte)(length - 34 >> 8);
        // A bridge on a frame's way may look at it (br_netfilter).
        ref IPv4Header ip = ref bytes.AsSpan().HeaderAt<IPv4Header>(EtherHeader.Size);
        ip.Checksum = Checksum.IPv4(in ip);
        BitConverter.TryWriteBytes(bytes.AsSpan(HeaderBytes), Magic);
        BitConverter.TryWriteBytes(bytes.AsSpan(HeaderBytes + 4), sequence);
        for (int i = HeaderBytes + 8; i < length; i++)
            bytes[i] = (byte)(sequence + i);
        return bytes;
    }

    /// <summary>All segments' bytes, with the chain's own lengths checked.</summary>
    public static byte[] BytesOf(Mbuf packet)
    {
        var bytes = new List<byte>();
        int segments = 0;
        for (Mbuf segment = packet; !segment.IsNull; segment = segment.Next, segments++)
            bytes.AddRange(segment.Data);
        Assert.Equal(segments, packet.Header->NbSegs);
        Assert.Equal(bytes.Count, packet.PacketLength);
        return [.. bytes];
    }

    public void AssertAllBack(string after) =>
        Assert.True(Pool.AvailableCount == PoolSize,
            $"{after}: {Pool.AvailableCount} of {PoolSize} mbufs are back in the pool");

    public void Dispose()
    {
        Ports?.Dispose();
        Pool?.Dispose();
        Eal.Dispose();
    }

    private void Fill(Mbuf packet, int length)
    {
        Expected(NextSequence++, length).CopyTo(new Span<byte>(packet.Append(length), length));
        packet.Header->OlFlags |= MbufFlags.TxIpv4; // a remark to the sender, which nobody else should get to see
    }
}
