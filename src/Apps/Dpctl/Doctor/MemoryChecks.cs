using System.Globalization;
using System.Text.RegularExpressions;

namespace Dataplane.Dpctl;

/// <summary>What doctor asks of memory.</summary>
internal static partial class MemoryChecks
{
    private const int CAP_IPC_LOCK = 14;   // linux/capability.h
    private const string Thp = "/sys/kernel/mm/transparent_hugepage/enabled";

    internal static IEnumerable<Finding> Hugepages(Host host)
    {
        IReadOnlyList<HugepagePool> pools = HugepagePool.ReadNodes(host);
        if (pools.Count == 0)
            return [new("hugepages", Status.Fail, "this kernel has none", "use a kernel built with CONFIG_HUGETLBFS")];
        return pools.GroupBy(pool => pool.Node).Select(OnNode);
    }

    private static Finding OnNode(IGrouping<int?, HugepagePool> node)
    {
        string where = node.Key == null ? "" : $"node {node.Key}: ";
        HugepagePool smallest = node.MinBy(pool => pool.SizeKb)!;
        string reserve = $"echo {Math.Max(1, (1 << 20) / smallest.SizeKb)} | sudo tee {smallest.CountFile}";
        if (node.All(pool => pool.Total == 0))
            return new("hugepages", Status.Fail, $"{where}none reserved", reserve);
        string list = string.Join(", ", node.Where(pool => pool.Total > 0).Select(pool =>
            $"{pool.Free} of {pool.Total} pages of {PageSize.Format(pool.SizeKb)} free"));
        return node.Any(pool => pool.Free > 0) ? new("hugepages", Status.Ok, where + list)
            : new("hugepages", Status.Warn, $"{where}{list}: others hold them all",
                "end those that hold them: sudo grep -l anon_hugepage /proc/[0-9]*/maps; ls /dev/hugepages");
    }

    internal static Finding Memlock(Host host)
    {
        Match match = MaxLocked().Match(host.Read("/proc/self/limits") ?? "");
        string limit = match.Groups[1].Value;
        if (limit == "unlimited" || host.HasCapability(CAP_IPC_LOCK))
            return new("memlock", Status.Ok, limit == "unlimited" ? "no limit" : "CAP_IPC_LOCK lifts the limit");
        if (!long.TryParse(limit, NumberStyles.None, CultureInfo.InvariantCulture, out long bytes))
            return new("memlock", Status.Warn, "the limit cannot be read from /proc/self/limits", "ulimit -l shows it");
        return new("memlock", Status.Warn,
            $"at most {bytes >> 20} MB may be locked: VFIO maps no more than that for a device",
            "echo \"$USER - memlock unlimited\" | sudo tee /etc/security/limits.d/90-dataplane.conf, then log in "
            + "again");
    }

    internal static Finding TransparentHugepages(Host host)
    {
        string? text = host.Read(Thp);
        if (text == null || !text.Contains("[always]"))
            return new("thp", Status.Ok, text == null ? "not in this kernel" : "only where asked for: " + text);
        return new("thp", Status.Warn, "transparent hugepages are always on: khugepaged copies and locks pages at any "
            + "time", $"echo madvise | sudo tee {Thp}");
    }

    [GeneratedRegex(@"^Max locked memory\s+(\S+)", RegexOptions.Multiline)]
    private static partial Regex MaxLocked();
}
