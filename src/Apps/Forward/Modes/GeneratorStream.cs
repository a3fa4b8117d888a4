using System.Runtime.CompilerServices;
using Dataplane.Net;

namespace Dataplane.Apps.Forward;

/// <summary>Makes UDP packets of one flow or many.</summary>
internal sealed class FrameSource(Mempool pool, PacketTemplate frame, int flows)
{
    private int _flow;

    /// <summary>Fills the span with new packets; false when the pool has too few.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool TryMake(Span<Mbuf> packets)
    {
        if (!pool.TryAllocBulk(packets))
            return false;
        foreach (Mbuf packet in packets)
        {
            packet.TrySetLength(frame.Length);
            frame.CopyTo(packet.Data, _flow);
            _flow = _flow + 1 == flows ? 0 : _flow + 1;
        }
        return true;
    }
}

/// <summary>
/// <c>txonly</c> (one flow) and <c>flowgen</c> (many): makes UDP packets as fast as the queue takes them. What comes in
/// is received, counted and freed.
/// </summary>
internal sealed class GeneratorStream(RxQueue rx, TxQueue tx, StreamTrace trace, FrameSource source)
    : ForwardStream(rx, tx, trace)
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override bool Step(Span<Mbuf> burst)
    {
        int received = Receive(burst);
        if (received > 0)
        {
            Trace.Ended(burst[..received]);
            Mbuf.FreeBulk(burst[..received]);
            Counters.Received += (uint)received;
            Counters.Consumed += (uint)received;
        }
        return Generate(source, burst) || received > 0;
    }
}
