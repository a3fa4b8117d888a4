using System.Runtime.InteropServices;
using Dataplane.Native;
using Dataplane.Pmd;

namespace Dataplane.Tests;

public sealed unsafe class PmdAfXdpTests
{
    [Theory]
    [InlineData(0u, 8u, 1)]
    [InlineData(uint.MaxValue - 5, 8u, 2)]      // over the end of 2^32
    [InlineData(0x7fff_fff0u, 64u, 3)]
    public void Rings_RandomSteps_DoAsAQueueDoes(uint start, uint size, int seed)
    {
        using var ring = new FakeRing(start, size);
        var random = new Random(seed);
        var producer = new XdpProducer(ring.Map);
        var consumer = new XdpConsumer(ring.Map);
        var model = new Queue<ulong>();
        ulong next = 1;
        for (int step = 0; step < 10_000; step++)
        {
            uint wanted = (uint)random.Next(1, (int)size + 1);
            if (random.Next(2) == 0)
            {
                uint free = producer.Free(wanted);
                Assert.InRange(free, Math.Min(wanted, size - (uint)model.Count), size - (uint)model.Count);
                uint count = Math.Min(free, wanted);
                for (uint i = 0; i < count; i++)
                {
                    *producer.Address(i) = next;
                    model.Enqueue(next++);
                }
                producer.Publish(count);
                Assert.Equal((uint)model.Count, producer.Untaken);
            }
            else
            {
                Assert.Equal((uint)model.Count, consumer.Count);
                uint ready = consumer.Ready(wanted);
                Assert.InRange(ready, Math.Min(wanted, (uint)model.Count), (uint)model.Count);
                uint count = Math.Min(ready, wanted);
                for (uint i = 0; i < count; i++)
                    Assert.Equal(model.Dequeue(), consumer.Address(i));
                consumer.Release(count);
            }
        }
    }

    [Fact]
    public void Producer_FlagSet_WantsToBeWoken()
    {
        using var ring = new FakeRing(0, 8);
        var producer = new XdpProducer(ring.Map);
        Assert.False(producer.NeedsWakeup);
        *ring.Map.Flags = IfXdp.XDP_RING_NEED_WAKEUP;
        Assert.True(producer.NeedsWakeup);
    }

    [Fact]
    public void Producer_Published_IsFoundFromTheBack()
    {
        using var ring = new FakeRing(uint.MaxValue - 1, 4);
        var producer = new XdpProducer(ring.Map);
        for (uint i = 0; i < 3; i++)
            producer.Descriptor(i)->len = 100 + i;
        producer.Publish(3);
        Assert.Equal([100u, 101u, 102u], [producer.Published(3)->len, producer.Published(2)->len,
            producer.Published(1)->len]);
    }

    /// <summary>As llvm-mc writes them: r2 = *(u32 *)(r1 + 16); r1 = map 77 ll; r3 = 2; call 51; exit.</summary>
    [Fact]
    public void Program_Built_IsTheseBytes()
    {
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(XdpProgram.Build(77).Instructions);
        Assert.Equal("6112100000000000" + "18110000" + "4D000000" + "0000000000000000" + "B703000002000000"
            + "8500000033000000" + "9500000000000000", Convert.ToHexString(bytes));
    }

    [Fact]
    public void Options_Given_AreRead()
    {
        AfXdpOptions options = AfXdpOptions.Parse(DevArgs.Parse("net_af_xdp0,iface=eth0,start_queue=2,queue_count=3,"
            + "shared_umem=1,busy_budget=0,force_copy=1,mode=skb,use_pinned_map=1,dp_path=/x/map,attach=netlink"));
        Assert.Equal(new AfXdpOptions
        {
            Interface = "eth0", StartQueue = 2, QueueCount = 3, SharedUmem = true, BusyBudget = 0, ForceCopy = true,
            Mode = XdpMode.Generic, Source = XdpSource.PinnedMap, Path = "/x/map", ByNetlink = true,
        }, options);
    }

