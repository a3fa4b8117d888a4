using Dataplane.Net;

namespace Dataplane.Apps.Forward;

/// <summary>
/// <c>txonly</c> (one flow) and <c>flowgen</c> (many): makes UDP packets as fast as the queue takes them. What comes in
/// is received, counted and freed.
/// </summary>
internal sealed class GeneratorStream(RxQueue rx, TxQueue tx, Mempool pool, PacketTemplate frame, int flows)
    : ForwardStream(rx, tx)
{
    private int _flow;

    public override bool Step(Span<Mbuf> burst)
    {
        int received = Rx.RxBurst(burst);
        if (received > 0)
        {
            Mbuf.FreeBulk(burst[..received]);
            Counters.Received += (uint)received;
            Counters.Consumed += (uint)received;
        }
        if (!pool.TryAllocBulk(burst))
        {
            Counters.NoMbuf += (uint)burst.Length;
            return received > 0;
        }
        foreach (Mbuf packet in burst)
            Fill(packet);
        Counters.Generated += (uint)burst.Length;
        Send(burst);
        return true;
    }

    private void Fill(Mbuf packet)
    {
        packet.TrySetLength(frame.Length);
        frame.CopyTo(packet.Data, _flow);
        _flow = _flow + 1 == flows ? 0 : _flow + 1;
    }
}
