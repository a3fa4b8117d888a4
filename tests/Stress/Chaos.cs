using System.Runtime.Intrinsics.X86;

[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Dataplane.Tests;

/// <summary>
/// Seeded delays where a race would be: between claim and copy, and between copy and publish. Right code does not care;
/// wrong code meets its race every time instead of once a week, also on two CPUs.
/// </summary>
internal static class Chaos
{
    [ThreadStatic] private static uint t_state;

    internal static void Seed(int seed) => t_state = (uint)seed * 2654435761 | 1;

    internal static uint Next()
    {
        uint x = t_state;
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        return t_state = x;
    }

    internal static void Delay()
    {
        uint draw = Next() & 63;
        if (draw == 0)
            Thread.Yield();
        else if (draw < 8 && X86Base.IsSupported)
            X86Base.Pause();
    }
}

/// <summary>A ring mode with delays at its races.</summary>
internal unsafe struct Delayed<TSync> : IRingSync where TSync : struct, IRingSync
{
    public static uint Claim(RingSide* own, RingSide* peer, uint bias, uint want, RingClaim claim,
        out uint head, out uint left)
    {
        uint count = TSync.Claim(own, peer, bias, want, claim, out head, out left);
        if (count != 0)
            Chaos.Delay();
        return count;
    }

    public static void Publish(RingSide* own, uint head, uint count)
    {
        Chaos.Delay();
        TSync.Publish(own, head, count);
    }
}
