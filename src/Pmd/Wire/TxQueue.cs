using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>The sending end: spreads packets over the far end's queues, and decides what befalls each on the
/// way.</summary>
internal sealed unsafe class WireTxQueue(WirePort port, int index) : TxQueue(port, index)
{
    private const uint RedirectionMask = 127; // as a NIC with 128 entries that point at its queues in turn

    private readonly WirePort _port = port;
    private readonly WireFaults _faults = port.Faults;
    private readonly WireCounts _counts = port.Counts[index];
    private ulong _random = port.Faults.Seed + (ulong)index * 0xd1342543de82ef95;
    private ulong _lastDue;

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        Ring<Mbuf>[] lanes = _port.Peer?.Inbound ?? [];
        return lanes.Length switch
        {
            0 => 0,
            1 when !_port.Stamped && !_faults.DropWhenFull => SendAll(lanes[0], packets),
            _ => SendEach(lanes, packets),
        };
    }

    private int SendAll(Ring<Mbuf> lane, ReadOnlySpan<Mbuf> packets)
    {
        // Lengths are read before the packets are handed over: after that they are the far end's.
        ulong bytes = 0;
        foreach (Mbuf packet in packets)
            bytes += packet.Header->PktLen;
        int sent = lane.EnqueueBurst(packets);
        for (int i = sent; i < packets.Length; i++)
            bytes -= packets[i].Header->PktLen;
        Stats->Bytes += bytes;
        return sent;
    }

    private int SendEach(Ring<Mbuf>[] lanes, ReadOnlySpan<Mbuf> packets)
    {
        bool stamped = _port.Stamped;
        ulong now = stamped ? Tsc.Read() : 0, bytes = 0;
        int sent = 0;
        for (; sent < packets.Length; sent++)
        {
            Mbuf packet = packets[sent];
            uint length = packet.Header->PktLen;
            Ring<Mbuf> lane = lanes[lanes.Length == 1 ? 0 : QueueOf(packet, lanes.Length)];
            bool full = lane.IsFull;
            if (full && !_faults.DropWhenFull)
                break;
            if (full || Happens(_faults.Loss))
            {
                _ = full ? _counts.Full++ : _counts.Lost++;
                packet.Free();
            }
            else
            {
                if (stamped)
                    packet.Header->TxOffload = Stamp(now, length).Value;
                if (!lane.TryEnqueue(packet))
                    break; // another sender was quicker
            }
            bytes += length;
        }
        Stats->Bytes += bytes;
        return sent;
    }

    private WireStamp Stamp(ulong now, uint length)
    {
        ulong due = (_faults.HasRate ? _port.Leave(now, length) : now) + _faults.Delay;
        if (_faults.Jitter != 0)
            due += Math.BigMul(Next(), _faults.Jitter, out _);
        _lastDue = Math.Max(_lastDue, due);
        return WireStamp.Make(_lastDue, Happens(_faults.Duplicate), Happens(_faults.Reorder));
    }

    private static int QueueOf(Mbuf packet, int queues)
    {
        uint hash = RssHash.Compute(packet.Data);
        packet.Header->RssHash = hash;
        return (int)((hash & RedirectionMask) % (uint)queues);
    }

    // Draws a number only where there is a chance, so that one fault's dice do not change another's.
    private bool Happens(ulong chance) => chance != 0 && Next() >> 32 < chance;

    // SplitMix64 (Steele, Lea, Flood 2014).
    private ulong Next()
    {
        ulong z = _random += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
}
