using System.Collections;
using System.Globalization;
using System.Numerics;
using System.Text;

namespace Dataplane;

/// <summary>A set of CPU numbers. Immutable; any thread; control path only.</summary>
public sealed class CpuSet : IEquatable<CpuSet>, IReadOnlyCollection<int>
{
    private readonly ulong[] _words;   // no zero word at the end, so that equal sets have equal arrays

    private CpuSet(ReadOnlySpan<ulong> words)
    {
        int length = words.LastIndexOfAnyExcept(0UL) + 1;
        _words = words[..length].ToArray();
    }

    /// <summary>CPU numbers are below this, the most Linux can be built for.</summary>
    public const int MaxCpus = 8192;

    /// <summary>No CPU.</summary>
    public static CpuSet Empty { get; } = new([]);

    /// <summary>How many CPUs are in it.</summary>
    public int Count
    {
        get
        {
            int count = 0;
            foreach (ulong word in _words)
                count += BitOperations.PopCount(word);
            return count;
        }
    }

    /// <summary>The lowest CPU, -1 when empty.</summary>
    public int First => FirstFrom(0);

    internal ReadOnlySpan<ulong> Words => _words;

    /// <summary>The set of the CPUs given; repeated ones count once.</summary>
    /// <exception cref="ConfigException">A number outside 0 to <see cref="MaxCpus"/> - 1.</exception>
    public static CpuSet Of(params ReadOnlySpan<int> cpus)
    {
        int highest = -1;
        foreach (int cpu in cpus)
        {
            if (cpu is < 0 or >= MaxCpus)
                throw new ConfigException($"CPU {cpu} is not a number from 0 to {MaxCpus - 1}");
            highest = Math.Max(highest, cpu);
        }
        ulong[] words = new ulong[highest / 64 + 1];
        foreach (int cpu in cpus)
            words[cpu / 64] |= 1UL << (cpu % 64);
        return new(words);
    }

    /// <summary>Reads the kernel's list format, <c>0-3,8,10-11</c>; empty text is the empty set.</summary>
    /// <exception cref="ConfigException">Not in that format.</exception>
    public static CpuSet Parse(string list)
    {
        var cpus = new List<int>();
        foreach (string part in list.Trim().Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            int dash = part.IndexOf('-', StringComparison.Ordinal);
            bool ok = TryNumber(dash < 0 ? part : part[..dash], out int low);
            ok &= TryNumber(dash < 0 ? part : part[(dash + 1)..], out int high);
            if (!ok || high < low)
                throw new ConfigException(
                    $"CPU list '{list.Trim()}': '{part}' is not N or N-M with numbers below {MaxCpus}",
                    fix: "write it as in 0-3,8");
            for (int cpu = low; cpu <= high; cpu++)
                cpus.Add(cpu);
        }
        return Of(cpus.ToArray());
    }

    /// <summary>Whether <paramref name="cpu"/> is in it.</summary>
    public bool Contains(int cpu) =>
        cpu >= 0 && cpu / 64 < _words.Length && (_words[cpu / 64] >> (cpu % 64) & 1) != 0;

    /// <summary>CPUs that are in either.</summary>
    public CpuSet Union(CpuSet other) => Combine(other, static (a, b) => a | b);

    /// <summary>CPUs that are in both.</summary>
    public CpuSet Intersect(CpuSet other) => Combine(other, static (a, b) => a & b);

    /// <summary>CPUs that are in this one only.</summary>
    public CpuSet Except(CpuSet other) => Combine(other, static (a, b) => a & ~b);

    /// <inheritdoc/>
    public IEnumerator<int> GetEnumerator()
    {
        for (int cpu = FirstFrom(0); cpu >= 0; cpu = FirstFrom(cpu + 1))
            yield return cpu;
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <inheritdoc/>
    public bool Equals(CpuSet? other) => other != null && _words.AsSpan().SequenceEqual(other._words);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as CpuSet);

    /// <inheritdoc/>
    public override int GetHashCode() =>
        _words.Length == 0 ? 0 : HashCode.Combine(_words.Length, _words[^1], _words[0]);

    /// <summary>The kernel's list format, <c>0-3,8</c>; the empty string when empty.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        for (int low = FirstFrom(0); low >= 0;)
        {
            int high = low;
            while (Contains(high + 1))
                high++;
            text.Append(text.Length == 0 ? "" : ",").Append(CultureInfo.InvariantCulture, $"{low}");
            if (high > low)
                text.Append(CultureInfo.InvariantCulture, $"-{high}");
            low = FirstFrom(high + 1);
        }
        return text.ToString();
    }

    internal static CpuSet FromWords(ReadOnlySpan<ulong> words) => new(words);

    private static bool TryNumber(string text, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number < MaxCpus;

    private int FirstFrom(int cpu)
    {
        for (int word = cpu / 64; word < _words.Length; word++)
        {
            ulong bits = _words[word] & (word == cpu / 64 ? ulong.MaxValue << (cpu % 64) : ulong.MaxValue);
            if (bits != 0)
                return word * 64 + BitOperations.TrailingZeroCount(bits);
        }
        return -1;
    }

    private CpuSet Combine(CpuSet other, Func<ulong, ulong, ulong> operation)
    {
        ulong[] words = new ulong[Math.Max(_words.Length, other._words.Length)];
        for (int i = 0; i < words.Length; i++)
            words[i] = operation(i < _words.Length ? _words[i] : 0, i < other._words.Length ? other._words[i] : 0);
        return new(words);
    }
}
