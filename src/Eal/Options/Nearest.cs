namespace Dataplane;

/// <summary>Finds what somebody meant to write.</summary>
internal static class Nearest
{
    /// <summary>"did you mean X?", or null when nothing is near.</summary>
    internal static string? Advice(string written, IEnumerable<string> known) =>
        Find(written, known) is { } near ? $"did you mean {near}?" : null;

    /// <summary>
    /// The known word with the fewest edits (a letter changed, added, left out, or two swapped) from the written
    /// one, if that is at most a third of its letters; else one that begins with it or that it begins with; else null.
    /// </summary>
    internal static string? Find(string written, IEnumerable<string> known)
    {
        string[] words = known.ToArray();
        string? best = words.MinBy(word => Distance(written, word));
        if (best != null && Distance(written, best) <= Math.Max(1, Math.Max(best.Length, written.Length) / 3))
            return best;
        return written.Length < 3 ? null
            : words.FirstOrDefault(word => word.StartsWith(written, StringComparison.OrdinalIgnoreCase)
                || (word.Length > 3 && written.StartsWith(word, StringComparison.OrdinalIgnoreCase)));
    }

    /// <summary>Edits between two words, letters' case aside (optimal string alignment).</summary>
    internal static int Distance(string a, string b)
    {
        int[,] edits = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++)
            edits[i, 0] = i;
        for (int j = 0; j <= b.Length; j++)
            edits[0, j] = j;
        for (int i = 1; i <= a.Length; i++)
            for (int j = 1; j <= b.Length; j++)
            {
                int change = Same(a[i - 1], b[j - 1]) ? 0 : 1;
                int least = Math.Min(Math.Min(edits[i - 1, j], edits[i, j - 1]) + 1, edits[i - 1, j - 1] + change);
                if (i > 1 && j > 1 && Same(a[i - 1], b[j - 2]) && Same(a[i - 2], b[j - 1]))
                    least = Math.Min(least, edits[i - 2, j - 2] + 1);
                edits[i, j] = least;
            }
        return edits[a.Length, b.Length];
    }

    private static bool Same(char a, char b) => char.ToLowerInvariant(a) == char.ToLowerInvariant(b);
}
