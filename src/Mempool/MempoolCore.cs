using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>Get and put through a cache: the algorithm of DPDK 26.07 (lib/mempool/rte_mempool.h).</summary>
/// <remarks>
/// A cache is a LIFO, so the objects taken next are those most likely still in the CPU's caches. When it overflows, the
/// oldest half goes to the backend; when it runs dry, half a cache comes from there: a burst that flushes and one that
/// refills never follow each other.
/// </remarks>
internal static unsafe class MempoolCore
{
    /// <summary>Takes objects, all or none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool TryGet(MempoolHeader* pool, MempoolCacheHeader* cache, ref nint objects, uint count)
    {
        uint length = cache->Length;
        if (count - 1 >= length)    // too few, or nothing asked for
            return TryGetSlow(pool, cache, ref objects, count);
        length -= count;
        cache->Length = length;
        cache->GetObjects += count;
        Copy(ref objects, ref MempoolCacheHeader.Objects(cache)[length], count);
        if (MbufDebug.Enabled)
            MbufDebug.OnGet(pool, ref objects, count);
        return true;
    }

    /// <summary>Puts objects back.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Put(MempoolHeader* pool, MempoolCacheHeader* cache, ref nint objects, uint count)
    {
        if (MbufDebug.Enabled)
            MbufDebug.OnPut(pool, ref objects, count);
        uint length = cache->Length;
        if (count - 1 >= cache->Size - length)
        {
            PutSlow(pool, cache, ref objects, count);
            return;
        }
        cache->Length = length + count;
        cache->PutObjects += count;
        Copy(ref MempoolCacheHeader.Objects(cache)[length], ref objects, count);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryGetSlow(MempoolHeader* pool, MempoolCacheHeader* cache, ref nint objects, uint count)
    {
        if (count == 0)
            return true;
        nint* cached = MempoolCacheHeader.Objects(cache);
        uint length = cache->Length, rest = count - length;
        if (length != 0)
            Copy(ref objects, ref *cached, length);
        ref nint missing = ref Unsafe.Add(ref objects, length);
        if (rest <= cache->Half && MempoolBackend.TryGet(pool, ref *cached, cache->Half))
        {
            cache->Length = cache->Half - rest;
            cache->Count(ref cache->BackendGetObjects, cache->Half);
            Copy(ref missing, ref cached[cache->Length], rest);
        }
        else if (MempoolBackend.TryGet(pool, ref missing, rest))
        {
            cache->Length = 0;
            cache->Count(ref cache->BackendGetObjects, rest);
        }
        else
        {
            // The cache keeps them, so the caller must not. A lock-free stack writes what it saw before it fails: into
            // the cache, which gets its objects again, and behind them.
            if (length != 0)
                Copy(ref *cached, ref objects, length);
            MemoryMarshal.CreateSpan(ref objects, (int)count).Clear();
            cache->Count(ref cache->FailedGets, 1);
            cache->Count(ref cache->FailedObjects, count);
            return false;
        }
        cache->Count(ref cache->GetObjects, count);
        if (MbufDebug.Enabled)
            MbufDebug.OnGet(pool, ref objects, count);
        return true;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void PutSlow(MempoolHeader* pool, MempoolCacheHeader* cache, ref nint objects, uint count)
    {
        if (count == 0)
            return;
        cache->Count(ref cache->PutObjects, count);
        if (count > cache->Half)
        {
            PutBackend(pool, cache, ref objects, count);
            return;
        }
        // It did not fit, so the cache holds more than half its size.
        nint* cached = MempoolCacheHeader.Objects(cache);
        uint kept = cache->Length - cache->Half;
        PutBackend(pool, cache, ref *cached, cache->Half);
        new Span<nint>(cached + cache->Half, (int)kept).CopyTo(new Span<nint>(cached, (int)kept));
        Copy(ref cached[kept], ref objects, count);
        cache->Length = kept + count;
    }

    /// <summary>Empties a cache into the backend.</summary>
    internal static void Flush(MempoolHeader* pool, MempoolCacheHeader* cache)
    {
        if (cache->Length != 0)
            PutBackend(pool, cache, ref *MempoolCacheHeader.Objects(cache), cache->Length);
        cache->Length = 0;
    }

    private static void PutBackend(MempoolHeader* pool, MempoolCacheHeader* cache, ref nint objects, uint count)
    {
        // It has room for every object there is: only an object put twice can make this fail, which the audit finds.
        if (MempoolBackend.TryPut(pool, ref objects, count))
            cache->Count(ref cache->BackendPutObjects, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Copy(ref nint to, ref nint from, uint count) =>
        RingCopy.Copy(ref Unsafe.As<nint, byte>(ref to), ref Unsafe.As<nint, byte>(ref from),
            (nuint)count * (nuint)sizeof(nint));
}
