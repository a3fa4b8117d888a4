using System.Globalization;

namespace Dataplane;

/// <summary>
/// Looks at the CPU mask of every thread of this process. Documentation/filesystems/proc.rst, /proc/pid/status.
/// </summary>
internal static class ThreadAudit
{
    /// <summary>Threads, but for <paramref name="ownTids"/>, that may run on <paramref name="lcoreCpus"/>.</summary>
    internal static List<ForeignThread> Run(CpuSet lcoreCpus, IReadOnlySet<int> ownTids,
        string taskDir = "/proc/self/task")
    {
        var found = new List<ForeignThread>();
        foreach (string dir in Directory.GetDirectories(taskDir))
        {
            int tid = int.Parse(Path.GetFileName(dir), CultureInfo.InvariantCulture);
            if (ownTids.Contains(tid) || ReadStatus(dir) is not { } thread)
                continue;
            CpuSet shared = thread.Cpus.Intersect(lcoreCpus);
            if (shared.Count > 0)
                found.Add(new(tid, thread.Name, thread.Cpus, shared));
        }
        return found;
    }

    private static (string Name, CpuSet Cpus)? ReadStatus(string dir)
    {
        try
        {
            string name = "";
            foreach (string line in File.ReadLines(Path.Combine(dir, "status")))
                if (line.StartsWith("Name:", StringComparison.Ordinal))
                    name = line[5..].Trim();
                else if (line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal))
                    return (name, CpuSet.Parse(line[18..]));
            return null;
        }
        catch (IOException)
        {
            return null;   // it ended meanwhile
        }
    }
}
