using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Dataplane;

/// <summary>
/// How the threads of one side claim slots and publish them. A type parameter, so each pair of modes compiles to its
/// own straight code. Written once for both sides: elements a side may take = bias + peer's tail - own head, where the
/// bias is the capacity for producers and 0 for consumers.
/// </summary>
/// <remarks>The labels of the barriers are those of docs/ordering.md.</remarks>
internal unsafe interface IRingSync
{
    /// <summary>Claims slots.</summary>
    /// <param name="own">The side that moves.</param>
    /// <param name="peer">The other one.</param>
    /// <param name="bias">Capacity (producer) or 0 (consumer).</param>
    /// <param name="want">Elements asked for.</param>
    /// <param name="claim">Constants at the call: all or nothing, and whether <paramref name="left"/> must be
    /// true.</param>
    /// <param name="head">Index of the first slot.</param>
    /// <param name="left">What the side could take after this, as seen now; a lower bound unless asked for.</param>
    /// <returns>Slots claimed.</returns>
    static abstract uint Claim(RingSide* own, RingSide* peer, uint bias, uint want, RingClaim claim,
        out uint head, out uint left);

    /// <summary>Publishes the <paramref name="count"/> slots claimed at <paramref name="head"/>.</summary>
    static abstract void Publish(RingSide* own, uint head, uint count);
}

/// <summary>What a claim must be.</summary>
[Flags]
internal enum RingClaim
{
    /// <summary>As many as there are.</summary>
    Burst = 0,

    /// <summary>All or none.</summary>
    Bulk = 1,

    /// <summary>Look at the peer's tail even when the one last seen is enough, so that what is left is true.</summary>
    Fresh = 2,
}

/// <summary>One thread at a time: plain loads and stores, one release.</summary>
internal unsafe struct StSync : IRingSync
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Claim(RingSide* own, RingSide* peer, uint bias, uint want, RingClaim claim,
        out uint head, out uint left)
    {
        head = own->Head;
        uint can = bias + own->PeerTail - head;
        if (can < want || (claim & RingClaim.Fresh) != 0)
        {
            own->PeerTail = Volatile.Read(ref peer->Tail);                  // A0, with the peer's R0
            can = bias + own->PeerTail - head;
            if (can < want)
                want = (claim & RingClaim.Bulk) != 0 ? 0 : can;
        }
        left = can - want;
        return want;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Publish(RingSide* own, uint head, uint count)
    {
        own->Head = head + count;
        Volatile.Write(ref own->Tail, head + count);                        // R0, with the peer's A0
    }
}

/// <summary>
/// Any number of threads: claim by compare-and-swap, publish in the order of claims. The word swapped also carries the
/// peer's tail as the last claimer saw it, so a claim that fits needs no look at the peer's line; and the swap is
/// 64 bits wide, so a thread that slept while the head went round 2^32 is not deceived by it alone.
/// </summary>
internal unsafe struct MtSync : IRingSync
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Claim(RingSide* own, RingSide* peer, uint bias, uint want, RingClaim claim,
        out uint head, out uint left)
    {
        ulong seen = Volatile.Read(ref own->HeadWord);                      // A1, with R1 of another claimer
        while (true)
        {
            head = (uint)seen;
            uint peerTail = (uint)(seen >> 32), can = bias + peerTail - head, take = want;
            if (can < want || (claim & RingClaim.Fresh) != 0)
            {
                peerTail = Volatile.Read(ref peer->Tail);                   // A0, with the peer's R0
                can = bias + peerTail - head;
                if (can < want)
                    take = (claim & RingClaim.Bulk) != 0 ? 0 : can;
            }
            left = can - take;
            if (take == 0)
                return 0;
            ulong next = ((ulong)peerTail << 32) | (head + take);
            ulong now = Interlocked.CompareExchange(ref own->HeadWord, next, seen);   // R1, with A1
            if (now == seen)
                return take;
            seen = now;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Publish(RingSide* own, uint head, uint count)
    {
        if (Volatile.Read(ref own->Tail) != head)                           // A2, with R0 of the claimer before
            RingWait.ForTail(own, head);
        Volatile.Write(ref own->Tail, head + count);                        // R0, with the peer's A0 and A2
    }
}

/// <summary>Waiting for a thread of the same side.</summary>
internal static unsafe class RingWait
{
    private const int SpinsBeforeYield = 256;

    /// <summary>Returns when the claimers before have published.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static void ForTail(RingSide* own, uint head)
    {
        for (int spins = 0; Volatile.Read(ref own->Tail) != head; spins++)  // A2
            Once(spins);
    }

    /// <summary>A pause. Lcores never get past those; threads that share a CPU let the one they wait for run.</summary>
    internal static void Once(int spins)
    {
        if (spins >= SpinsBeforeYield)
            Thread.Yield();
        else if (X86Base.IsSupported)
            X86Base.Pause();
        else
            Thread.SpinWait(1);
    }
}
