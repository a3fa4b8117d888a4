using System.Diagnostics.Metrics;

namespace Dataplane;

/// <summary>The commands <c>/ring/...</c>; keys as DPDK's, lib/ring/rte_ring.c.</summary>
internal static unsafe class RingTelemetry
{
    private const string Prefix = "RG_";

    /// <summary>Adds them to the memory's environment, where it has one and they are not there.</summary>
    internal static void Register(Memory memory)
    {
        if (memory.Telemetry is not { } telemetry || telemetry.Has("/ring/list"))
            return;
        telemetry.Register("/ring/list", (_, _) => memory.ReadZones(List),
            "Returns list of available rings. Takes no parameters");
        telemetry.Register("/ring/info", (_, name) => memory.ReadZones(zones => Info(zones, name)),
            "Returns ring info. Parameters: ring_name.");
        telemetry.Meter.CreateObservableUpDownCounter("dataplane.ring.elements", () => memory.ReadZones(Levels),
            "{element}", "Elements in the ring (used), and room for more (free)");
    }

    /// <summary>Rings among zones.</summary>
    internal static IEnumerable<Memzone> RingsOf(IReadOnlyList<Memzone> zones) => zones.Where(zone =>
        zone.Name.StartsWith(Prefix, StringComparison.Ordinal) && zone.SizeBytes >= RingHeader.SizeBytes);

    /// <summary>A ring's name.</summary>
    internal static string NameOf(Memzone zone) => zone.Name[Prefix.Length..];

    /// <summary>A ring's name, capacity and how many elements are in it.</summary>
    internal static (string Name, uint Capacity, uint Used) LevelOf(Memzone zone) =>
        (NameOf(zone), ((RingHeader*)zone.Address)->Capacity, RingHeader.Count((RingHeader*)zone.Address));

    private static List<Measurement<long>> Levels(IReadOnlyList<Memzone> zones)
    {
        var all = new List<Measurement<long>>();
        foreach ((string name, uint capacity, uint used) in RingsOf(zones).Select(LevelOf))
        {
            all.Add(new(used, new("ring", name), new("state", "used")));
            all.Add(new(capacity - used, new("ring", name), new("state", "free")));
        }
        return all;
    }

    private static TelemetryArray List(IReadOnlyList<Memzone> zones)
    {
        var names = new TelemetryArray();
        foreach (Memzone zone in RingsOf(zones))
            names.Add(NameOf(zone));
        return names;
    }

    private static TelemetryDict? Info(IReadOnlyList<Memzone> zones, string? name)
    {
        if (string.IsNullOrEmpty(name))
            return null;
        if (RingsOf(zones).FirstOrDefault(zone => NameOf(zone) == name) is not { } zone)
            return [];
        var ring = (RingHeader*)zone.Address;
        var told = new TelemetryDict
        {
            { "name", name }, { "socket", zone.NumaNode }, { "flags", FlagsOf(ring) },
            { "producer_type", "MP SP MP_RTS MP_HTS".Split(' ')[(int)ring->ProducerSync & 3] },
            { "consumer_type", "MC SC MC_RTS MC_HTS".Split(' ')[(int)ring->ConsumerSync & 3] },
            { "size", ring->Size },
        };
        told.AddHex("mask", ring->Mask);
        told.Add("capacity", ring->Capacity);
        told.Add("used_count", RingHeader.Count(ring));
        told.Add("mz_name", zone.Name);
        told.Add("mz_len", zone.SizeBytes);
        told.Add("mz_hugepage_sz", zone.PageSizeBytes);
        told.Add("mz_socket_id", zone.NumaNode);
        told.AddHex("mz_flags", 0);
        return told;
    }

    // rte_ring.h: RING_F_SP_ENQ 1, SC_DEQ 2, EXACT_SZ 4, MP_RTS_ENQ 8, MC_RTS_DEQ 0x10, MP_HTS_ENQ 0x20, MC_HTS_DEQ
    // 0x40.
    private static int FlagsOf(RingHeader* ring) =>
        (ring->ProducerSync switch { RingSync.SingleThread => 1, RingSync.RelaxedTail => 8, RingSync.HeadTail => 0x20,
            _ => 0 })
        | (ring->ConsumerSync switch { RingSync.SingleThread => 2, RingSync.RelaxedTail => 0x10,
            RingSync.HeadTail => 0x40, _ => 0 })
        | (ring->Capacity == ring->Size - 1 ? 0 : 4);
}
