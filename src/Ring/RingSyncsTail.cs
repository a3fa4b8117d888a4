using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// Relaxed tail: any number of threads; nobody waits to publish, the last one out moves the tail for all. The head may
/// run <see cref="RingSide.MaxDistance"/> before the tail, so that a thread that sleeps inside cannot stop the tail
/// for ever.
/// </summary>
internal unsafe struct RtsSync : IRingSync
{
    public static uint Claim(RingSide* own, RingSide* peer, uint bias, uint want, RingClaim claim,
        out uint head, out uint left)
    {
        ulong seen = Volatile.Read(ref own->HeadWord);                      // A1, with R1 of another claimer
        while (true)
        {
            for (int spins = 0; (uint)seen - Volatile.Read(ref own->Tail) > own->MaxDistance; spins++)
            {
                RingWait.Once(spins);
                seen = Volatile.Read(ref own->HeadWord);                    // A1
            }
            head = (uint)seen;
            uint can = bias + Volatile.Read(ref peer->Tail) - head, take = want;   // A0, with the peer's R0
            if (can < want)
                take = (claim & RingClaim.Bulk) != 0 ? 0 : can;
            left = can - take;
            if (take == 0)
                return 0;
            ulong next = (((seen >> 32) + 1) << 32) | (head + take);
            ulong now = Interlocked.CompareExchange(ref own->HeadWord, next, seen);   // R1, with A1
            if (now == seen)
                return take;
            seen = now;
        }
    }

    public static void Publish(RingSide* own, uint head, uint count)
    {
        ulong seen = Volatile.Read(ref own->TailWord);                      // A2, with R0 of another leaver
        while (true)
        {
            ulong claimed = Volatile.Read(ref own->HeadWord);               // A3, with R1: entries that came by now
            uint left = (uint)(seen >> 32) + 1;
            uint tail = left == (uint)(claimed >> 32) ? (uint)claimed : (uint)seen;
            ulong now = Interlocked.CompareExchange(ref own->TailWord, ((ulong)left << 32) | tail, seen);   // R0
            if (now == seen)
                return;
            seen = now;
        }
    }
}

/// <summary>
/// Head and tail in one word: any number of threads, one inside at a time, which is what makes peek possible. The word
/// is <see cref="RingSide.TailWord"/>: tail below, head above.
/// </summary>
internal unsafe struct HtsSync : IRingSync
{
    public static uint Claim(RingSide* own, RingSide* peer, uint bias, uint want, RingClaim claim,
        out uint head, out uint left)
    {
        ulong seen = Volatile.Read(ref own->TailWord);                      // A1, with R0 of the one inside before
        while (true)
        {
            for (int spins = 0; (uint)seen != (uint)(seen >> 32); spins++)
            {
                RingWait.Once(spins);
                seen = Volatile.Read(ref own->TailWord);                    // A1
            }
            head = (uint)seen;
            uint can = bias + Volatile.Read(ref peer->Tail) - head, take = want;   // A0, with the peer's R0
            if (can < want)
                take = (claim & RingClaim.Bulk) != 0 ? 0 : can;
            left = can - take;
            if (take == 0)
                return 0;
            ulong next = ((ulong)(head + take) << 32) | head;
            ulong now = Interlocked.CompareExchange(ref own->TailWord, next, seen);   // R1, with A1
            if (now == seen)
                return take;
            seen = now;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Publish(RingSide* own, uint head, uint count)
    {
        uint end = head + count;                                            // may be less than claimed: peek
        Volatile.Write(ref own->TailWord, ((ulong)end << 32) | end);        // R0, with the peer's A0 and A1
    }
}
