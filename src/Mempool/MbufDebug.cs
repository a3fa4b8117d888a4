using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace Dataplane;

/// <summary>Who has an mbuf or another object of a pool, in debug mode.</summary>
public enum MbufOwner
{
    /// <summary>The pool.</summary>
    Pool,

    /// <summary>The application, on an lcore or another thread.</summary>
    Application,

    /// <summary>A transmit queue or device.</summary>
    Device,

    /// <summary>A ring or another store.</summary>
    Ring,
}

/// <summary>
/// Debug mode: every object's owner and last site are recorded; double free, use after free, overrun and leaks are
/// found. On with <c>DATAPLANE_MBUF_DEBUG=1</c> or the AppContext switch <c>Dataplane.MbufDebug</c>, both before the
/// first pool is made. Off it costs nothing: the switch is a constant to the JIT. On, each burst costs some
/// microseconds, and violations throw <see cref="DataplaneException"/>.
/// </summary>
public static unsafe class MbufDebug
{
    private const byte Poison = 0xd5;
    private const ulong Trailer = 0xadd2e55badbadbad;
    private const int MaxFrames = 3;

    private static readonly ConcurrentDictionary<string, int> s_siteIds = new(StringComparer.Ordinal);
    private static readonly ConcurrentDictionary<int, string> s_sites = new();
    private static int s_lastSite;

    /// <summary>Whether debug mode is on; fixed when first read.</summary>
    public static readonly bool Enabled = Environment.GetEnvironmentVariable("DATAPLANE_MBUF_DEBUG") == "1"
        || (AppContext.TryGetSwitch("Dataplane.MbufDebug", out bool on) && on);

    /// <summary>Records that packets have a new owner. Ports and rings call it; nothing happens when off.</summary>
    /// <param name="packets">First segments; the whole chains are meant.</param>
    /// <param name="owner">Who has them now.</param>
    /// <param name="id">Port or lcore id, or another number that helps.</param>
    /// <exception cref="DataplaneException">One of them is free.</exception>
    public static void Transfer(ReadOnlySpan<Mbuf> packets, MbufOwner owner, int id)
    {
        if (!Enabled || packets.IsEmpty)
            return;
        int site = Site();
        foreach (Mbuf packet in packets)
        {
            for (MbufHeader* m = packet.Header; m != null; m = m->Next)
            {
                OnUse(m);
                MempoolObjectHeader* o = MempoolObjectHeader.Of((nint)m);
                o->Owner = owner;
                o->OwnerId = id;
                o->Site = site;
            }
        }
    }

