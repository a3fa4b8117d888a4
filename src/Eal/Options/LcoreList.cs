using System.Globalization;

namespace Dataplane;

/// <summary>
/// DPDK's <c>--lcores</c> grammar: <c>LSET[@CSET],...</c>, a set being <c>N</c>, <c>N-M</c> or <c>(N,M-K,...)</c>.
/// Each lcore of LSET may use every CPU of CSET. Without CSET a bare <c>N-M</c> pins one to one, and a group
/// <c>(...)</c> gives each of its lcores all of its CPUs. Ranges may be reversed, blanks mean nothing. Whether a CPU
/// exists is not asked here.
/// </summary>
internal static class LcoreList
{
    private const string Form = "write LSET[@CSET],... with sets N, N-M or (N,M-K,...), e.g. 0-3 or 0@2,(1,2)@(4-7)";

    /// <summary>The lcores of a list, by rising id.</summary>
    /// <param name="list">The list.</param>
    /// <param name="option">The option it came from, for messages.</param>
    /// <exception cref="ConfigException">Not in the grammar, an id that is too high, or an lcore with two CPU
    /// sets.</exception>
    internal static IReadOnlyList<LcoreAssignment> Parse(string list, string option)
    {
        var reader = new Reader(list, option);
        var found = new SortedDictionary<int, CpuSet>();
        do
        {
            (List<int> lcores, bool isGroup) = reader.ReadSet();
            CpuSet? shared = reader.TrySkip('@') ? CpuSet.Of(reader.ReadSet().Numbers.ToArray())
                : isGroup ? CpuSet.Of(lcores.ToArray()) : null;
            foreach (int id in lcores)
                Add(found, id, shared ?? CpuSet.Of(id), reader);
        }
        while (reader.TrySkip(','));
        reader.ExpectEnd();
        return found.Select(pair => new LcoreAssignment(pair.Key, pair.Value)).ToArray();
    }

    /// <summary>A plain list of ids, <c>N</c> and <c>N-M</c>, rising and without repeats: <c>-S</c>.</summary>
    /// <exception cref="ConfigException">Not in the grammar, or an id that is too high.</exception>
    internal static IReadOnlyList<int> ParseIds(string list, string option)
    {
        var reader = new Reader(list, option);
        var ids = new SortedSet<int>();
        do
            foreach (int id in reader.ReadRange())
                ids.Add(id < Lcore.Max ? id : throw TooHigh(id, reader, null));
        while (reader.TrySkip(','));
        reader.ExpectEnd();
        return ids.ToArray();
    }

    /// <summary>The list that <see cref="Parse"/> reads back as <paramref name="lcores"/>.</summary>
    internal static string Format(IEnumerable<LcoreAssignment> lcores) => string.Join(',', lcores);

    private static void Add(SortedDictionary<int, CpuSet> found, int id, CpuSet cpus, Reader reader)
    {
        if (id >= Lcore.Max)
            throw TooHigh(id, reader, $"for a high CPU give the lcore another id, e.g. 1@{id}");
        if (found.TryGetValue(id, out CpuSet? other) && !other.Equals(cpus))
            throw reader.Wrong($"lcore {id} is given CPUs {other} and again CPUs {cpus}", "name each lcore once");
        found[id] = cpus;
    }

    private static ConfigException TooHigh(int id, Reader reader, string? fix) =>
        reader.Wrong($"lcore id {id} is too high: ids are 0 to {Lcore.Max - 1}", fix);

    /// <summary>Reads a list from left to right.</summary>
    private sealed class Reader(string text, string option)
    {
        private int _at;

        internal bool TrySkip(char wanted)
        {
            SkipBlanks();
            if (_at >= text.Length || text[_at] != wanted)
                return false;
            _at++;
            return true;
        }

        internal (List<int> Numbers, bool IsGroup) ReadSet()
        {
            if (!TrySkip('('))
                return (ReadRange(), false);
            var numbers = new List<int>();
            do
                numbers.AddRange(ReadRange());
            while (TrySkip(','));
            return TrySkip(')') ? (numbers, true) : throw Unexpected("',' or ')'");
        }

        internal List<int> ReadRange()
        {
            int first = ReadNumber();
            int last = TrySkip('-') ? ReadNumber() : first;
            return Enumerable.Range(Math.Min(first, last), Math.Abs(last - first) + 1).ToList();
        }

        internal void ExpectEnd()
        {
            SkipBlanks();
            if (_at < text.Length)
                throw Unexpected("',' or the end");
        }

        internal ConfigException Wrong(string why, string? fix) =>
            new($"{option}: bad list '{text}'", why, fix ?? Form);

        private int ReadNumber()
        {
            SkipBlanks();
            int start = _at;
            while (_at < text.Length && char.IsAsciiDigit(text[_at]))
                _at++;
            if (_at == start)
                throw Unexpected("a number");
            ReadOnlySpan<char> digits = text.AsSpan(start, _at - start);
            return int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
                && number < CpuSet.MaxCpus ? number : throw Wrong($"{digits} is not below {CpuSet.MaxCpus}", null);
        }

        private ConfigException Unexpected(string wanted) => Wrong(_at >= text.Length
            ? $"it ends where {wanted} should be" : $"'{text[_at]}' at position {_at + 1} where {wanted} should be",
            null);

        private void SkipBlanks()
        {
            while (_at < text.Length && char.IsWhiteSpace(text[_at]))
                _at++;
        }
    }
}
