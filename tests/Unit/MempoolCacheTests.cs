using FsCheck;
using FsCheck.Fluent;

namespace Dataplane.Tests;

public class MempoolCacheTests
{
    /// <summary>The algorithm in its plainest form: lengths of cache and backend.</summary>
    private sealed class Model(int size, int backend)
    {
        public int Length { get; private set; }
        public int Backend { get; private set; } = backend;

        public bool Get(int n)
        {
            int rest = n - Length;
            if (rest <= 0)
                Length -= n;
            else if (rest <= size / 2 && Backend >= size / 2)
                (Length, Backend) = ((size / 2) - rest, Backend - (size / 2));
            else if (Backend >= rest)
                (Length, Backend) = (0, Backend - rest);
            else
                return false;
            return true;
        }

        public void Put(int n)
        {
            if (Length + n <= size)
                Length += n;
            else if (n <= size / 2)
                (Length, Backend) = (Length - (size / 2) + n, Backend + (size / 2));
            else
                Backend += n;
        }
    }

    [Fact]
    public void GetPut_AnySequence_CacheAndBackendAreAsTheModelSays()
    {
        Gen<(int, int[])> runs = from size in Gen.Choose(1, 64)
                                 from steps in Gen.Choose(-40, 40).ArrayOf(60)
                                 select (size, steps);
        Prop.ForAll(runs.ToArbitrary(), run => Agrees(run.Item1, run.Item2)).QuickCheckThrowOnFailure();
    }

    private static bool Agrees(int size, int[] steps)
    {
        const int Count = 150;
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", Count, 8, cacheSize: 0);
        using MempoolCache cache = pool.CreateCache(size);
        var model = new Model(size, Count);
        var held = new List<nint>();
        foreach (int step in steps)
        {
            if (step >= 0)
            {
                var got = new nint[step];
                Assert.Equal(model.Get(step), pool.TryGetBulk(got, cache));
                held.AddRange(got.Where(item => item != 0));
            }
            else
            {
                int n = Math.Min(-step, held.Count);
                pool.PutBulk(held.GetRange(held.Count - n, n).ToArray(), cache);
                held.RemoveRange(held.Count - n, n);
                model.Put(n);
            }
            Assert.Equal(model.Length, cache.Length);
            Assert.Equal(Count - held.Count, pool.AvailableCount);
            Assert.Equal(held.Count, held.Distinct().Count());
        }
        pool.Audit();
        return true;
    }

    [Fact]
    public void Put_Overflow_FlushesTheOldestHalf()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 16, 8, cacheSize: 0);
        using MempoolCache cache = pool.CreateCache(4);
        var all = new nint[16];
        Assert.True(pool.TryGetBulk(all));
        foreach (nint item in all[..5])
            pool.PutBulk([item], cache);
        Assert.Equal(3, cache.Length);
        var behind = new nint[2];
        Assert.True(pool.TryGetBulk(behind));
        Assert.Equal(all[..2], behind);
        Assert.True(pool.TryGetBulk(behind.AsSpan(0, 1), cache));
        Assert.Equal(all[4], behind[0]);
    }

    [Fact]
    public void Dispose_CacheWithObjects_GivesThemBackAndKeepsItsCounts()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 16, 8, cacheSize: 0);
        MempoolCache first = pool.CreateCache(8), second = pool.CreateCache(8);
        var one = new nint[1];
        Assert.True(pool.TryGetBulk(one, first));
        Assert.True(pool.TryGetBulk(one.AsSpan(), second));
        Assert.Equal((3, 3), (first.Length, second.Length));
        Assert.Equal(14, pool.AvailableCount);
        first.Dispose();
        first.Dispose();
        second.Flush();
        Assert.Equal(0, second.Length);
        second.Dispose();
        Assert.Equal(14, pool.AvailableCount);
        Assert.Equal(2ul, pool.GetStats().GetObjects);
        pool.ResetStats();
        Assert.Equal(default, pool.GetStats());
    }

    [Theory]
    [InlineData(0), InlineData(513), InlineData(17)]
    public void CreateCache_SizeOutOfRange_IsRefused(int size)
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 16, 8);
        Assert.Throws<ConfigException>(() => pool.CreateCache(size));
    }

    [Fact]
    public void GetPut_ManyThreads_NothingIsLostOrDoubled()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 1000, 16, cacheSize: 64);
        var threads = new List<Thread>();
        for (int t = 0; t < 4; t++)
        {
            int id = t - 1;     // the first is no lcore
            threads.Add(new Thread(() => GetAndPut(pool, id, 20_000)));
        }
        threads.ForEach(t => t.Start());
        threads.ForEach(t => t.Join());
        Assert.Equal(1000, pool.AvailableCount);
        pool.Audit();
        MempoolStats stats = pool.GetStats();
        Assert.Equal(stats.GetObjects, stats.PutObjects);
    }

    private static unsafe void GetAndPut(Mempool pool, int id, int rounds)
    {
        using var lcore = new MempoolAsLcore(id);
        var random = new Random(id);
        var objects = new nint[100];
        for (int i = 0; i < rounds; i++)
        {
            Span<nint> some = objects.AsSpan(0, random.Next(1, 100));
            if (!pool.TryGetBulk(some))
                continue;
            foreach (nint item in some)
                *(int*)item = id;
            foreach (nint item in some)
                if (*(int*)item != id)
                    throw new InvalidOperationException("two threads have one object");
            pool.PutBulk(some);
        }
    }

    [Theory]
    [InlineData("ring_mp_mc"), InlineData("stack"), InlineData("lf_stack")]
    public void Get_TooFewInCacheAndBackend_LeavesTheCacheAndClearsTheSpan(string handler)
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 6, 8, cacheSize: 0, handler: handler);
        using MempoolCache cache = pool.CreateCache(4);
        var one = new nint[1];
        var behind = new nint[3];
        Assert.True(pool.TryGetBulk(one, cache));      // 1 in the cache, 4 behind it
        Assert.True(pool.TryGetBulk(behind));          // 1 behind it
        var three = new nint[3];
        Assert.False(pool.TryGetBulk(three, cache));   // half a cache is too much, and 2 are too
        Assert.Equal(new nint[3], three);
        pool.Audit();
        Assert.Equal((1, 2), (cache.Length, pool.AvailableCount));
        pool.PutBulk(one, cache);
        pool.PutBulk(behind);
        Assert.Equal(6, pool.AvailableCount);
    }

    [Fact]
    public unsafe void Put_RelaxedTailBehindASleepingGet_LosesNothing()
    {
        const int Count = 8;
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", Count, 8, cacheSize: 0, handler: "ring_mt_rts");
        var ring = (RingHeader*)pool.Header->Backend;
        // A thread that sleeps in its get: the tail stays where it is until it leaves.
        Assert.Equal(1u, RtsSync.Claim(&ring->Consumer, &ring->Producer, 0, 1, RingClaim.Bulk, out uint head, out _));
        var rest = new nint[Count - 1];
        Assert.True(pool.TryGetBulk(rest));
        pool.PutBulk(rest);
        nint slept = 0;
        RingCore.CopyOut(ring, head, ref slept, 1);
        RtsSync.Publish(&ring->Consumer, head, 1);
        pool.Put(slept);
        Assert.Equal(Count, pool.AvailableCount);
        pool.Audit();
    }
}
