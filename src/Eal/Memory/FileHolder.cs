using System.Globalization;

namespace Dataplane;

/// <summary>Finds out who has a file open, to name them in a message.</summary>
internal static class FileHolder
{
    /// <summary>"held by process 12 (name)", as far as we may look.</summary>
    internal static string Describe(string path) => Find([path]) ?? "held by a process of another user";

    /// <summary>The same of the first of several that is held, null where we see none.</summary>
    internal static string? Find(IReadOnlyCollection<string> paths, string proc = "/proc")
    {
        if (paths.Count == 0 || !Directory.Exists(proc))
            return null;
        foreach (string process in Directory.EnumerateDirectories(proc))
        {
            if (!int.TryParse(Path.GetFileName(process.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture,
                out int id)
                || !Holds(process, paths))
                continue;
            try
            {
                return $"held by process {id} ({File.ReadAllText($"{process}/comm").Trim()})";
            }
            catch (IOException)
            {
                // it ended meanwhile
            }
        }
        return null;
    }

    private static bool Holds(string process, IReadOnlyCollection<string> paths)
    {
        try
        {
            foreach (string fd in Directory.EnumerateFiles($"{process}/fd"))
                if (new FileInfo(fd).LinkTarget is { } target && paths.Contains(target))
                    return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // ended, or not ours to look at
        }
        return false;
    }
}
