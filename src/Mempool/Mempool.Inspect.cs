using System.Globalization;
using System.Text;

namespace Dataplane;

public sealed unsafe partial class Mempool
{
    /// <summary>Objects in the pool and its caches now; exact only while nobody gets or puts.</summary>
    public int AvailableCount => (int)Math.Min(BackendCount + CachedCount, _header->Count);

    /// <summary>Objects out of the pool now; exact only while nobody gets or puts.</summary>
    public int InUseCount => Count - AvailableCount;

    private uint BackendCount => MempoolBackend.Count(_header);

    private uint CachedCount => CachedIn(_header);

    /// <summary>Objects in all caches of a pool.</summary>
    internal static uint CachedIn(MempoolHeader* pool)
    {
        uint sum = 0;
        for (int lcore = 0; lcore < Lcore.Max; lcore++)
            sum += MempoolHeader.CacheOf(pool, lcore)->Length;
        MempoolLock.Enter(ref pool->Lock);
        for (MempoolCacheHeader* cache = pool->UserCaches; cache != null; cache = cache->Next)
            sum += cache->Length;
        MempoolLock.Exit(ref pool->Lock);
        return sum;
    }

    /// <summary>What all threads together have done with it.</summary>
    public MempoolStats GetStats()
    {
        MempoolStats sum = default;
        foreach (nint cache in Caches())
            sum += MempoolStats.Of((MempoolCacheHeader*)cache);
        return sum;
    }

    /// <summary>What one lcore has done with it; <see cref="Lcore.NoId"/>: threads that are none.</summary>
    public MempoolStats GetStats(int lcore)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(lcore, Lcore.NoId);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(lcore, Lcore.Max);
        return MempoolStats.Of(MempoolHeader.CacheOf(_header, lcore));
    }

    /// <summary>Sets all statistics to 0. Counts of threads at work meanwhile may be lost.</summary>
    public void ResetStats()
    {
        foreach (nint cache in Caches())
            MempoolStats.Reset((MempoolCacheHeader*)cache);
    }

    /// <summary>Every object of the pool, whoever has it. Control path.</summary>
    public IEnumerable<nint> Objects()
    {
        for (nint item = FirstObject(); item != 0; item = NextObject(item))
            yield return item;
    }

    /// <summary>
    /// Checks that every object is in one place only, that nothing else is in the pool, and that no object's header was
    /// overwritten. Nobody may get or put meanwhile; objects may be out.
    /// </summary>
    /// <exception cref="DataplaneException">Something is wrong; the message says what and with which
    /// object.</exception>
    public void Audit()
    {
        var objects = new HashSet<nint>();
        foreach (nint item in Objects())
        {
            MempoolObjectHeader* header = MempoolObjectHeader.Of(item);
            if (header->Cookie != MempoolObjectHeader.CookieValue || header->Pool != _header)
                throw Damaged($"the header of object 0x{item:x} was overwritten");
            objects.Add(item);
        }
        if (objects.Count != Count)
            throw Damaged($"it has {objects.Count} objects, and was made with {Count}");
        foreach (nint cache in Caches())
        {
            var c = (MempoolCacheHeader*)cache;
            AuditFree(objects, new ReadOnlySpan<nint>(MempoolCacheHeader.Objects(c), (int)c->Length), "a cache");
        }
        var behind = new nint[BackendCount];
        if (behind.Length == 0)
            return;
        if (!MempoolBackend.TryGet(_header, ref behind[0], (uint)behind.Length))
            throw Damaged("somebody used it during the audit");
        _ = MempoolBackend.TryPut(_header, ref behind[0], (uint)behind.Length);
        AuditFree(objects, behind, "the backend");
    }

    /// <summary>Objects that a working set needs: the formula that <see cref="DescribeExhaustion"/> shows.</summary>
    /// <param name="rxDescriptors">Sum over all receive queues that take from the pool.</param>
    /// <param name="txDescriptors">Sum over all transmit queues its packets go to.</param>
    /// <param name="lcores">Lcores that get or put.</param>
    /// <param name="cacheSize">Objects per lcore in caches.</param>
    /// <param name="burst">Packets per burst.</param>
    /// <param name="inFlight">Packets the application holds elsewhere: in rings, reassembly, buffers.</param>
    public static int RecommendCount(int rxDescriptors, int txDescriptors, int lcores, int cacheSize = 256,
        int burst = 32, int inFlight = 0) =>
        checked(rxDescriptors + txDescriptors + (lcores * (cacheSize + (2 * burst))) + inFlight);

    /// <summary>Where the objects are, and how many it takes: for a log or an error when a get has failed.</summary>
    public string DescribeExhaustion()
    {
        MempoolStats stats = GetStats();
        uint cached = CachedCount;
        int users = 0;
        for (int lcore = 0; lcore < Lcore.Max; lcore++)
            users += GetStats(lcore).GetObjects + GetStats(lcore).PutObjects != 0 ? 1 : 0;
        users = Math.Max(users, 1);
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"mempool '{Name}': {InUseCount} of {Count} objects are out, ");
        text.Append(CultureInfo.InvariantCulture, $"{cached} in caches, {BackendCount} behind them; ");
        text.Append(CultureInfo.InvariantCulture, $"{stats.FailedGets} gets failed. It needs at least ");
        text.Append("(sum of rx descriptors) + (sum of tx descriptors) + lcores x (cache + 2 bursts) + packets held");
        text.Append(CultureInfo.InvariantCulture, $" = rx + tx + {users} x ({CacheSize} + 2 x 32) + held");
        text.Append(CultureInfo.InvariantCulture, $" = rx + tx + held + {RecommendCount(0, 0, users, CacheSize)}");
        text.Append(CultureInfo.InvariantCulture, $": {Count} leave {Count - RecommendCount(0, 0, users, CacheSize)}");
        text.Append(" for descriptors and packets held.");
        if (MbufDebug.Enabled)
            text.Append('\n').Append(MbufDebug.Report(this));
        return text.ToString();
    }

    private DataplaneException Exhausted(int wanted) => new($"mempool '{Name}' has no {wanted} objects left",
        DescribeExhaustion(), "make the pool larger (Mempool.RecommendCount), or free what is held",
        errno: Errno.ENOBUFS);

    private DataplaneException Damaged(string why) =>
        new($"mempool '{Name}' is damaged", why, "run with DATAPLANE_MBUF_DEBUG=1 to find who did it");

    private void AuditFree(HashSet<nint> objects, ReadOnlySpan<nint> free, string where)
    {
        foreach (nint item in free)
        {
            if (!objects.Remove(item))
                throw Damaged($"0x{item:x} in {where} is no object of the pool, or was put twice");
        }
    }

    private nint FirstObject() => _header->FirstObject;

    private static nint NextObject(nint item) => MempoolObjectHeader.Of(item)->Next;

    private List<nint> Caches()
    {
        var caches = new List<nint>(Lcore.Max + 1);
        for (int lcore = Lcore.NoId; lcore < Lcore.Max; lcore++)
            caches.Add((nint)MempoolHeader.CacheOf(_header, lcore));
        MempoolLock.Enter(ref _header->Lock);
        for (MempoolCacheHeader* cache = _header->UserCaches; cache != null; cache = cache->Next)
            caches.Add((nint)cache);
        MempoolLock.Exit(ref _header->Lock);
        return caches;
    }
}
