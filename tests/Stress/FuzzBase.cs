using System.Buffers;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>
/// Peers that say and write anything: seeded, many, and beside them ports that must not notice. What a packet holds
/// tells where it was read from: what is shared is filled with <see cref="Filling"/>, and nothing else in the process
/// is.
/// </summary>
public abstract unsafe class FuzzBase : IDisposable
{
    private protected const int Messages = 100_000, Rings = 100_000;
    private protected const byte Filling = 0xa5;

    private int _linksLost;
    private Port[] _bystanders = [];

    private protected DriverRig Rig { get; } = new(Drivers.All, [], TimeSpan.FromMilliseconds(600), new EalOptions
    {
        NoHuge = true, NoPci = true, LogLevel = LogSeverity.Critical,
    });

    /// <summary>A socket's name, of this test alone.</summary>
    private protected string Name { get; } = $"dp-fuzz-{Guid.NewGuid():N}";

    private protected Random Random { get; } = new(20260131);

    public virtual void Dispose()
    {
        Rig.Stop();
        Rig.AssertAllBack("all ports are stopped");
        Rig.Eal.Memory.Validate();
        Rig.Dispose();
    }

    /// <summary>Two ports of the same environment, joined to each other, whose link stays up all the time.</summary>
    private protected void StartBystanders(string one, string other)
    {
        _bystanders = [Rig.Ports.Attach(one), Rig.Ports.Attach(other)];
        foreach (Port port in _bystanders)
            port.Start(new PortConfig(), Rig.Pool, 64);
        foreach (Port port in _bystanders)
        {
            Assert.True(port.WaitForLink(TimeSpan.FromMinutes(1)).Up, $"{port.Name} does not come up");
            port.Events += (at, what) =>
            {
                if (what == PortEvent.LinkChanged && !at.GetLink().Up)
                    Interlocked.Increment(ref _linksLost);
            };
        }
    }

    private protected void AssertBystanders()
    {
        Assert.Equal(0, _linksLost);
        Assert.All(_bystanders, port => Assert.True(port.GetLink().Up));
        foreach ((int from, int to) in ((int, int)[])[(0, 1), (1, 0)])
        {
            Poll(_bystanders[from]);
            Assert.Equal(1ul, Poll(_bystanders[to]));
            Poll(_bystanders[from]);
        }
    }

    /// <summary>Takes what there is and sends one packet.</summary>
    /// <param name="port">With a queue each way.</param>
    /// <param name="shared">All there can be in a packet that was read from shared memory; null: it is not looked
    /// at.</param>
    private protected ulong Poll(Port port, SearchValues<byte>? shared = null)
    {
        var burst = new Mbuf[32];
        int received = port.RxQueues[0].RxBurst(burst);
        foreach (Mbuf packet in burst.AsSpan(0, received))
        {
            Assert.True(packet.Check(isPacket: true, out string? reason), reason);
            // The receiver itself writes a checksum that was left open.
            bool changed = (packet.Header->OlFlags & MbufFlags.RxL4ChecksumGood) != 0;
            for (Mbuf segment = packet; shared != null && !changed && !segment.IsNull; segment = segment.Next)
                Assert.True(segment.Data.IndexOfAnyExcept(shared) < 0, "it read outside what is shared");
            packet.Free();
        }
        Mbuf own = Rig.Pool.Alloc();
        own.Append(Random.Next(14, 2000));
        own.Data.Fill(Filling);
        if (port.TxQueues[0].TxBurst([own]) == 0)
            own.Free();
        return (ulong)received;
    }

    /// <summary>Changes some bytes, of the first ones mostly.</summary>
    private protected static void Mutate(Span<byte> message, Random random)
    {
        for (int n = random.Next(1, 4); n > 0; n--)
            message[random.Next(4) == 0 ? random.Next(message.Length) : random.Next(Math.Min(16, message.Length))] =
                (byte)(random.Next(2) == 0 ? random.Next(256) : random.Next(10));
    }
}
