using System.Globalization;

namespace Dataplane;

/// <summary>
/// The commands <c>/eal/...</c>. Names, parameters and keys as DPDK's, lib/eal/common/eal_common_memory.c,
/// eal_common_lcore.c and eal_common_options.c.
/// </summary>
internal sealed class EalTelemetry(Eal eal)
{
    internal static void Register(Eal eal)
    {
        var told = new EalTelemetry(eal);
        Telemetry telemetry = eal.Telemetry;
        Memory memory = eal.Memory;
        telemetry.Register("/eal/params", (_, _) => Arguments(application: false),
            "Returns EAL commandline parameters used. Takes no parameters");
        telemetry.Register("/eal/app_params", (_, _) => Arguments(application: true),
            "Returns app commandline parameters used. Takes no parameters");
        telemetry.Register("/eal/lcore/list", (_, _) => told.Lcores(),
            "List of lcore ids. Takes no parameters");
        telemetry.Register("/eal/lcore/info", (_, p) => told.LcoreInfo(p),
            "Returns lcore info. Parameters: int lcore_id");
        telemetry.Register("/eal/lcore/usage", (_, _) => told.Usage(),
            "Returns lcore cycles usage. Takes no parameters");
        telemetry.Register("/eal/memzone_list", (_, _) => memory.TellMemzones(),
            "List of memzone index reserved. Takes no parameters");
        telemetry.Register("/eal/memzone_info", (_, p) => With(p, 1, n => memory.TellMemzone(n[0])),
            "Returns memzone info. Parameters: int mz_id");
        telemetry.Register("/eal/heap_list", (_, _) => memory.TellHeaps(),
            "List of heap index setup. Takes no parameters");
        telemetry.Register("/eal/heap_info", (_, p) => With(p, 1, n => memory.TellHeap(n[0])),
            "Returns malloc heap stats. Parameters: int heap_id");
        telemetry.Register("/eal/memseg_lists", (_, _) => memory.TellMemsegLists(),
            "Returns array of memseg list IDs. Takes no parameters");
        telemetry.Register("/eal/memseg_list_info", (_, p) => With(p, 1, n => memory.TellMemsegList(n[0])),
            "Returns memseg list info. Parameters: int memseg_list_id");
        telemetry.Register("/eal/memseg_info", (_, p) => With(p, 2, n => memory.TellMemseg(n[0], n[1])),
            "Returns memseg info. Parameter: int memseg_list_id,int memseg_id");
        telemetry.Register("/eal/mem_element_list", (_, p) =>
            With(p, 3, n => memory.TellElementCount(n[0], n[1], n[2])),
            "Returns count of heap elements. Parameters: int heap_id, int memseg_list_id, int memseg_id");
        telemetry.Register("/eal/mem_element_info", (_, p) =>
            With(p, 5, n => memory.TellElements(n[0], n[1], n[2], n[3], n[4])),
            "Returns element info. Parameters: int heap_id, int memseg_list_id, int memseg_id, int first, int last");
    }

    // Of the process: what an Eal was started with by code has no command line.
    private static TelemetryArray Arguments(bool application)
    {
        string[] all = Environment.GetCommandLineArgs();
        int end = Array.IndexOf(all, "--");
        var told = new TelemetryArray();
        foreach (string one in end < 0 ? (application ? [] : all) : application ? all[(end + 1)..] : all[..end])
            told.Add(one);
        return told;
    }

    private TelemetryArray Lcores()
    {
        var ids = new TelemetryArray();
        foreach (Lcore lcore in eal.Lcores)
            ids.Add(lcore.Id);
        return ids;
    }

    private TelemetryDict? LcoreInfo(string? parameters)
    {
        if (!int.TryParse(parameters, NumberStyles.None, CultureInfo.InvariantCulture, out int id)
            || eal.Lcores.FirstOrDefault(lcore => lcore.Id == id) is not { } lcore)
            return null;
        var cpus = new TelemetryArray();
        foreach (int cpu in lcore.Cpus)
            cpus.Add(cpu);
        var told = new TelemetryDict
        {
            { "lcore_id", id }, { "socket", lcore.NumaNode }, { "role", RoleOf(lcore) }, { "cpuset", cpus },
        };
        LcoreUsage usage = lcore.Usage;
        if (Total(usage) == 0)
            return told;
        told.Add("total_cycles", Total(usage));
        told.Add("busy_cycles", usage.BusyCycles);
        told.Add("usage_ratio", Ratio(usage));
        return told;
    }

    private TelemetryDict Usage()
    {
        TelemetryArray ids = [], totals = [], busy = [], ratios = [];
        foreach (Lcore lcore in eal.Lcores)
        {
            LcoreUsage usage = lcore.Usage;
            if (Total(usage) == 0)
                continue;   // runs nothing that counts its cycles
            ids.Add(lcore.Id);
            totals.Add(Total(usage));
            busy.Add(usage.BusyCycles);
            ratios.Add(Ratio(usage));
        }
        return new()
        {
            { "lcore_ids", ids }, { "total_cycles", totals }, { "busy_cycles", busy }, { "usage_ratio", ratios },
        };
    }

    private static TelemetryValue? With(string? parameters, int count, Func<uint[], TelemetryValue?> tell) =>
        TelemetryParameters.Numbers(parameters, count) is { } numbers ? tell(numbers) : null;

    private static ulong Total(LcoreUsage usage) => usage.BusyCycles + usage.IdleCycles;

    private static string Ratio(LcoreUsage usage) =>
        usage.BusyPercent.ToString("F2", CultureInfo.InvariantCulture) + "%";

    private static string RoleOf(Lcore lcore) => lcore.Role switch
    {
        LcoreRole.Main or LcoreRole.Worker => "RTE",
        LcoreRole.Service => "SERVICE",
        LcoreRole.Foreign => "NON_EAL",
        _ => "OFF",
    };
}
