namespace Dataplane.Pmd;

/// <summary>The sending end: spreads packets over the far end's queues by a hash of their addresses.</summary>
internal sealed unsafe class WireTxQueue(WirePort port, int index) : TxQueue(port, index)
{
    private readonly WirePort _port = port;

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        Lane[] lanes = _port.Peer?.Inbound ?? [];
        ulong bytes = 0;
        int sent = 0;
        if (lanes.Length == 1)
        {
            // Lengths are read before the packets are handed over: after that they are the far end's.
            foreach (Mbuf packet in packets)
                bytes += packet.Header->PktLen;
            sent = lanes[0].Send(packets);
            for (int i = sent; i < packets.Length; i++)
                bytes -= packets[i].Header->PktLen;
        }
        else if (lanes.Length > 1)
        {
            for (; sent < packets.Length; sent++)
            {
                uint length = packets[sent].Header->PktLen;
                Lane lane = lanes[(int)(Hash(packets[sent].Data) % (uint)lanes.Length)];
                if (lane.Send(packets.Slice(sent, 1)) == 0)
                    break;
                bytes += length;
            }
        }
        Stats->Bytes += bytes;
        return sent;
    }

    private static uint Hash(ReadOnlySpan<byte> frame)
    {
        const int Ipv4Source = 26, PortsEnd = 38;
        uint hash = 0;
        foreach (byte b in frame.Length >= PortsEnd ? frame[Ipv4Source..PortsEnd] : frame)
            hash = (hash ^ b) * 16777619;
        return hash ^ hash >> 15;
    }
}
