using Dataplane.Native;
using Dataplane.Net;
using IPv4Address = Dataplane.Net.IPv4Address;

namespace Dataplane.Tests;

/// <summary>A port that loops what it is sent, two queues each way, in an environment with a control socket.</summary>
internal sealed class CaptureRig : IDisposable
{
    internal static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly Mbuf[] _burst = new Mbuf[32];

    internal CaptureRig()
    {
        Eal = Eal.Initialize(new EalOptions
        {
            NoHuge = true, NoPci = true, FilePrefix = Prefix, Telemetry = true, Lcores = [new(0, Affinity.Get())],
        });
        Pool = Mempool.CreateMbufPool(Eal.Memory, "capture", 2047, cacheSize: 0);
        Ports = new PortList(Eal, [new FakeDriver()]);
        Port = Ports.Attach("net_fake0");
        Port.Start(new PortConfig { RxQueues = 2, TxQueues = 2, RxOffloads = RxOffloads.Scatter,
            TxOffloads = TxOffloads.MultiSegments }, Pool);
    }

    internal string Prefix { get; } = $"capture-{Guid.NewGuid():N}";

    internal Eal Eal { get; }

    internal Mempool Pool { get; }

    internal PortList Ports { get; }

    internal Port Port { get; }

    internal int Sessions => Ports.Capture.Count;

    public void Dispose()
    {
        Ports.Dispose();
        int lost = Pool.InUseCount;
        Pool.Dispose();
        Eal.Dispose();
        Assert.Equal(0, lost);
    }

    internal ControlConnection Connect() => ControlConnection.Open(Eal.Control.SocketPath!);

    internal CaptureReader Attach(ControlConnection connection, CaptureRequest? request = null,
        params sock_filter[] filter) => CaptureReader.Attach(connection, request ?? Request(), filter);

    internal static CaptureRequest Request(int port = CaptureRequest.All, int queue = CaptureRequest.All,
        CaptureDirection direction = CaptureDirection.Receive | CaptureDirection.Transmit, uint snapLength = 65536,
        uint ringBytes = 1 << 20) => new()
        {
            Port = port, Queue = queue, Direction = direction, SnapLength = snapLength, RingBytes = ringBytes,
        };

    /// <summary>Waits until a capture whose connection went is over.</summary>
    internal void WaitForNone() => Assert.True(SpinWait.SpinUntil(() => Sessions == 0, Patience));

    /// <summary>A frame to a UDP port; its payload is random.</summary>
    internal static byte[] Frame(ushort port, int bytes, Random random)
    {
        byte[] frame = PacketTemplate.Udp4(MacAddress.Local(1), MacAddress.Local(2), IPv4Address.Parse("10.0.0.1"),
            IPv4Address.Parse("10.0.0.2"), 4000, port, bytes).Frame.ToArray();
        random.NextBytes(frame.AsSpan(42));
        return frame;
    }

    /// <summary>A mbuf with these bytes, in segments of at most so many.</summary>
    internal unsafe Mbuf Make(ReadOnlySpan<byte> left, int segment = 2000)
    {
        Mbuf head = default;
        do
        {
            Mbuf part = Pool.Alloc();
            int length = Math.Min(segment, left.Length);
            left[..length].CopyTo(new Span<byte>(part.Append(length), length));
            left = left[length..];
            if (head.IsNull)
                head = part;
            else
                Assert.True(head.TryChain(part));
        }
        while (!left.IsEmpty);
        return head;
    }

    /// <summary>Receives and frees all there is on a queue.</summary>
    internal int ReceiveAll(int queue = 0)
    {
        int all = 0;
        for (int count; (count = Port.RxQueues[queue].RxBurst(_burst)) > 0; all += count)
            Mbuf.FreeBulk(_burst.AsSpan(0, count));
        return all;
    }
}

/// <summary>Keeps all packets it is given.</summary>
internal sealed class CaptureList : ICaptureSink
{
    internal List<(int Ring, CaptureRecord Record, byte[] Bytes)> Packets { get; } = [];

    internal int Most { get; init; } = int.MaxValue;

    public bool OnPacket(int ring, in CaptureRecord record, ReadOnlySpan<byte> data)
    {
        Packets.Add((ring, record, data.ToArray()));
        return Packets.Count < Most;
    }
}
