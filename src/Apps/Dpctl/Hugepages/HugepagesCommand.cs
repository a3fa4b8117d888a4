using System.Text.Json;
using Spectre.Console;

namespace Dataplane.Dpctl;

/// <summary><c>dpctl hugepages</c>.</summary>
internal static class HugepagesCommand
{
    internal static int Show(Host host, IAnsiConsole console, TextWriter? json)
    {
        IReadOnlyList<HugepagePool> pools = HugepagePool.ReadNodes(host);
        if (json != null)
        {
            json.WriteLine(JsonSerializer.Serialize(pools, DpctlJson.Default.IReadOnlyListHugepagePool));
            return CommandLine.Ok;
        }
        if (pools.Count == 0)
            throw new DataplaneException("this kernel has no hugepages",
                "neither /sys/devices/system/node/node*/hugepages nor "
                + "/sys/kernel/mm/hugepages is there", "use a kernel built with CONFIG_HUGETLBFS");
        Table table = new Table().AddColumns("Node", "Size").AddColumn(new TableColumn("Total").RightAligned())
            .AddColumn(new TableColumn("Free").RightAligned()).AddColumn(new TableColumn("Total MB").RightAligned());
        foreach (HugepagePool pool in pools)
            table.AddRow(pool.Node?.ToString() ?? "all", PageSize.Format(pool.SizeKb), $"{pool.Total}", $"{pool.Free}",
                $"{pool.Total * pool.SizeKb / 1024}");
        console.Write(table);
        return CommandLine.Ok;
    }

    /// <exception cref="DataplaneException">No such size or node, no rights, or fewer pages than asked for.</exception>
    internal static int Set(Host host, IAnsiConsole console, long count, long sizeKb, int? node)
    {
        if (count < 0)
            throw new ConfigException($"{count} is not a number of pages", fix: "give 0 or more");
        IReadOnlyList<HugepagePool> pools = node == null ? HugepagePool.ReadMachine(host)
            : HugepagePool.ReadNodes(host);
        SetCount(host, console, Select(pools, sizeKb, node)[0], count);
        return CommandLine.Ok;
    }

    /// <exception cref="DataplaneException">No such size or node, no rights, or pages in use that stay.</exception>
    internal static int Clear(Host host, IAnsiConsole console, long? sizeKb, int? node)
    {
        foreach (HugepagePool pool in Select(HugepagePool.ReadNodes(host), sizeKb, node))
            if (pool.Total > 0)
                SetCount(host, console, pool, 0);
        return CommandLine.Ok;
    }

    private static HugepagePool[] Select(IReadOnlyList<HugepagePool> pools, long? sizeKb, int? node)
    {
        HugepagePool[] selected = pools.Where(pool => (sizeKb == null || pool.SizeKb == sizeKb)
            && (node == null || pool.Node == node)).ToArray();
        if (selected.Length > 0)
            return selected;
        string wanted = (sizeKb == null ? "" : " of " + PageSize.Format(sizeKb.Value))
            + (node == null ? "" : $" on node {node}");
        throw new ConfigException($"there are no hugepages{wanted}", fix: pools.Count == 0
            ? "use a kernel built with CONFIG_HUGETLBFS"
            : "there are " + string.Join(", ", pools.Select(pool => pool.Name)));
    }

    private static void SetCount(Host host, IAnsiConsole console, HugepagePool before, long wanted)
    {
        host.Write(before.CountFile, $"{wanted}");
        HugepagePool after = before.Reread(host);
        console.WriteLine($"{before.Name}: had {before.Total}, asked for {wanted}, have {after.Total} ({after.Free} "
            + $"free)");
        if (after.Total < wanted)
            throw new DataplaneException($"asked for {wanted} pages of {before.Name}, got {after.Total}",
                "the kernel found no more unbroken memory of that size",
                $"echo 1 | sudo tee /proc/sys/vm/compact_memory, and again; or reserve them at boot with "
                + $"hugepagesz={PageSize.Format(before.SizeKb)} hugepages={wanted} on the kernel's command line");
        if (after.Total > wanted)
            throw new DataplaneException($"asked for {wanted} pages of {before.Name}, {after.Total} stay",
                "processes or files hold them, or the kernel keeps them as surplus until they are free",
                "end those that hold them: sudo grep -l anon_hugepage /proc/[0-9]*/maps; ls /dev/hugepages");
    }
}
