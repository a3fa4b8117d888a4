namespace Dataplane.Tests;

public sealed class MbufDynamicTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions());

    public void Dispose() => _eal.Dispose();

    [Fact]
    public void RegisterField_SameName_SamePlace()
    {
        MbufField<ulong> stamp = MbufDynamic.RegisterField<ulong>(_eal.Memory, "timestamp");
        Assert.Equal(stamp, MbufDynamic.RegisterField<ulong>(_eal.Memory, "timestamp"));
        Assert.Equal(0, stamp.Offset % 8);
        Assert.Equal(stamp.Offset, MbufDynamic.LookupField(_eal.Memory, "timestamp"));
        Assert.Equal(-1, MbufDynamic.LookupField(_eal.Memory, "other"));
        ConfigException e = Assert.Throws<ConfigException>(
            () => MbufDynamic.RegisterField<uint>(_eal.Memory, "timestamp"));
        Assert.Contains("8 bytes", e.Why);
    }

    [Fact]
    public void RegisterField_SmallOnes_LeaveTheBigPlacesFree()
    {
        Assert.Equal(92, MbufDynamic.RegisterField<uint>(_eal.Memory, "a").Offset);
        var places = new HashSet<int>();
        MbufDynamic.RegisterField<byte>(_eal.Memory, "b");
        MbufDynamic.RegisterField<ushort>(_eal.Memory, "c");
        for (int i = 0; i < 3; i++)
            Assert.True(places.Add(MbufDynamic.RegisterField<ulong>(_eal.Memory, "l" + i).Offset));
        Assert.Throws<ConfigException>(() => MbufDynamic.RegisterField<ulong>(_eal.Memory, "l3"));
        MbufDynamic.RegisterField<uint>(_eal.Memory, "d");
        MbufDynamic.RegisterField<byte>(_eal.Memory, "e");
        Assert.Throws<ConfigException>(() => MbufDynamic.RegisterField<byte>(_eal.Memory, "full"));
        Assert.Contains("field c: offset", MbufDynamic.Dump(_eal.Memory));
    }

    [Fact]
    public void RegisterField_AtAPlace_OnlyWhereFree()
    {
        Assert.Equal(100, MbufDynamic.RegisterField(_eal.Memory, "x", 4, 4, 100));
        Assert.Throws<ConfigException>(() => MbufDynamic.RegisterField(_eal.Memory, "y", 4, 2, 102));
        Assert.Throws<ConfigException>(() => MbufDynamic.RegisterField(_eal.Memory, "y", 4, 4, 88));
        Assert.Throws<ConfigException>(() => MbufDynamic.RegisterField(_eal.Memory, "y", 8, 8, 124));
        Assert.Throws<ConfigException>(() => MbufDynamic.RegisterField(_eal.Memory, "x", 4, 4, 104));
        Assert.Throws<ConfigException>(() => MbufDynamic.RegisterField(_eal.Memory, "y", 3, 3));
    }

    [Fact]
    public void RegisterFlag_AllEighteen_ThenNoMore()
    {
        MbufFlags all = 0;
        for (int i = 0; i < 18; i++)
            all |= MbufDynamic.RegisterFlag(_eal.Memory, "flag" + i);
        Assert.Equal((MbufFlags)0x1ffff800000, all);
        Assert.Equal((MbufFlags)(1ul << 23), MbufDynamic.RegisterFlag(_eal.Memory, "flag0"));
        Assert.Equal((MbufFlags)(1ul << 24), MbufDynamic.LookupFlag(_eal.Memory, "flag1"));
        Assert.Equal(MbufFlags.None, MbufDynamic.LookupFlag(_eal.Memory, "none"));
        Assert.Throws<ConfigException>(() => MbufDynamic.RegisterFlag(_eal.Memory, "more"));
        Assert.Throws<ConfigException>(() => MbufDynamic.RegisterFlag(_eal.Memory, "flag0", 30));
    }

    [Fact]
    public void Of_FieldOfAnMbuf_SurvivesReuseOfTheOthers()
    {
        using Mempool pool = Mempool.CreateMbufPool(_eal.Memory, "p", 4);
        MbufField<ulong> stamp = MbufDynamic.RegisterField<ulong>(_eal.Memory, "timestamp");
        Mbuf a = pool.Alloc(), b = pool.Alloc();
        stamp.Of(a) = 1;
        stamp.Of(b) = 2;
        Assert.Equal((1ul, 2ul), (stamp.Of(a), stamp.Of(b)));
        Assert.True(a.TryCopy(pool, 0, 0, out Mbuf copy));
        Assert.Equal(1ul, stamp.Of(copy));
        Mbuf.FreeBulk([a, b, copy]);
    }
}
