namespace Dataplane.Tests;

public class MbufTests
{
    [Fact]
    public void Alloc_FreshMbuf_IsEmptyWithHeadroom()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.CreateMbufPool(eal.Memory, "p", 8);
        Assert.True(pool.TryAlloc(out Mbuf m));
        Assert.Equal(Mbuf.DefaultHeadroom, m.Headroom);
        Assert.Equal(7, pool.AvailableCount);
        m.Free();
        Assert.Equal(8, pool.AvailableCount);
    }
}
