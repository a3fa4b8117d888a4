namespace Dataplane;

/// <summary>Where a pool keeps the objects that are in no cache. Names in brackets as in DPDK.</summary>
public enum MempoolKind
{
    /// <summary>A ring, any number of threads on both sides (ring_mp_mc). The default.</summary>
    RingMpMc,

    /// <summary>A ring; one thread at a time puts, one gets (ring_sp_sc).</summary>
    RingSpSc,

    /// <summary>A ring; any number put, one thread at a time gets (ring_mp_sc).</summary>
    RingMpSc,

    /// <summary>A ring; one thread at a time puts, any number get (ring_sp_mc).</summary>
    RingSpMc,

    /// <summary>A ring with relaxed tail sync (ring_mt_rts): for more threads than CPUs.</summary>
    RingMtRts,

    /// <summary>A ring with head-tail sync (ring_mt_hts): for more threads than CPUs.</summary>
    RingMtHts,

    /// <summary>A stack under a spinlock (stack): the objects put last are got first, without caches too.</summary>
    Stack,

    /// <summary>A lock-free stack (lf_stack).</summary>
    LockFreeStack,
}

/// <summary>How a pool lays its objects out and who uses it. Values as MEMPOOL_F_*.</summary>
[Flags]
public enum MempoolFlags
{
    /// <summary>Spread, aligned, many threads.</summary>
    None = 0,

    /// <summary>Objects follow each other as close as alignment allows, not spread over memory channels.</summary>
    NoSpread = 1,

    /// <summary>Objects are aligned to 8 bytes, not to cache lines. Implies no spreading.</summary>
    NoCacheAlign = 2,

    /// <summary>One thread at a time puts; picks the kind where none is named.</summary>
    SingleProducerPut = 4,

    /// <summary>One thread at a time gets; picks the kind where none is named.</summary>
    SingleConsumerGet = 8,
}
