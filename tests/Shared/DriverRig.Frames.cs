namespace Dataplane.Tests;

/// <summary>Single frames, told byte for byte, and what becomes of them.</summary>
public sealed unsafe partial class DriverRig
{
    private static readonly TestFrame s_marker = new(250) { PayloadBytes = 22 };

    /// <summary>A packet with these bytes.</summary>
    /// <param name="bytes">The frame.</param>
    /// <param name="segmentBytes">What each segment holds at most.</param>
    public Mbuf Packet(ReadOnlySpan<byte> bytes, int segmentBytes = 1500)
    {
        Mbuf head = default;
        for (int at = 0; at < bytes.Length; at += segmentBytes)
        {
            Assert.True(Pool.TryAlloc(out Mbuf segment), "the rig's pool is empty");
            ReadOnlySpan<byte> piece = bytes.Slice(at, Math.Min(segmentBytes, bytes.Length - at));
            Assert.True(segment.TryAppend(piece.Length, out Span<byte> room));
            piece.CopyTo(room);
            if (head.IsNull)
                head = segment;
            else
                Assert.True(head.TryChain(segment));
        }
        return head;
    }

    /// <summary>Sends packets; all must be taken.</summary>
    public void Offer(params ReadOnlySpan<Mbuf> packets)
    {
        long start = Environment.TickCount64;
        for (int sent = 0; sent < packets.Length;)
        {
            int fit = Tx.TxPrepare(packets[sent..]);
            Assert.Equal(packets.Length - sent, fit);
            sent += Tx.TxBurst(packets[sent..]);
            Assert.True(sent == packets.Length || Environment.TickCount64 - start <= Limit.TotalMilliseconds,
                $"{packets.Length - sent} of {packets.Length} packets are not taken");
        }
    }

    /// <summary>Receives from all queues until there are so many of those wanted, or nothing comes any more. Frees the
    /// others; the caller owns those returned.</summary>
    public List<(int Queue, Mbuf Packet)> Collect(int count, Func<Mbuf, bool>? wanted = null)
    {
        wanted ??= static packet => TestFrame.IsOurs(BytesOf(packet));
        var kept = new List<(int, Mbuf)>();
        var burst = new Mbuf[32];
        long last = Environment.TickCount64;
        for (int idle = 0; kept.Count < count
            && (idle < 4 || Environment.TickCount64 - last < Limit.TotalMilliseconds); idle++)
            foreach (RxQueue queue in Receiver.RxQueues)
            {
                int received = queue.RxBurst(burst.AsSpan(0, Math.Min(burst.Length, count - kept.Count)));
                foreach (Mbuf packet in burst.AsSpan(0, received))
                {
                    if (wanted(packet))
                        kept.Add((queue.Index, packet));
                    else
                        packet.Free();
                }
                if (received > 0)
                    (idle, last) = (-1, Environment.TickCount64);
            }
        return kept;
    }

    /// <summary>Sends packets and a last one that must arrive; what arrived before it, in order. One receive queue. The
    /// caller owns those returned.</summary>
    public List<Mbuf> Through(params ReadOnlySpan<Mbuf> packets)
    {
        byte[] marker = (s_marker with { To = Receiver.MacAddress }).Build();
        Offer([.. packets, Packet(marker)]);
        var arrived = new List<Mbuf>();
        while (true)
        {
            List<(int, Mbuf Packet)> one = Collect(1);
            Assert.True(one.Count == 1, $"nothing comes any more, and the last frame sent has not: {arrived.Count} of "
                + $"{packets.Length} before it came");
            Mbuf packet = one[0].Packet;
            if (BytesOf(packet).AsSpan().SequenceEqual(marker))
            {
                packet.Free();
                return arrived;
            }
            arrived.Add(packet);
        }
    }

    /// <summary>The same for frames: the bytes of what arrived.</summary>
    public List<byte[]> Through(params IReadOnlyList<byte[]> frames)
    {
        List<Mbuf> arrived = Through([.. frames.Select(frame => Packet(frame))]);
        List<byte[]> bytes = [.. arrived.Select(BytesOf)];
        Mbuf.FreeBulk([.. arrived]);
        return bytes;
    }

    /// <summary>Waits until a condition holds, a busy machine's patience long.</summary>
    public bool WaitFor(Func<bool> condition)
    {
        long start = Environment.TickCount64;
        while (!condition())
        {
            if (Environment.TickCount64 - start > Limit.TotalMilliseconds)
                return condition();
            Thread.Yield();
        }
        return true;
    }
}
