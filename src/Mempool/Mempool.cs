using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>
/// A pool of equal objects in native memory, with a cache per lcore. Get and put from any thread; create, inspect and
/// dispose on the control path.
/// </summary>
/// <remarks>
/// A handle on the pool itself, which lies in the memzone <c>MP_name</c>. Threads that are no lcore use the backend
/// directly, unless they bring a <see cref="MempoolCache"/>. Lcores are told apart by their ids: an lcore of another
/// <see cref="Eal"/> than the pool's would share a cache with the lcore of that id, so it must not use the pool.
/// </remarks>
public sealed unsafe partial class Mempool : IDisposable
{
    /// <summary>Largest cache, objects per lcore.</summary>
    public const int MaxCacheSize = 512;

    /// <summary>A cache size chosen from the pool's: 256, or an eighth of a smaller pool.</summary>
    public const int AutoCache = -1;

    private readonly Memory _memory;
    private MempoolHeader* _header;

    private Mempool(Memory memory, MempoolHeader* header)
    {
        _memory = memory;
        _header = header;
        Name = MempoolHeader.NameOf(header);
    }

    /// <summary>Its name, unique in its EAL.</summary>
    public string Name { get; }

    /// <summary>Objects it was made with.</summary>
    public int Count => (int)_header->Count;

    /// <summary>Bytes of each object.</summary>
    public int ElementBytes => (int)_header->ElementBytes;

    /// <summary>Bytes from one object to the next: never a power of two unless asked for.</summary>
    public int StrideBytes => (int)_header->StrideBytes;

    /// <summary>Objects each lcore may keep in its cache, 0 to <see cref="MaxCacheSize"/>.</summary>
    public int CacheSize => (int)_header->CacheSize;

    /// <summary>What is behind the caches.</summary>
    public MempoolKind Kind => _header->Kind;

    /// <summary>How it was made.</summary>
    public MempoolFlags Flags => _header->Flags;

    /// <summary>The node its memory is on.</summary>
    public int NumaNode => _header->NumaNode;

    /// <summary>The native header that objects point at.</summary>
    internal MempoolHeader* Header => _header;

    /// <summary>Takes one object. The caller owns it. Data path.</summary>
    /// <returns>False when the pool is empty; counted in <see cref="MempoolStats.FailedGets"/>.</returns>
    public bool TryGet(out nint item)
    {
        item = 0;
        return MempoolCore.TryGet(_header, MempoolHeader.CurrentCache(_header), ref item, 1);
    }

    /// <summary>Takes as many objects as the span holds, or none (bulk). The caller owns them. Data path.</summary>
    /// <returns>False when the pool has too few; the span then holds no object.</returns>
    public bool TryGetBulk(Span<nint> objects) => MempoolCore.TryGet(_header, MempoolHeader.CurrentCache(_header),
        ref MemoryMarshal.GetReference(objects), (uint)objects.Length);

    /// <summary>The same through a cache of the caller's, which must be of this pool.</summary>
    public bool TryGetBulk(Span<nint> objects, MempoolCache cache) => MempoolCore.TryGet(_header, cache.Header,
        ref MemoryMarshal.GetReference(objects), (uint)objects.Length);

    /// <summary>Puts an object of this pool back. The caller no longer owns it. Data path.</summary>
    public void Put(nint item) => MempoolCore.Put(_header, MempoolHeader.CurrentCache(_header), ref item, 1);

    /// <summary>Puts objects of this pool back. The caller no longer owns them. Data path.</summary>
    public void PutBulk(ReadOnlySpan<nint> objects) => MempoolCore.Put(_header, MempoolHeader.CurrentCache(_header),
        ref MemoryMarshal.GetReference(objects), (uint)objects.Length);

    /// <summary>The same through a cache of the caller's, which must be of this pool.</summary>
    public void PutBulk(ReadOnlySpan<nint> objects, MempoolCache cache) => MempoolCore.Put(_header, cache.Header,
        ref MemoryMarshal.GetReference(objects), (uint)objects.Length);

    /// <summary>Takes objects on the control path.</summary>
    /// <exception cref="DataplaneException">Too few are left; the message shows who has them and how many it
    /// takes.</exception>
    public void GetBulk(Span<nint> objects)
    {
        if (!TryGetBulk(objects))
            throw Exhausted(objects.Length);
    }

    /// <summary>The address a device uses to reach an object of any pool. Data path.</summary>
    public static Iova GetIova(nint item) => new(MempoolObjectHeader.Of(item)->Iova);

    /// <summary>A cache for a thread that is no lcore. Dispose it before the pool.</summary>
    /// <param name="size">Objects, 1 to <see cref="MaxCacheSize"/>, not above <see cref="Count"/>.</param>
    /// <exception cref="ConfigException">The size is out of range.</exception>
    public MempoolCache CreateCache(int size) => new(_memory, _header, size);

    /// <summary>
    /// Gives the memory back, if that is not gone already. Objects still out become invalid; in debug mode it is an
    /// error that says who holds them. This handle throws <see cref="NullReferenceException"/> from now on.
    /// </summary>
    public void Dispose()
    {
        if (_header == null)
            return;
        string? leaks = MbufDebug.Enabled && !_memory.IsDisposed ? MbufDebug.Leaks(this) : null;
        _header = null;
        FreeZones(_memory, Name);
        if (leaks != null)
            throw new DataplaneException($"mempool '{Name}' was disposed with objects out", leaks);
    }
}
