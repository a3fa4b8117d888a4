using System.Globalization;

namespace Dataplane;

/// <summary>Hugepages of one size on one NUMA node, as the kernel counts them now.</summary>
/// <param name="NumaNode">The node.</param>
/// <param name="PageSizeBytes">A power of two.</param>
/// <param name="Total">Pages reserved by the administrator.</param>
/// <param name="Free">Pages no process has or was promised.</param>
internal readonly record struct HugepagePool(int NumaNode, nuint PageSizeBytes, long Total, long Free)
{
    /// <summary>
    /// All pools of the machine, nodes ascending and within a node the largest pages first. Sizes without a single page
    /// are listed too.
    /// </summary>
    /// <param name="sys">Where sysfs is mounted.</param>
    internal static List<HugepagePool> ReadAll(string sys = "/sys")
    {
        var pools = new List<HugepagePool>();
        foreach (int node in MemoryNodes.WithMemory(sys))
            pools.AddRange(ReadNode(sys, node));
        return CapByPromised(sys, pools);
    }

    /// <summary>The file to write a number of pages to.</summary>
    internal static string ControlFile(int node, nuint pageSizeBytes) =>
        $"/sys/devices/system/node/node{node}/hugepages/hugepages-{pageSizeBytes >> 10}kB/nr_hugepages";

    /// <summary>A page size as people say it: <c>2M</c>, <c>1G</c>, <c>4K</c>.</summary>
    internal static string SizeName(nuint bytes) => bytes switch
    {
        >= 1u << 30 => $"{bytes >> 30}G",
        >= 1u << 20 => $"{bytes >> 20}M",
        _ => $"{bytes >> 10}K",
    };

    private static IEnumerable<HugepagePool> ReadNode(string sys, int node)
    {
        string directory = $"{sys}/devices/system/node/node{node}/hugepages";
        if (!Directory.Exists(directory))
            directory = $"{sys}/kernel/mm/hugepages";   // a kernel without NUMA has only these
        if (!Directory.Exists(directory))
            return [];
        return from path in Directory.EnumerateDirectories(directory, "hugepages-*kB")
               let size = ParseSize(path)
               orderby size descending
               select new HugepagePool(node, size, ReadNumber($"{path}/nr_hugepages"),
               ReadNumber($"{path}/free_hugepages"));
    }

    // free_hugepages still counts pages promised to mappings not yet touched; the kernel knows those only machine-wide.
    private static List<HugepagePool> CapByPromised(string sys, List<HugepagePool> pools)
    {
        foreach (nuint size in pools.Select(pool => pool.PageSizeBytes).Distinct().ToArray())
        {
            long promised = ReadNumber($"{sys}/kernel/mm/hugepages/hugepages-{size >> 10}kB/resv_hugepages");
            for (int i = pools.Count - 1; i >= 0 && promised > 0; i--)
            {
                if (pools[i].PageSizeBytes != size)
                    continue;
                long taken = Math.Min(promised, pools[i].Free);
                pools[i] = pools[i] with { Free = pools[i].Free - taken };
                promised -= taken;
            }
        }
        return pools;
    }

    private static nuint ParseSize(string path)
    {
        ReadOnlySpan<char> name = Path.GetFileName(path.AsSpan())["hugepages-".Length..^"kB".Length];
        return nuint.Parse(name, CultureInfo.InvariantCulture) << 10;
    }

    private static long ReadNumber(string path)
    {
        try
        {
            return long.Parse(File.ReadAllText(path), CultureInfo.InvariantCulture);
        }
        catch (IOException)
        {
            return 0;   // older kernels lack some of these per node
        }
    }
}
