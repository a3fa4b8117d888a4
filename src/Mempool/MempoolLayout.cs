using System.Numerics;

namespace Dataplane;

/// <summary>How far apart a pool's objects lie, and where each begins.</summary>
/// <param name="HeaderBytes">From the start of a slot to the element.</param>
/// <param name="StrideBytes">From one element to the next.</param>
internal readonly record struct MempoolLayout(uint HeaderBytes, uint StrideBytes)
{
    internal const int LineBytes = 64;
    private const int DefaultChannels = 4;

    /// <summary>Bytes after the element that nobody may write; debug mode looks at them.</summary>
    internal const int TrailerBytes = 8;

    /// <summary>The layout for elements of a size.</summary>
    /// <param name="elementBytes">At least 1.</param>
    /// <param name="flags">Of the pool.</param>
    /// <param name="channels">Memory channels, 0 if not known.</param>
    /// <param name="ranks">Memory ranks, 0 if not known.</param>
    internal static MempoolLayout For(uint elementBytes, MempoolFlags flags, int channels = 0, int ranks = 0)
    {
        if ((flags & MempoolFlags.NoCacheAlign) != 0)
        {
            uint close = MempoolObjectHeader.SizeBytes + RoundUp(elementBytes, 8) + TrailerBytes;
            return new(MempoolObjectHeader.SizeBytes, close);
        }
        uint lines = RoundUp(LineBytes + RoundUp(elementBytes, 8) + TrailerBytes, LineBytes) / LineBytes;
        if ((flags & MempoolFlags.NoSpread) == 0)
            lines = Spread(lines, (uint)(Math.Max(channels, 0) * Math.Max(ranks, 1)));
        return new(LineBytes, lines * LineBytes);
    }

    /// <summary>
    /// More lines until the objects' first lines go round all channels and ranks. A power of two is never right: the
    /// same line of every object would compete for few sets of the CPU's caches.
    /// </summary>
    private static uint Spread(uint lines, uint places)
    {
        if (places == 0)
            places = DefaultChannels;
        while (GreatestCommonDivisor(lines, places) != 1 || BitOperations.IsPow2(lines))
            lines++;
        return lines;
    }

    private static uint GreatestCommonDivisor(uint a, uint b) => b == 0 ? a : GreatestCommonDivisor(b, a % b);

    internal static uint RoundUp(uint value, uint multiple) => (value + multiple - 1) / multiple * multiple;
}
