using System.Globalization;

namespace Dataplane.Dpctl;

/// <summary>Whether a control group stops our threads when they have had their share: a poll loop always has.</summary>
internal static class QuotaCheck
{
    internal static Finding Quota(Host host)
    {
        (string File, double Cpus) tightest = Limits(host).DefaultIfEmpty(("", double.PositiveInfinity))
            .MinBy(limit => limit.Item2);
        if (double.IsInfinity(tightest.Cpus))
            return new("quota", Status.Ok, "no control group limits our CPU time");
        string none = tightest.File.EndsWith("cpu.max", StringComparison.Ordinal) ? "max" : "-1";
        return new("quota", tightest.Cpus < 1 ? Status.Fail : Status.Warn,
            string.Create(CultureInfo.InvariantCulture,
            $"{tightest.File} allows {tightest.Cpus:0.##} CPUs: polling lcores are ")
            + "stopped for the rest of each period",
            $"echo {none} | sudo tee {tightest.File}; for a container: give whole CPUs (--cpuset-cpus), not --cpus");
    }

    /// <summary>The limit of each group from ours up, in CPUs, where there is one.</summary>
    private static IEnumerable<(string, double)> Limits(Host host)
    {
        foreach (string line in (host.Read("/proc/self/cgroup") ?? "")
            .Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] parts = line.Split(':', 3);   // hierarchy:controllers:path; controllers are empty in version 2
            if (parts.Length < 3 || (parts[1].Length > 0 && !parts[1].Split(',').Contains("cpu")))
                continue;
            string mount = parts[1].Length > 0 ? "/sys/fs/cgroup/cpu"
                : host.Exists("/sys/fs/cgroup/unified") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
            for (string? group = parts[2]; group != null; group = Path.GetDirectoryName(group))
            {
                string directory = (mount + group).TrimEnd('/');
                if (Version2(host, $"{directory}/cpu.max") is { } two)
                    yield return ($"{directory}/cpu.max", two);
                if (Version1(host, directory) is { } one)
                    yield return ($"{directory}/cpu.cfs_quota_us", one);
            }
        }
    }

    private static double? Version2(Host host, string file)
    {
        string[] words = (host.Read(file) ?? "").Split(' ');   // "quota period", microseconds
        return words.Length == 2 && double.TryParse(words[0], CultureInfo.InvariantCulture, out double quota)
            && double.TryParse(words[1], CultureInfo.InvariantCulture, out double period) && period > 0 ? quota / period
            : null;
    }

    private static double? Version1(Host host, string directory) =>
        host.ReadNumber($"{directory}/cpu.cfs_quota_us") is > 0 and { } quota
            && host.ReadNumber($"{directory}/cpu.cfs_period_us") is > 0 and { } period ? (double)quota / period : null;
}
