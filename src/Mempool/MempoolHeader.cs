using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Dataplane;

/// <summary>
/// A pool as it lies in memory, at the start of the memzone <c>MP_name</c>: this header, one cache per lcore and one
/// for all other threads, then the backend. Its objects point at it, so any thread that has one can put it back.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = SizeBytes)]
internal unsafe struct MempoolHeader
{
    internal const int SizeBytes = 256;
    internal const int MaxNameLength = 25;
    internal const ulong MagicValue = 0x4c4f4f504d454d00;   // "\0MEMPOOL"

    /// <summary>Ring or stack, in this zone.</summary>
    [FieldOffset(0)] internal void* Backend;
    [FieldOffset(8)] internal MempoolKind Kind;
    [FieldOffset(12)] internal uint CacheStride;

    /// <summary>Bytes 48 to 55 of a fresh mbuf's header: no hash, no outer tag, the buffer's length.</summary>
    [FieldOffset(16)] internal ulong FreshTail;
    /// <summary>Bytes 16 to 47 of a fresh mbuf's header.</summary>
    [FieldOffset(32)] internal Vector256<ulong> Fresh;

    [FieldOffset(64)] internal ulong Magic;
    [FieldOffset(72)] internal uint Count;
    [FieldOffset(76)] internal uint ElementBytes;
    [FieldOffset(80)] internal uint StrideBytes;
    [FieldOffset(84)] internal uint CacheSize;
    [FieldOffset(88)] internal MempoolFlags Flags;
    [FieldOffset(92)] internal uint ZoneCount;
    [FieldOffset(96)] internal uint DataRoomBytes;
    [FieldOffset(100)] internal uint PrivateBytes;
    [FieldOffset(104)] internal nint FirstObject;
    /// <summary>Caches that users made; the list changes under the pool's lock only.</summary>
    [FieldOffset(112)] internal MempoolCacheHeader* UserCaches;
    [FieldOffset(120)] internal int Lock;
    [FieldOffset(124)] internal int NumaNode;
    [FieldOffset(160)] internal uint IsMbufPool;
    [FieldOffset(128)] internal fixed byte Name[MaxNameLength + 1];

    /// <summary>The cache of the calling thread: its lcore's, or the empty one of all threads that are none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static MempoolCacheHeader* CurrentCache(MempoolHeader* pool) => CacheOf(pool, Lcore.CurrentId);

    /// <summary>The cache of an lcore, or with <see cref="Lcore.NoId"/> the empty one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static MempoolCacheHeader* CacheOf(MempoolHeader* pool, int lcore) =>
        (MempoolCacheHeader*)((byte*)pool + SizeBytes + (nuint)(uint)(lcore + 1) * pool->CacheStride);

    internal static string NameOf(MempoolHeader* pool) => Marshal.PtrToStringUTF8((nint)pool->Name) ?? "";
}

/// <summary>A cache: these 128 bytes, then the objects, oldest first. One thread uses it at a time.</summary>
[StructLayout(LayoutKind.Explicit, Size = SizeBytes)]
internal unsafe struct MempoolCacheHeader
{
    internal const int SizeBytes = 128;

    [FieldOffset(0)] internal uint Length;
    /// <summary>Objects it may hold; 0 sends everything to the backend.</summary>
    [FieldOffset(4)] internal uint Size;
    /// <summary>Objects flushed or refilled at once: half the size.</summary>
    [FieldOffset(8)] internal uint Half;
    /// <summary>1: used by many threads at once, has no objects, counts with interlocked adds.</summary>
    [FieldOffset(12)] internal uint Shared;

    [FieldOffset(16)] internal ulong GetObjects;
    [FieldOffset(24)] internal ulong PutObjects;
    [FieldOffset(32)] internal ulong BackendGetObjects;
    [FieldOffset(40)] internal ulong BackendPutObjects;
    [FieldOffset(48)] internal ulong FailedGets;
    [FieldOffset(56)] internal ulong FailedObjects;
    /// <summary>Next cache a user made.</summary>
    [FieldOffset(64)] internal MempoolCacheHeader* Next;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static nint* Objects(MempoolCacheHeader* cache) => (nint*)(cache + 1);

    /// <summary>Bytes of a cache, a multiple of 128 so that two never share a pair of lines.</summary>
    internal static nuint BytesFor(uint size) =>
        SizeBytes + ((((nuint)size * (nuint)sizeof(nint)) + 127) & ~(nuint)127);

    internal void Init(uint size, bool shared)
    {
        Size = size;
        Half = size / 2;
        Shared = shared ? 1u : 0;
    }

    internal void Count(ref ulong counter, ulong objects)
    {
        if (Shared == 0)
            counter += objects;
        else
            Interlocked.Add(ref counter, objects);
    }
}

/// <summary>What lies right before each object: the way back to its pool.</summary>
[StructLayout(LayoutKind.Explicit, Size = SizeBytes)]
internal unsafe struct MempoolObjectHeader
{
    internal const int SizeBytes = 48;
    internal const ulong CookieValue = 0x9e3779b97f4a7c15;

    /// <summary>The next object of the pool, in order of address within a zone; 0 in the last.</summary>
    [FieldOffset(0)] internal nint Next;
    [FieldOffset(8)] internal MempoolHeader* Pool;
    [FieldOffset(16)] internal ulong Iova;
    [FieldOffset(24)] internal ulong Cookie;

    // Debug mode only.
    [FieldOffset(32)] internal MbufOwner Owner;
    [FieldOffset(36)] internal int OwnerId;
    [FieldOffset(40)] internal int Site;
    [FieldOffset(44)] internal int LastFreeSite;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static MempoolObjectHeader* Of(nint element) => (MempoolObjectHeader*)element - 1;
}
