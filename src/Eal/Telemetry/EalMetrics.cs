using System.Diagnostics.Metrics;

namespace Dataplane;

/// <summary>The environment's instruments on the meter: read when somebody listens, never written.</summary>
internal static class EalMetrics
{
    internal static void Register(Eal eal)
    {
        Meter meter = eal.Telemetry.Meter;
        meter.CreateObservableCounter("dataplane.lcore.cycles", () => PerLcore(eal, usage => usage.BusyCycles,
            usage => usage.IdleCycles), "{cycle}", "TSC cycles in loops that did work (busy) or found none (idle)");
        meter.CreateObservableCounter("dataplane.lcore.loops", () => PerLcore(eal, usage => usage.BusyLoops,
            usage => usage.IdleLoops), "{loop}", "Loops that did work (busy) or found none (idle)");
        meter.CreateObservableCounter("dataplane.gc.pause", () => Eal.GcPauseTotal.TotalSeconds, "s",
            "Time garbage collections have stopped the process; a steady state adds 0");
        meter.CreateObservableUpDownCounter("dataplane.heap.bytes", () => PerHeap(eal.Memory), "By",
            "Memory for pools, rings and devices, by node");
    }

    private static List<Measurement<long>> PerLcore(Eal eal, Func<LcoreUsage, ulong> busy, Func<LcoreUsage, ulong> idle)
    {
        var all = new List<Measurement<long>>();
        foreach (Lcore lcore in eal.Lcores)
        {
            LcoreUsage usage = lcore.Usage;
            all.Add(new((long)busy(usage), new("lcore", lcore.Id), new("state", "busy")));
            all.Add(new((long)idle(usage), new("lcore", lcore.Id), new("state", "idle")));
        }
        return all;
    }

    private static List<Measurement<long>> PerHeap(Memory memory)
    {
        var all = new List<Measurement<long>>();
        if (memory.IsDisposed)
            return all;
        foreach (HeapStats heap in memory.GetHeapStats())
        {
            all.Add(new((long)heap.BusyBytes, new("numa_node", heap.NumaNode), new("state", "busy")));
            all.Add(new((long)heap.FreeBytes, new("numa_node", heap.NumaNode), new("state", "free")));
        }
        return all;
    }
}
