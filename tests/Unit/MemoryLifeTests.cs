namespace Dataplane.Tests;

/// <summary>Nothing taken is kept: after failures, over many cycles, and while physical addresses are
/// scattered.</summary>
public sealed unsafe class MemoryLifeTests
{
    private static int FilesOpen(string prefix) => Directory.EnumerateFiles("/proc/self/fd")
        .Count(fd => new FileInfo(fd).LinkTarget?.Contains($":{prefix}:", StringComparison.Ordinal) == true);

    private static int Mappings(string prefix) => File.ReadLines("/proc/self/maps")
        .Count(line => line.Contains($":{prefix}:", StringComparison.Ordinal));

    [Fact]
    public void Create_FailureAtAnyStep_GivesEverythingBack()
    {
        var config = new MemoryConfig { NoHuge = true, TotalBytes = 1 << 20 };
        int failures = 0;
        for (int failAt = 1; ; failAt++)
        {
            var source = new FailingSource("failing", failAt);
            try
            {
                Memory.Create(config, source).Dispose();
            }
            catch (DataplaneException)
            {
                failures++;
            }
            Assert.True(source.Disposed && source.AllFilesClosed && source.Reserved == 0, $"step {failAt}");
            if (!source.Failed)
                break;
        }
        Assert.Equal(11, failures);
        Assert.Equal(0, FilesOpen("failing"));
        Assert.Equal(0, Mappings("failing"));
    }

    [Fact]
    public void Malloc_GrowthFailsAtAnyStep_LeavesTheHeapWhole()
    {
        for (int failAt = 12; failAt < 16; failAt++)
        {
            var source = new FailingSource("growing", failAt);
            using Memory memory = Memory.Create(new MemoryConfig { NoHuge = true, TotalBytes = 1 << 20 }, source);
            Assert.Equal(Errno.ENOMEM, Assert.Throws<DataplaneException>(() => _ = (nint)memory.Malloc(8 << 20)).Errno);
            Assert.True(source.Failed);
            source.Healed = true;
            Assert.Single(memory.Memsegs);
            memory.Validate();
            new Span<byte>(memory.Malloc(8 << 20), 8 << 20).Fill(1);
            Assert.Equal(2, memory.Memsegs.Count);
            memory.Validate();
        }
    }

    [Fact]
    public void CreateDispose_ThousandTimes_LeaksNothing()
    {
        const ulong Base = 0x6000_0000_0000;
        var options = new EalOptions { NoHuge = true, MemoryMb = 1, BaseVirtAddr = Base, FilePrefix = "cycling" };
        for (int i = 0; i < 1000; i++)
        {
            using Memory memory = Memory.Create(options);
            Assert.Equal(Base, memory.BaseAddress);   // taken again, so it was given back
            memory.ReserveMemzone("zone", 100_000);
        }
        Assert.Equal(0, FilesOpen("cycling"));
        Assert.Equal(0, Mappings("cycling"));
        Assert.DoesNotContain(File.ReadLines("/proc/self/maps"),
            line => line.StartsWith("6000", StringComparison.Ordinal));
    }

    [Fact]
    public void ToIova_Physical_FollowsThePages()
    {
        var config = new MemoryConfig { NoHuge = true, TotalBytes = 1 << 20, PhysicalAddresses = true };
        using Memory memory = Memory.Create(config, new ScatteredSource("pa", 3));
        byte* block = (byte*)memory.Malloc(3 * 4096, 4096);
        var iovas = Enumerable.Range(0, 3).Select(i => memory.ToIova((byte*)block + i * 4096 + 5).Value).ToArray();
        Assert.All(iovas, iova => Assert.Equal(5u, iova % 4096));
        nuint base_ = memory.Memsegs[0].Address;
        for (int i = 0; i < 3; i++)
        {
            ulong page = ((nuint)block - base_) / 4096 + (ulong)i;
            Assert.Equal((1UL << 40) - page / 3 * 1024 * 4096 + page % 3 * 4096 + 5, iovas[i]);
        }
    }

    [Fact]
    public void Memzone_IovaContiguous_LiesInOneRun()
    {
        var config = new MemoryConfig { NoHuge = true, TotalBytes = 1 << 20, PhysicalAddresses = true };
        using Memory memory = Memory.Create(config, new ScatteredSource("pa", 4));
        for (int i = 0; i < 10; i++)
        {
            Memzone zone = memory.ReserveMemzone($"z{i}", 9000, iovaContiguous: true);
            for (int at = 0; at < 9000; at++)
                Assert.Equal(zone.Iova.Value + (ulong)at, memory.ToIova((byte*)zone.Address + at).Value);
        }
        Assert.Throws<DataplaneException>(() => memory.ReserveMemzone("beyond a run", 5 * 4096, iovaContiguous: true));
        memory.Validate();
    }

    [Fact]
    public void MallocFree_FourThreads_KeepTheHeapWhole()
    {
        using Memory memory = Memory.Create(new EalOptions { NoHuge = true, MemoryMb = 2 });
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, thread =>
        {
            var random = new Random(thread);
            nint[] blocks = new nint[32];
            for (int i = 0; i < 2000; i++)
            {
                ref nint block = ref blocks[random.Next(32)];
                memory.Free((void*)block);
                block = (nint)memory.Malloc((nuint)random.Next(1, 3000));
            }
            foreach (nint block in blocks)
                memory.Free((void*)block);
        });
        memory.Validate();
        Assert.Equal(1u, Assert.Single(memory.GetHeapStats()).FreeCount);
    }
}
