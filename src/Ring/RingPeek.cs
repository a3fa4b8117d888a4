using System.Diagnostics.CodeAnalysis;

namespace Dataplane;

/// <summary>
/// The two halves of an operation apart: start claims slots and keeps the side closed, finish publishes some or all of
/// them. For sides with one thread inside at a time: ST and HTS.
/// </summary>
internal static unsafe class RingPeek
{
    /// <summary>Claims slots of one side until <see cref="Finish"/>.</summary>
    /// <returns>Slots claimed; with 0 there is nothing to finish.</returns>
    internal static uint Start(RingSync sync, RingSide* own, RingSide* peer, uint bias, uint want, RingClaim claim,
        out uint head, out uint left)
    {
        if ((int)want < 0)
            ThrowNegative((int)want);
        if (sync == RingSync.HeadTail)
            return HtsSync.Claim(own, peer, bias, want, claim, out head, out left);
        if (sync != RingSync.SingleThread)
            ThrowMode(sync);
        want = StSync.Claim(own, peer, bias, want, claim, out head, out left);
        own->Head = head + want;
        return want;
    }

    /// <summary>Index of the first claimed slot of a started side.</summary>
    internal static uint Started(RingSide* own, uint count, RingSync sync)
    {
        uint head = sync == RingSync.HeadTail ? own->TailCount : own->Head;
        if (count > head - own->Tail)
            ThrowCount(count, head - own->Tail);
        return own->Tail;
    }

    /// <summary>Publishes the first <paramref name="count"/> claimed slots, takes back the others, opens the
    /// side.</summary>
    internal static void Finish(RingSync sync, RingSide* own, uint count)
    {
        uint first = Started(own, count, sync);
        if (sync == RingSync.HeadTail)
            HtsSync.Publish(own, first, count);
        else
            StSync.Publish(own, first, count);
    }

    [DoesNotReturn]
    private static void ThrowMode(RingSync sync) => throw new DataplaneException(
        $"a ring side in mode {sync} has no peek", "only one thread at a time may be inside",
        $"make that side {RingSync.SingleThread} or {RingSync.HeadTail}");

    [DoesNotReturn]
    private static void ThrowNegative(int count) =>
        throw new DataplaneException($"{count} elements cannot be started", errno: Errno.EINVAL);

    [DoesNotReturn]
    private static void ThrowCount(uint count, uint started) => throw new DataplaneException(
        $"{count} elements cannot be finished", $"the start claimed {started}");
}
