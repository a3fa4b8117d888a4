namespace Dataplane;

/// <summary>
/// A cache of one pool for a thread that is no lcore: what it gets and puts through it rarely meets other threads.
/// One thread at a time uses it. Create with <see cref="Mempool.CreateCache"/>.
/// </summary>
public sealed unsafe class MempoolCache : IDisposable
{
    private readonly Memory _memory;
    private readonly MempoolHeader* _pool;
    private MempoolCacheHeader* _header;

    internal MempoolCache(Memory memory, MempoolHeader* pool, int size)
    {
        if (size is < 1 or > Mempool.MaxCacheSize || size > pool->Count)
            throw new ConfigException($"a cache of {size} objects cannot be made",
                $"it is 1 to {Mempool.MaxCacheSize} and not above the pool's {pool->Count} objects");
        _memory = memory;
        _pool = pool;
        _header = (MempoolCacheHeader*)memory.Zmalloc(MempoolCacheHeader.BytesFor((uint)size), 128, pool->NumaNode);
        _header->Init((uint)size, shared: false);
        MempoolLock.Enter(ref pool->Lock);
        _header->Next = pool->UserCaches;
        pool->UserCaches = _header;
        MempoolLock.Exit(ref pool->Lock);
    }

    /// <summary>Objects it may hold.</summary>
    public int Size => (int)_header->Size;

    /// <summary>Objects in it now.</summary>
    public int Length => (int)_header->Length;

    internal MempoolCacheHeader* Header => _header;

    /// <summary>Puts everything in it back into the pool.</summary>
    public void Flush() => MempoolCore.Flush(_pool, _header);

    /// <summary>Flushes it and gives its memory back. Before the pool is disposed.</summary>
    public void Dispose()
    {
        if (_header == null)
            return;
        if (_memory.IsDisposed)
        {
            _header = null;
            return;
        }
        Flush();
        MempoolLock.Enter(ref _pool->Lock);
        MempoolCacheHeader** link = &_pool->UserCaches;
        while (*link != _header)
            link = &(*link)->Next;
        *link = _header->Next;
        MempoolStats.Fold(MempoolHeader.CacheOf(_pool, Lcore.NoId), _header);
        MempoolLock.Exit(ref _pool->Lock);
        _memory.Free(_header);
        _header = null;
    }
}

/// <summary>A lock in native memory, for the control path.</summary>
internal static class MempoolLock
{
    internal static void Enter(ref int word)
    {
        var wait = new SpinWait();
        while (Interlocked.CompareExchange(ref word, 1, 0) != 0)
            wait.SpinOnce(sleep1Threshold: -1);
    }

    internal static void Exit(ref int word) => Volatile.Write(ref word, 0);
}
