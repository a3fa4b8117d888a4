using System.Numerics;

namespace Dataplane;

/// <summary>
/// Counts of cycles in buckets that are exact below 128 and 1/64 wide above: percentiles are right to 1.6 %. Written
/// by one thread; adding takes a few instructions and allocates nothing.
/// </summary>
public sealed class LatencyHistogram
{
    private const int SubBits = 6;
    private const int Sub = 1 << SubBits;

    private readonly long[] _counts = new long[(64 - SubBits + 1) * Sub];

    /// <summary>Values added.</summary>
    public long Count { get; private set; }

    /// <summary>The smallest, in cycles; 0 when there is none.</summary>
    public ulong Min { get; private set; }

    /// <summary>The greatest, in cycles.</summary>
    public ulong Max { get; private set; }

    /// <summary>Adds one value. The writing thread; data path.</summary>
    public void Add(ulong cycles)
    {
        _counts[IndexOf(cycles)]++;
        if (cycles > Max)
            Max = cycles;
        if (cycles < Min || Count == 0)
            Min = cycles;
        Count++;
    }

    /// <summary>The value that <paramref name="percent"/> of all are not above: its bucket's upper end, in
    /// cycles.</summary>
    public ulong Percentile(double percent)
    {
        long wanted = Math.Max(1, (long)Math.Ceiling(Count * percent / 100));
        long seen = 0;
        for (int i = 0; i < _counts.Length && Count > 0; i++)
        {
            seen += _counts[i];
            if (seen >= wanted)
                return Math.Min(UpperEnd(i), Max);
        }
        return 0;
    }

    /// <summary>Adds what another one counted, which may go on counting meanwhile.</summary>
    public void Merge(LatencyHistogram other)
    {
        ArgumentNullException.ThrowIfNull(other);
        if (other.Count == 0)
            return;
        Min = Count == 0 ? other.Min : Math.Min(Min, other.Min);
        Max = Math.Max(Max, other.Max);
        for (int i = 0; i < _counts.Length; i++)
        {
            long count = Volatile.Read(ref other._counts[i]);
            _counts[i] += count;
            Count += count;
        }
    }

    /// <summary>Forgets everything.</summary>
    public void Clear()
    {
        Array.Clear(_counts);
        (Count, Min, Max) = (0, 0, 0);
    }

    private static int IndexOf(ulong value)
    {
        int shift = Math.Max(0, 63 - BitOperations.LeadingZeroCount(value | 1) - SubBits);
        return (shift << SubBits) + (int)(value >> shift);
    }

    private static ulong UpperEnd(int index)
    {
        if (index < 2 * Sub)
            return (ulong)index;
        int shift = (index >> SubBits) - 1;
        ulong low = (ulong)(index - (shift << SubBits)) << shift;
        return low + (1UL << shift) - 1;
    }
}
