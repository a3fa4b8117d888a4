namespace Dataplane;

/// <summary>What a pool or one of its caches has done since it was made or its statistics were reset.</summary>
/// <param name="GetObjects">Objects taken.</param>
/// <param name="PutObjects">Objects put back.</param>
/// <param name="BackendGetObjects">Objects that came out of the backend, into a cache or to the caller.</param>
/// <param name="BackendPutObjects">Objects that went to the backend, from a cache or from the caller.</param>
/// <param name="FailedGets">Calls that found too few objects.</param>
/// <param name="FailedObjects">Objects those calls asked for.</param>
public readonly record struct MempoolStats(ulong GetObjects, ulong PutObjects, ulong BackendGetObjects,
    ulong BackendPutObjects, ulong FailedGets, ulong FailedObjects)
{
    internal static unsafe MempoolStats Of(MempoolCacheHeader* cache) => new(cache->GetObjects, cache->PutObjects,
        cache->BackendGetObjects, cache->BackendPutObjects, cache->FailedGets, cache->FailedObjects);

    /// <summary>The sum, field by field.</summary>
    public static MempoolStats operator +(MempoolStats a, MempoolStats b) => new(a.GetObjects + b.GetObjects,
        a.PutObjects + b.PutObjects, a.BackendGetObjects + b.BackendGetObjects,
        a.BackendPutObjects + b.BackendPutObjects, a.FailedGets + b.FailedGets, a.FailedObjects + b.FailedObjects);

    /// <summary>Adds what a cache counted to the shared one, before it goes.</summary>
    internal static unsafe void Fold(MempoolCacheHeader* shared, MempoolCacheHeader* cache)
    {
        shared->Count(ref shared->GetObjects, cache->GetObjects);
        shared->Count(ref shared->PutObjects, cache->PutObjects);
        shared->Count(ref shared->BackendGetObjects, cache->BackendGetObjects);
        shared->Count(ref shared->BackendPutObjects, cache->BackendPutObjects);
        shared->Count(ref shared->FailedGets, cache->FailedGets);
        shared->Count(ref shared->FailedObjects, cache->FailedObjects);
    }

    internal static unsafe void Reset(MempoolCacheHeader* cache)
    {
        cache->GetObjects = cache->PutObjects = cache->BackendGetObjects = 0;
        cache->BackendPutObjects = cache->FailedGets = cache->FailedObjects = 0;
    }
}
