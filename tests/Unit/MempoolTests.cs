using System.Numerics;

namespace Dataplane.Tests;

public unsafe class MempoolTests
{
    private static readonly string[] s_handlers =
        ["ring_mp_mc", "ring_sp_sc", "ring_mp_sc", "ring_sp_mc", "ring_mt_rts", "ring_mt_hts", "stack", "lf_stack"];

    public static TheoryData<string> Handlers => new(s_handlers);

    [Theory, MemberData(nameof(Handlers))]
    public void GetPut_EveryHandler_EachObjectOnceThenFalse(string handler)
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 100, 40, cacheSize: 16, handler: handler);
        using var lcore = new MempoolAsLcore(3);
        var seen = new HashSet<nint>();
        while (pool.TryGet(out nint item))
            Assert.True(seen.Add(item));
        Assert.Equal(100, seen.Count);
        Assert.Equal(0, pool.AvailableCount);
        Assert.Equal(new HashSet<nint>(pool.Objects()), seen);
        foreach (nint item in seen)
            pool.Put(item);
        Assert.Equal(100, pool.AvailableCount);
        pool.Audit();
    }

    [Theory]
    [InlineData(3, 1)]
    [InlineData(6, 2)]
    [InlineData(8, 4)]
    public void Create_ChannelsAndRanksGiven_SpreadsOverThem(int channels, int ranks)
    {
        using Eal eal = Eal.Initialize(new EalOptions { NoHuge = true, MemoryChannels = channels,
            MemoryRanks = ranks });
        using Mempool pool = Mempool.Create(eal.Memory, "spread", 16, elementBytes: 64 * 12 - 72);
        Assert.Equal(1, BigInteger.GreatestCommonDivisor(pool.StrideBytes / 64, channels * ranks));
    }

    [Fact]
    public void TryGetBulk_MoreThanThereAre_TakesNothingAndCounts()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 20, 8, cacheSize: 16);
        using var lcore = new MempoolAsLcore(0);
        nint[] some = new nint[5], many = new nint[16];
        Assert.True(pool.TryGetBulk(some));
        Assert.Equal(15, pool.AvailableCount);
        Assert.False(pool.TryGetBulk(many));
        Assert.All(many, item => Assert.Equal(0, item));
        Assert.Equal(15, pool.AvailableCount);
        Assert.Equal(1ul, pool.GetStats(0).FailedGets);
        Assert.Equal(16ul, pool.GetStats(0).FailedObjects);
        Assert.Equal(5ul, pool.GetStats().GetObjects);
        pool.PutBulk(some);
        pool.Audit();
    }

    [Fact]
    public void Bulk_OfNothing_ChangesNothing()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 8, 8, cacheSize: 8);
        foreach (int id in new[] { Lcore.NoId, 0 })
        {
            using var lcore = new MempoolAsLcore(id);
            Assert.True(pool.TryGetBulk([]));
            pool.PutBulk([]);
            Assert.Equal(8, pool.AvailableCount);
        }
    }

    [Theory]
    [InlineData(1), InlineData(8), InlineData(1500), InlineData(1920), InlineData(2048), InlineData(4096 - 128)]
    public void Layout_AnyElement_StrideIsNoPowerOfTwoAndGoesRoundAllChannels(int elementBytes)
    {
        foreach ((int channels, int ranks) in new[] { (0, 0), (1, 1), (2, 1), (3, 2), (4, 1), (6, 2), (8, 4), (12, 1) })
        {
            MempoolLayout layout = MempoolLayout.For((uint)elementBytes, MempoolFlags.None, channels, ranks);
            Assert.False(BitOperations.IsPow2(layout.StrideBytes));
            Assert.True(layout.StrideBytes >= layout.HeaderBytes + elementBytes + MempoolLayout.TrailerBytes);
            if (channels != 0)
                Assert.Equal(1, BigInteger.GreatestCommonDivisor(layout.StrideBytes / 64, channels * ranks));
        }
    }

    [Fact]
    public void Create_Defaults_ObjectsAreOnLinesOfTheirOwnAndKnowTheirIova()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 50, 100);
        nint previous = 0;
        foreach (nint item in pool.Objects())
        {
            Assert.Equal(0, item % 64);
            Assert.Equal(eal.Memory.ToIova((void*)item), Mempool.GetIova(item));
            Assert.True(previous == 0 || Math.Abs(item - previous) >= pool.StrideBytes);
            previous = item;
        }
        Assert.False(BitOperations.IsPow2(pool.StrideBytes));
    }

    [Fact]
    public void Create_NoCacheAlign_PacksObjectsCloser()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool close = Mempool.Create(eal.Memory, "c", 10, 8, flags: MempoolFlags.NoCacheAlign);
        Assert.Equal(MempoolObjectHeader.SizeBytes + 8 + 8, close.StrideBytes);
        Assert.All(close.Objects(), item => Assert.Equal(0, item % 8));
        close.Audit();
    }

    [Fact]
    public void Create_ImpossibleValues_SayWhatAndWhy()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        Memory m = eal.Memory;
        Assert.Contains("1 to 25", Throws(() => Mempool.Create(m, "", 1, 1)).Why);
        Assert.Contains("1 to 25", Throws(() => Mempool.Create(m, new string('x', 26), 1, 1)).Why);
        Assert.Contains("2^30", Throws(() => Mempool.Create(m, "p", 0, 1)).Why);
        Assert.Contains("at least 1", Throws(() => Mempool.Create(m, "p", 1, 0)).Why);
        Assert.Contains("0 to 512", Throws(() => Mempool.Create(m, "p", 1000, 8, cacheSize: 513)).Why);
        Assert.Contains("10 objects", Throws(() => Mempool.Create(m, "p", 10, 8, cacheSize: 11)).Why);
        Assert.Contains("ring_mt_hts", Throws(() => Mempool.Create(m, "p", 10, 8, handler: "bucket")).Why);
        Assert.Contains("multiple of 8", Throws(() => Mempool.CreateMbufPool(m, "p", 10, privateBytes: 4)).Why);
        Assert.Contains("65,535", Throws(() => Mempool.CreateMbufPool(m, "p", 10, dataRoomBytes: 65536)).Why);
        Assert.Null(Mempool.Lookup(m, "p"));
    }

    [Fact]
    public void Create_NameTaken_FailsAndLeavesTheFirstAlone()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 8, 8);
        Assert.Throws<DataplaneException>(() => Mempool.Create(eal.Memory, "p", 8, 8));
        Assert.True(pool.TryGet(out nint item));
        pool.Put(item);
        pool.Audit();
    }

    [Fact]
    public void Lookup_ByName_FindsTheSamePoolUntilDisposed()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        Mempool pool = Mempool.Create(eal.Memory, "p", 8, 24, handler: "ring_mt_hts");
        Mempool found = Mempool.Lookup(eal.Memory, "p")!;
        Assert.Equal((pool.Name, pool.Count, pool.ElementBytes, pool.Kind),
            (found.Name, found.Count, found.ElementBytes, found.Kind));
        Assert.True(found.TryGet(out _));
        Assert.Equal(7, pool.AvailableCount);
        pool.Dispose();
        Assert.Null(Mempool.Lookup(eal.Memory, "p"));
        using Mempool again = Mempool.Create(eal.Memory, "p", 8, 24);
    }

    [Fact]
    public void Audit_PutTwice_IsFound()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 8, 8, cacheSize: 8);
        using var lcore = new MempoolAsLcore(0);
        Span<nint> two = stackalloc nint[2];
        Assert.True(pool.TryGetBulk(two));
        pool.Put(two[0]);
        pool.Put(two[0]);
        Assert.Contains("put twice", Assert.Throws<DataplaneException>(pool.Audit).Why);
    }

    [Fact]
    public void Audit_HeaderOverwritten_IsFound()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 8, 8);
        MempoolObjectHeader.Of(pool.Objects().Skip(3).First())->Cookie++;
        Assert.Contains("overwritten", Assert.Throws<DataplaneException>(pool.Audit).Why);
    }

    [Fact]
    public void GetBulk_Exhausted_ShowsTheSizingFormulaWithNumbers()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "small", 100, 8, cacheSize: 32);
        using var lcore = new MempoolAsLcore(1);
        pool.GetBulk(new nint[90]);
        DataplaneException e = Assert.Throws<DataplaneException>(() => pool.GetBulk(new nint[11]));
        Assert.Equal(Errno.ENOBUFS, e.Errno);
        Assert.Contains("90 of 100 objects are out", e.Why);
        Assert.Contains("rx + tx + 1 x (32 + 2 x 32) + held = rx + tx + held + 96", e.Why);
        Assert.Equal(1024 + 2048 + (4 * (256 + 64)) + 7, Mempool.RecommendCount(1024, 2048, 4, 256, 32, 7));
    }

    private static ConfigException Throws(Func<Mempool> create) => Assert.Throws<ConfigException>(create);

    [Fact]
    public void Create_NameOfAnotherPoolAndANumber_IsAnotherPool()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.Create(eal.Memory, "p", 4, 8), first = Mempool.Create(eal.Memory, "p_0", 4, 8);
        Assert.Equal("p_0", Mempool.Lookup(eal.Memory, "p_0")?.Name);
    }

    [Fact]
    public void Dispose_AfterTheEal_DoesNothing()
    {
        Eal eal = Eal.Initialize(new EalOptions());
        Mempool pool = Mempool.Create(eal.Memory, "p", 4, 8);
        MempoolCache cache = pool.CreateCache(2);
        eal.Dispose();
        cache.Dispose();
        pool.Dispose();
        Assert.Null(Mempool.Lookup(eal.Memory, "p"));
    }

    [Fact]
    public void Get_AfterDispose_ThrowsAndTouchesNoMemory()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        Mempool pool = Mempool.Create(eal.Memory, "p", 4, 8);
        pool.Dispose();
        pool.Dispose();
        Assert.Throws<NullReferenceException>(() => pool.TryGet(out _));
    }
}