    /// <summary>Who holds the objects that are out of a pool, most first: one line per owner and site.</summary>
    public static string Report(Mempool pool)
    {
        if (!Enabled)
            return "no owners are recorded: run with DATAPLANE_MBUF_DEBUG=1";
        var holders = new Dictionary<(MbufOwner, int, int), int>();
        foreach (nint item in pool.Objects())
        {
            MempoolObjectHeader* o = MempoolObjectHeader.Of(item);
            if (o->Owner == MbufOwner.Pool)
                continue;
            (MbufOwner, int, int) key = (o->Owner, o->OwnerId, o->Site);
            holders[key] = holders.GetValueOrDefault(key) + 1;
        }
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"mempool '{pool.Name}': {holders.Values.Sum()} objects are out");
        foreach (((MbufOwner owner, int id, int site), int count) in holders.OrderByDescending(h => h.Value))
        {
            text.Append(CultureInfo.InvariantCulture,
                $"\n  {count} with {Describe(owner, id)}, last seen at {SiteName(site)}");
        }
        return text.ToString();
    }

    internal static string? Leaks(Mempool pool) =>
        pool.Objects().Any(item => MempoolObjectHeader.Of(item)->Owner != MbufOwner.Pool) ? Report(pool) : null;

    internal static void OnCreate(MempoolHeader* pool, nint item)
    {
        Poisoned(pool, item).Fill(Poison);
        *TrailerOf(pool, item) = Trailer;
    }

    /// <summary>After objects were taken: they must be as they were when put.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static void OnGet(MempoolHeader* pool, ref nint objects, uint count)
    {
        int site = Site();
        for (uint i = 0; i < count; i++)
        {
            nint item = Unsafe.Add(ref objects, i);
            MempoolObjectHeader* o = MempoolObjectHeader.Of(item);
            CheckCookies(pool, item);
            if (o->Owner != MbufOwner.Pool)
                throw Violation(pool, item, "is in the pool twice");
            if (Poisoned(pool, item).ContainsAnyExcept(Poison)
                || (pool->IsMbufPool != 0 && !IsClean((MbufHeader*)item)))
                throw Violation(pool, item, "was written after it was freed");
            o->Owner = MbufOwner.Application;
            o->OwnerId = Lcore.CurrentId;
            o->Site = site;
        }
    }

    /// <summary>Before objects are put.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static void OnPut(MempoolHeader* pool, ref nint objects, uint count)
    {
        int site = Site();
        for (uint i = 0; i < count; i++)
        {
            nint item = Unsafe.Add(ref objects, i);
            MempoolObjectHeader* o = MempoolObjectHeader.Of(item);
            CheckCookies(pool, item);
            if (o->Owner == MbufOwner.Pool)
                throw Violation(pool, item, "is freed twice");
            if (pool->IsMbufPool != 0 && !IsClean((MbufHeader*)item))
                throw Violation(pool, item, "is put back raw while it is shared, attached or in a chain");
            Poisoned(pool, item).Fill(Poison);
            o->Owner = MbufOwner.Pool;
            o->OwnerId = Lcore.CurrentId;
            o->LastFreeSite = o->Site = site;
        }
    }

    /// <summary>Before an mbuf's data is touched.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static void OnUse(MbufHeader* m)
    {
        if (MempoolObjectHeader.Of((nint)m)->Owner == MbufOwner.Pool)
            throw Violation((MempoolHeader*)m->Pool, (nint)m, "is used after it was freed");
    }

    private static bool IsClean(MbufHeader* m) => m->RefCnt == 1 && m->NbSegs == 1 && m->Next == null
        && (m->OlFlags & (MbufFlags.External | MbufFlags.Indirect)) == 0
        && m->BufAddr == (byte*)(m + 1) + ((MempoolHeader*)m->Pool)->PrivateBytes;

    private static void CheckCookies(MempoolHeader* pool, nint item)
    {
        MempoolObjectHeader* o = MempoolObjectHeader.Of(item);
        if (o->Cookie != MempoolObjectHeader.CookieValue || o->Pool != pool)
            throw Violation(pool, item, "is no object of this pool, or the bytes before it were overwritten");
        if (*TrailerOf(pool, item) != Trailer)
            throw Violation(pool, item, "was written beyond its end");
    }

    /// <summary>What is poisoned while free: an mbuf's buffer, or the whole of a raw object.</summary>
    private static Span<byte> Poisoned(MempoolHeader* pool, nint item)
    {
        int skip = pool->IsMbufPool != 0 ? sizeof(MbufHeader) + (int)pool->PrivateBytes : 0;
        return new((byte*)item + skip, (int)pool->ElementBytes - skip);
    }

    private static ulong* TrailerOf(MempoolHeader* pool, nint item) =>
        (ulong*)(item + (nint)MempoolLayout.RoundUp(pool->ElementBytes, 8));

    private static DataplaneException Violation(MempoolHeader* pool, nint item, string what)
    {
        MempoolObjectHeader* o = MempoolObjectHeader.Of(item);
        return new DataplaneException($"object 0x{item:x} of mempool '{MempoolHeader.NameOf(pool)}' {what}",
            $"now at {SiteName(Site())}; last owner {Describe(o->Owner, o->OwnerId)}, last seen at {SiteName(o->Site)}"
            + (o->LastFreeSite == 0 ? "" : $", last freed at {SiteName(o->LastFreeSite)}"));
    }

    private static string Describe(MbufOwner owner, int id) => owner switch
    {
        MbufOwner.Application => id == Lcore.NoId ? "the application (no lcore)" : $"the application on lcore {id}",
        MbufOwner.Pool => "the pool",
        _ => $"{(owner == MbufOwner.Device ? "device" : "ring")} {id}",
    };

    private static string SiteName(int site) => s_sites.GetValueOrDefault(site, "its creation");

    /// <summary>A number for the nearest callers outside this library.</summary>
    private static int Site()
    {
        var names = new List<string>(MaxFrames);
        foreach (StackFrame frame in new StackTrace(1, fNeedFileInfo: true).GetFrames())
        {
            DiagnosticMethodInfo? method = DiagnosticMethodInfo.Create(frame);
            if (method == null || (names.Count == 0 && method.DeclaringAssemblyName.StartsWith("Dataplane.Mempool,",
                StringComparison.Ordinal)))
                continue;
            int line = frame.GetFileLineNumber();
            string where = line == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $":{line}");
            names.Add($"{method.DeclaringTypeName}.{method.Name}{where}");
            if (names.Count == MaxFrames)
                break;
        }
        string name = string.Join(" < ", names);
        int id = s_siteIds.GetOrAdd(name, _ => Interlocked.Increment(ref s_lastSite));
        s_sites[id] = name;
        return id;
    }
}
