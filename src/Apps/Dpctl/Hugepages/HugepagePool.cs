using System.Globalization;
using System.Text.Json.Serialization;

namespace Dataplane.Dpctl;

/// <summary>The hugepages of one size on one NUMA node, or on the whole machine.</summary>
/// <param name="Node">The node; null for the whole machine.</param>
/// <param name="SizeKb">Page size, KiB.</param>
/// <param name="Total">Pages reserved.</param>
/// <param name="Free">Those in nobody's hands.</param>
/// <param name="Directory">Where the kernel shows them.</param>
internal sealed record HugepagePool(int? Node, long SizeKb, long Total, long Free,
    [property: JsonIgnore] string Directory)
{
    private const string Machine = "/sys/kernel/mm/hugepages", Nodes = "/sys/devices/system/node";

    /// <summary>The file that sets their number.</summary>
    [JsonIgnore]
    internal string CountFile => $"{Directory}/nr_hugepages";

    /// <summary>As shown: <c>2M on node 0</c>.</summary>
    [JsonIgnore]
    internal string Name => PageSize.Format(SizeKb) + (Node == null ? "" : $" on node {Node}");

    /// <summary>One pool per node and size, smallest size first; per size where the kernel has no nodes.</summary>
    internal static IReadOnlyList<HugepagePool> ReadNodes(Host host)
    {
        HugepagePool[] pools = host.List(Nodes, "node*").SelectMany(node => int.TryParse(node.AsSpan(4), out int number)
            ? ReadAll(host, $"{Nodes}/{node}/hugepages", number) : []).OrderBy(pool => pool.SizeKb).ToArray();
        return pools.Length > 0 ? pools : ReadMachine(host);
    }

    /// <summary>One pool per size for the whole machine.</summary>
    internal static IReadOnlyList<HugepagePool> ReadMachine(Host host) => ReadAll(host, Machine, null).ToArray();

    /// <summary>The same pool as it is now.</summary>
    internal HugepagePool Reread(Host host) => this with
    {
        Total = host.ReadNumber(CountFile) ?? 0,
        Free = host.ReadNumber($"{Directory}/free_hugepages") ?? 0,
    };

    private static IEnumerable<HugepagePool> ReadAll(Host host, string directory, int? node)
    {
        foreach (string name in host.List(directory, "hugepages-*kB"))
            if (long.TryParse(name.AsSpan(10, name.Length - 12), NumberStyles.None, CultureInfo.InvariantCulture,
                out long size))
                yield return new HugepagePool(node, size, 0, 0, $"{directory}/{name}").Reread(host);
    }
}
