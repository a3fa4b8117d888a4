using System.Globalization;
using Dataplane.Native;

namespace Dataplane.Dpctl;

/// <summary>The machine as its files show it: /proc, /sys and /dev below a root, so that tests can bring their own
/// tree.</summary>
/// <param name="root">The directory that stands for <c>/</c>.</param>
internal partial class Host(string root = "/")
{
    /// <summary>A file's text without blanks around it; null where it is absent or unreadable.</summary>
    internal string? Read(string path)
    {
        try
        {
            return File.ReadAllText(PathOf(path)).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>A file's number; null where there is none.</summary>
    internal long? ReadNumber(string path) => long.TryParse(Read(path), out long number) ? number : null;

    /// <summary>A file's CPU list; empty where there is none.</summary>
    internal CpuSet ReadCpus(string path)
    {
        try
        {
            return CpuSet.Parse(Read(path) ?? "");
        }
        catch (ConfigException)
        {
            return CpuSet.Empty;   // nohz_full reads "(null)" where there is none
        }
    }

    /// <summary>Writes a setting of the kernel.</summary>
    /// <exception cref="DataplaneException">It cannot be written; the message has the command that can.</exception>
    internal virtual void Write(string path, string text)
    {
        try
        {
            File.WriteAllText(PathOf(path), text);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            string line = text.Trim().Split('\n')[^1];
            throw new DataplaneException($"cannot write '{line}' to {path}", e.Message.Split('\n')[0],
                $"echo {line} | sudo tee {path}", errno: e is UnauthorizedAccessException ? Errno.EACCES : Errno.None);
        }
    }

    /// <summary>Names in a directory that match a pattern, numbers in them in numeric order; empty where it is
    /// absent.</summary>
    internal IReadOnlyList<string> List(string directory, string pattern = "*")
    {
        string path = PathOf(directory);
        return !Directory.Exists(path) ? [] : Directory.EnumerateFileSystemEntries(path, pattern)
            .Select(entry => Path.GetFileName(entry)).Order(StringComparer.Create(
                CultureInfo.InvariantCulture, CompareOptions.NumericOrdering)).ToArray();
    }

    internal bool Exists(string path) => Path.Exists(PathOf(path));

    /// <summary>The path with every symbolic link resolved, below the root; null where it does not exist.</summary>
    internal string? RealPath(string path)
    {
        string real = Path.GetFullPath(root);
        foreach (string part in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            real = Path.Join(real, part);
            // Resolved part by part: ".." in a link means the parent of where the link truly is.
            while (new FileInfo(real).LinkTarget is { } target)
                real = target.StartsWith('/') ? PathOf(target)
                    : Path.GetFullPath(Path.Join(Path.GetDirectoryName(real), target));
            if (!Path.Exists(real))
                return null;
        }
        return "/" + Path.GetRelativePath(root, real);
    }

    /// <summary>Whether this process may read and write a file, or make files in a directory.</summary>
    internal virtual bool MayReadWrite(string path) => Unistd.access(PathOf(path), Unistd.R_OK | Unistd.W_OK) == 0;

    /// <summary>Whether this process has a capability in force. linux/capability.h.</summary>
    internal bool HasCapability(int capability)
    {
        string? line = Read("/proc/self/status")?.Split('\n')
            .FirstOrDefault(l => l.StartsWith("CapEff:", StringComparison.Ordinal));
        return line != null && ulong.TryParse(line["CapEff:".Length..].Trim(), NumberStyles.HexNumber,
            null, out ulong mask) && (mask >> capability & 1) != 0;
    }

    private string PathOf(string path) => Path.Join(root, path);
}
