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
    }

    /// <summary>Pools among zones, those being made left out.</summary>
    internal static IEnumerable<Memzone> PoolsOf(IReadOnlyList<Memzone> zones) => zones.Where(zone =>
        zone.Name.StartsWith(Prefix, StringComparison.Ordinal) && zone.SizeBytes > MempoolHeader.SizeBytes
        && Volatile.Read(ref ((MempoolHeader*)zone.Address)->Magic) == MempoolHeader.MagicValue);

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
