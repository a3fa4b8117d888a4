using System.Runtime.CompilerServices;

namespace Dataplane.Apps.Forward;

/// <summary>What a mode does with packets that came in. Structs, so that the burst loop is compiled for each.</summary>
internal interface ITransform
{
    /// <summary>
    /// Works on packets in place and moves those to be sent to the front. The others it has freed, and counted in
    /// <paramref name="counters"/>.
    /// </summary>
    /// <returns>How many to send.</returns>
    int Process(Span<Mbuf> packets, ref StreamCounters counters);
}

/// <summary><c>io</c>: sends what it receives, untouched.</summary>
internal readonly struct IoMode : ITransform
{
    public int Process(Span<Mbuf> packets, ref StreamCounters counters) => packets.Length;
}

/// <summary><c>rxonly</c>: counts and frees.</summary>
internal readonly struct RxOnlyMode(StreamTrace trace) : ITransform
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Process(Span<Mbuf> packets, ref StreamCounters counters)
    {
        trace.Ended(packets);
        Mbuf.FreeBulk(packets);
        counters.Consumed += (uint)packets.Length;
        return 0;
    }
}