    [Fact]
    public void Options_Defaults_AreDpdks()
    {
        AfXdpOptions options = AfXdpOptions.Parse(DevArgs.Parse("net_af_xdp0,iface=eth0,use_cni=1"));
        Assert.Equal((64, false, XdpMode.Auto, XdpSource.Socket, "/tmp/afxdp_dp/eth0/afxdp.sock"),
            (options.BusyBudget, options.ForceCopy, options.Mode, options.Source, options.Path));
        Assert.Equal("/tmp/afxdp_dp/e1/xsks_map",
            AfXdpOptions.Parse(DevArgs.Parse("net_af_xdp0,iface=e1,use_pinned_map=1")).Path);
    }

    [Theory]
    [InlineData(2048, 0)]
    [InlineData(2176, 64)]
    [InlineData(9216, 0)]
    public void Umem_EveryMbuf_IsFoundAgainByItsChunk(int dataRoom, int privateBytes)
    {
        using var eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        using var pool = Mempool.CreateMbufPool(eal.Memory, "umem", 500, cacheSize: 0, privateBytes, dataRoom);
        var umem = new Umem("test", eal.Memory, pool);
        using var ledger = new UmemLedger(umem);
        xdp_umem_reg told = umem.Registration;
        Assert.Equal((0ul, (uint)Math.Min(dataRoom, Environment.SystemPageSize)),
            (told.addr % (ulong)Environment.SystemPageSize, told.chunk_size));
        foreach (nint item in pool.Objects())
        {
            var mbuf = (MbufHeader*)item;
            ulong chunk = umem.ChunkOf(mbuf);
            Assert.Equal((ulong)mbuf->BufAddr, told.addr + chunk);
            Assert.InRange(chunk + told.chunk_size, 0ul, told.len);
            Assert.Equal(item, (nint)umem.MbufOf(chunk));
            Assert.False(ledger.TryTake(chunk));    // no other mbuf's place is this one's
            Assert.True(ledger.TryGive(chunk));
        }
        foreach (nint item in pool.Objects())
        {
            ulong chunk = umem.ChunkOf((MbufHeader*)item);
            Assert.True(ledger.TryTake(chunk));
            Assert.False(ledger.TryTake(chunk));
        }
        Assert.False(ledger.TryTake(told.len + (1ul << 40)));
    }

    [Fact]
    public void Ledger_FreeAll_FreesEachAsOftenAsItWasGiven()
    {
        using var eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        using var pool = Mempool.CreateMbufPool(eal.Memory, "umem", 50, cacheSize: 0);
        var umem = new Umem("test", eal.Memory, pool);
        using var ledger = new UmemLedger(umem);
        Mbuf once = pool.Alloc(), thrice = pool.Alloc(), held = pool.Alloc();
        thrice.AddReferences(2);
        held.AddReferences(1);
        foreach (Mbuf mbuf in new[] { once, thrice, thrice, thrice, held })
            Assert.True(ledger.TryGive(umem.ChunkOf(mbuf.Header)));
        ledger.FreeAll();
        Assert.Equal((49, 1), (pool.AvailableCount, held.ReferenceCount));
        held.Free();
    }

    [Fact]
    public void Umem_SmallDataRoom_IsRefused()
    {
        using var eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        using var pool = Mempool.CreateMbufPool(eal.Memory, "small", 50, cacheSize: 0, dataRoomBytes: 2047);
        Assert.Contains("2048", Assert.Throws<ConfigException>(() => new Umem("test", eal.Memory, pool)).Fix,
            StringComparison.Ordinal);
    }

    private sealed class FakeRing : IDisposable
    {
        private readonly byte* _memory;

        internal FakeRing(uint start, uint size)
        {
            _memory = (byte*)NativeMemory.AllocZeroed(256 + size * (nuint)sizeof(xdp_desc));
            Map = new XdpRingMap(_memory,
                new xdp_ring_offset { producer = 0, consumer = 64, flags = 128, desc = 192 }, size);
            *Map.Producer = *Map.Consumer = start;
        }

        internal XdpRingMap Map { get; }

        public void Dispose() => NativeMemory.Free(_memory);
    }
}
