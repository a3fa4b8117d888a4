namespace Dataplane.Pmd;

/// <summary>What befell the packets of the queues of one number: Lost and Full by its sender, the others by its
/// receiver.</summary>
internal sealed class WireCounts
{
    /// <summary>Lost on the way, as the user wished.</summary>
    internal ulong Lost;

    /// <summary>Lost because the far end's queue was full.</summary>
    internal ulong Full;

    /// <summary>Received a second time.</summary>
    internal ulong Twice;

    /// <summary>Overtaken.</summary>
    internal ulong Late;

    /// <summary>Longer than the receiver's MTU allows.</summary>
    internal ulong Oversize;
}

/// <summary>
/// What a packet carries with it on a cable that does not treat all alike: when it is due, and what is to befall it.
/// It lies in the mbuf's TxOffload, which means nothing between sender and receiver.
/// </summary>
internal readonly record struct WireStamp(ulong Value)
{
    private const ulong TwiceBit = 1, LateBit = 2;

    internal static WireStamp Make(ulong due, bool twice, bool late) =>
        new(due << 2 | (twice ? TwiceBit : 0) | (late ? LateBit : 0));

    internal ulong Due => Value >> 2;

    internal bool Twice => (Value & TwiceBit) != 0;

    internal bool Late => (Value & LateBit) != 0;
}
