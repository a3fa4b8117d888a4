namespace Dataplane.Tests;

/// <summary>MT that publishes without waiting for the claimers before it.</summary>
internal unsafe struct MtWithoutTailWait : IRingSync
{
    public static uint Claim(RingSide* own, RingSide* peer, uint bias, uint want, RingClaim claim,
        out uint head, out uint left) => MtSync.Claim(own, peer, bias, want, claim, out head, out left);

    public static void Publish(RingSide* own, uint head, uint count) => Volatile.Write(ref own->Tail, head + count);
}

/// <summary>ST that publishes before the copy.</summary>
internal unsafe struct StPublishFirst : IRingSync
{
    public static uint Claim(RingSide* own, RingSide* peer, uint bias, uint want, RingClaim claim,
        out uint head, out uint left)
    {
        uint count = StSync.Claim(own, peer, bias, want, claim, out head, out left);
        StSync.Publish(own, head, count);
        return count;
    }

    public static void Publish(RingSide* own, uint head, uint count) { }
}

/// <summary>RTS whose every leaver moves the tail, not only the last.</summary>
internal unsafe struct RtsEveryoneMovesTail : IRingSync
{
    public static uint Claim(RingSide* own, RingSide* peer, uint bias, uint want, RingClaim claim,
        out uint head, out uint left)
    {
        own->MaxDistance = uint.MaxValue;                                   // a lost tail must not end in a hang
        return RtsSync.Claim(own, peer, bias, want, claim, out head, out left);
    }

    public static void Publish(RingSide* own, uint head, uint count)
    {
        ulong seen = Volatile.Read(ref own->TailWord);
        while (true)
        {
            ulong next = (((seen >> 32) + 1) << 32) | (head + count);
            ulong now = Interlocked.CompareExchange(ref own->TailWord, next, seen);
            if (now == seen)
                return;
            seen = now;
        }
    }
}

/// <summary>HTS that does not wait for the one inside: it takes over where the head is.</summary>
internal unsafe struct HtsWithoutWait : IRingSync
{
    public static uint Claim(RingSide* own, RingSide* peer, uint bias, uint want, RingClaim claim,
        out uint head, out uint left)
    {
        head = (uint)(Volatile.Read(ref own->TailWord) >> 32);
        uint can = bias + Volatile.Read(ref peer->Tail) - head;
        if (can < want)
            want = (claim & RingClaim.Bulk) != 0 ? 0 : can;
        left = can - want;
        Volatile.Write(ref own->TailCount, head + want);
        return want;
    }

    public static void Publish(RingSide* own, uint head, uint count) => Volatile.Write(ref own->Tail, head + count);
}
