using System.Diagnostics.Metrics;

namespace Dataplane;

/// <summary>The commands <c>/mempool/...</c>; keys as DPDK's, lib/mempool/rte_mempool.c.</summary>
internal static unsafe class MempoolTelemetry
{
    private const string Prefix = "MP_";

    /// <summary>Adds them to the memory's environment, where it has one and they are not there.</summary>
    internal static void Register(Memory memory)
    {
        if (memory.Telemetry is not { } telemetry || telemetry.Has("/mempool/list"))
            return;
        telemetry.Register("/mempool/list", (_, _) => memory.ReadZones(List),
            "Returns list of available mempool. Takes no parameters");
        telemetry.Register("/mempool/info", (_, name) => memory.ReadZones(zones => Info(zones, name)),
            "Returns mempool info. Parameters: pool_name");
        telemetry.Meter.CreateObservableUpDownCounter("dataplane.mempool.objects", () => memory.ReadZones(Levels),
            "{object}", "Objects in the pool and its caches (available), and out of it (used)");
        telemetry.Meter.CreateObservableCounter("dataplane.mempool.failed_gets", () => memory.ReadZones(Failures),
            "{call}", "Calls that found too few objects");
    }

    /// <summary>Pools among zones, those being made left out.</summary>
    internal static IEnumerable<Memzone> PoolsOf(IReadOnlyList<Memzone> zones) => zones.Where(zone =>
        zone.Name.StartsWith(Prefix, StringComparison.Ordinal) && zone.SizeBytes > MempoolHeader.SizeBytes
        && Volatile.Read(ref ((MempoolHeader*)zone.Address)->Magic) == MempoolHeader.MagicValue);

    /// <summary>A pool's name, objects and how many of them are in it.</summary>
    internal static (string Name, uint Size, uint Available) LevelOf(Memzone zone)
    {
        var pool = (MempoolHeader*)zone.Address;
        return (zone.Name[Prefix.Length..], pool->Count,
            Math.Min(Mempool.CachedIn(pool) + MempoolBackend.Count(pool), pool->Count));
    }

    private static List<Measurement<long>> Levels(IReadOnlyList<Memzone> zones)
    {
        var all = new List<Measurement<long>>();
        foreach ((string name, uint size, uint available) in PoolsOf(zones).Select(LevelOf))
        {
            all.Add(new(available, new("pool", name), new("state", "available")));
            all.Add(new(size - available, new("pool", name), new("state", "used")));
        }
        return all;
    }

    private static List<Measurement<long>> Failures(IReadOnlyList<Memzone> zones)
    {
        var all = new List<Measurement<long>>();
        foreach (Memzone zone in PoolsOf(zones))
        {
            ulong failed = 0;
            for (int lcore = Lcore.NoId; lcore < Lcore.Max; lcore++)
                failed += MempoolHeader.CacheOf((MempoolHeader*)zone.Address, lcore)->FailedGets;
            all.Add(new((long)failed, new KeyValuePair<string, object?>("pool", zone.Name[Prefix.Length..])));
        }
        return all;
    }

    private static TelemetryArray List(IReadOnlyList<Memzone> zones)
    {
        var names = new TelemetryArray();
        foreach (Memzone zone in PoolsOf(zones))
            names.Add(zone.Name[Prefix.Length..]);
        return names;
    }

    private static TelemetryDict? Info(IReadOnlyList<Memzone> zones, string? name)
    {
        if (string.IsNullOrEmpty(name))
            return null;
        if (PoolsOf(zones).FirstOrDefault(zone => zone.Name == Prefix + name) is not { } zone)
            return [];
        var pool = (MempoolHeader*)zone.Address;
        uint cached = Mempool.CachedIn(pool);
        uint common = Math.Min(MempoolBackend.Count(pool), pool->Count - Math.Min(cached, pool->Count));
        return new TelemetryDict
        {
            { "name", name }, { "pool_id", (ulong)zone.Address }, { "flags", (long)pool->Flags },
            { "socket_id", pool->NumaNode }, { "size", pool->Count }, { "cache_size", pool->CacheSize },
            { "elt_size", pool->ElementBytes }, { "header_size", MempoolObjectHeader.SizeBytes },
            { "trailer_size", pool->StrideBytes - pool->ElementBytes - MempoolObjectHeader.SizeBytes },
            { "private_data_size", 0 }, { "ops_index", (long)pool->Kind }, { "populated_size", pool->Count },
            { "total_cache_count", cached }, { "common_pool_count", common }, { "mz_name", zone.Name },
            { "mz_len", zone.SizeBytes }, { "mz_hugepage_sz", zone.PageSizeBytes },
            { "mz_socket_id", zone.NumaNode }, { "mz_flags", 0 },
        };
    }
}
