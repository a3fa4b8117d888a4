using System.Runtime.InteropServices;

namespace Dataplane.Tests;

public sealed unsafe class MemoryTests
{
    private static Memory Ordinary(int mb = 1) => Memory.Create(new EalOptions { NoHuge = true, MemoryMb = mb });

    [Fact]
    public void Zmalloc_AfterDirtyFree_IsZero()
    {
        using Memory memory = Ordinary();
        byte* first = (byte*)memory.Malloc(5000);
        new Span<byte>(first, 5000).Fill(0xa5);
        memory.Free(first);
        byte* second = (byte*)memory.Zmalloc(300_000);
        Assert.Equal(-1, new ReadOnlySpan<byte>(second, 300_000).IndexOfAnyExcept((byte)0));
        memory.Validate();
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(100, 64)]
    [InlineData(64, 128)]
    [InlineData(1000, 4096)]
    [InlineData(3, 2 << 20)]
    public void Malloc_AnyAlignment_IsAlignedAndInside(int size, int align)
    {
        using Memory memory = Ordinary();
        void* block = memory.Malloc((nuint)size, (nuint)align);
        Assert.Equal(0u, (nuint)block % (nuint)Math.Max(align, 64));
        Assert.Equal((nuint)size, memory.SizeOf(block));
        Assert.Equal(new Iova((ulong)block), memory.ToIova(block));
        memory.Validate();
    }

    [Fact]
    public void Malloc_MoreThanTakenAtStart_Grows()
    {
        using Memory memory = Ordinary();
        var seen = new Recorder();
        memory.Watch(seen);
        byte* block = (byte*)memory.Zmalloc(20 << 20);
        block[(20 << 20) - 1] = 1;
        Assert.Equal(2, seen.Added.Count);
        Assert.Equal(memory.Memsegs, seen.Added);
        Assert.Equal(seen.Added[0].Address + seen.Added[0].SizeBytes, seen.Added[1].Address);
        Assert.Equal((long)seen.Added[0].SizeBytes, seen.Added[1].FdOffset);
        memory.Dispose();
        Assert.Equal(seen.Added, seen.Removed);
    }

    [Fact]
    public void Watch_Refusal_FailsTheAllocationAndTakesNothing()
    {
        using Memory memory = Ordinary();
        var first = new Recorder();
        memory.Watch(first);
        memory.Watch(new Recorder { RefuseFrom = 1 });
        var thrown = Assert.Throws<DataplaneException>(() => _ = (nint)memory.Malloc(20 << 20));
        Assert.Equal("refused", thrown.What);
        Assert.Single(memory.Memsegs);
        Assert.Equal(first.Added[1], Assert.Single(first.Removed));
        memory.Validate();
    }

    [Fact]
    public void Realloc_GrowAndShrink_KeepsContents()
    {
        using Memory memory = Ordinary();
        byte* block = (byte*)memory.Malloc(1000);
        for (int i = 0; i < 1000; i++)
            block[i] = (byte)i;
        void* wall = memory.Malloc(64);
        byte* larger = (byte*)memory.Realloc(block, 100_000);
        Assert.True(larger != block);
        byte* smaller = (byte*)memory.Realloc(larger, 500);
        Assert.True(smaller == larger);
        for (int i = 0; i < 500; i++)
            Assert.Equal((byte)i, smaller[i]);
        Assert.True(memory.Realloc(smaller, 0) == null);
        memory.Free(wall);
        Assert.Equal(1u, Assert.Single(memory.GetHeapStats()).FreeCount);
        memory.Validate();
    }

    [Fact]
    public void Free_Twice_Throws()
    {
        using Memory memory = Ordinary();
        void* a = memory.Malloc(64);
        void* b = memory.Malloc(64);
        memory.Free(a);
        memory.Free(b);
        Assert.Contains("freed before", Assert.Throws<DataplaneException>(() => memory.Free(a)).Message,
            StringComparison.Ordinal);
        Assert.Contains("freed before", Assert.Throws<DataplaneException>(() => memory.Free(b)).Message,
            StringComparison.Ordinal);
        memory.Validate();
    }

    [Fact]
    public void Free_ForeignPointer_Throws()
    {
        using Memory memory = Ordinary();
        byte* block = (byte*)memory.Zmalloc(640);
        void* foreign = NativeMemory.Alloc(64);
        Assert.Equal(Errno.EINVAL, Assert.Throws<DataplaneException>(() => memory.Free(foreign)).Errno);
        Assert.Throws<DataplaneException>(() => memory.Free(block + 1));
        Assert.Throws<DataplaneException>(() => memory.Free(block + 64));
        Assert.Equal(Iova.Bad, memory.ToIova(foreign));
        NativeMemory.Free(foreign);
        memory.Validate();
    }

    [Fact]
    public void Validate_OverrunBlock_NamesIt()
    {
        using Memory memory = Ordinary();
        byte* block = (byte*)memory.Malloc(64);
        _ = memory.Malloc(64);
        block[64] ^= 1;
        var thrown = Assert.Throws<DataplaneException>(memory.Validate);
        Assert.Contains($"0x{(nuint)block:x}", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Memzone_ReserveLookupFree_Works()
    {
        using Memory memory = Ordinary();
        Memzone zone = memory.ReserveMemzone("a zone", 10_000, 0, 4096);
        Assert.Same(zone, memory.LookupMemzone("a zone"));
        Assert.Equal(0u, (nuint)zone.Address % 4096);
        Assert.Equal(Errno.EEXIST, Assert.Throws<DataplaneException>(() => memory.ReserveMemzone("a zone", 1)).Errno);
        Assert.Same(zone, Assert.Single(memory.Memzones));
        memory.FreeMemzone(zone);
        Assert.Null(memory.LookupMemzone("a zone"));
        Assert.Throws<DataplaneException>(() => memory.FreeMemzone(zone));
        Memzone again = memory.ReserveMemzone("a zone", 10);
        Assert.Throws<DataplaneException>(() => memory.FreeMemzone(zone));
        memory.FreeMemzone(again);
        Assert.Equal(0u, Assert.Single(memory.GetHeapStats()).BusyCount);
    }

    [Theory]
    [InlineData("")]
    [InlineData("12345678901234567890123456789012")]
    [InlineData("äöüäöüäöüäöüäöüä")]
    public void Memzone_BadName_Throws(string name)
    {
        using Memory memory = Ordinary();
        Assert.Equal(Errno.EINVAL, Assert.Throws<DataplaneException>(() => memory.ReserveMemzone(name, 1)).Errno);
    }

    [Fact]
    public void Memzone_Bound_IsNotCrossed()
    {
        using Memory memory = Ordinary();
        for (int i = 0; i < 50; i++)
        {
            Memzone zone = memory.ReserveMemzone($"z{i}", 3000, boundBytes: 4096);
            Assert.True((nuint)zone.Address % 4096 + 3000 <= 4096);
        }
        Assert.Throws<DataplaneException>(() => memory.ReserveMemzone("wide", 5000, boundBytes: 4096));
        memory.Validate();
    }

    [Fact]
    public void Memzone_TooMany_Throws()
    {
        using Memory memory = Ordinary();
        for (int i = 0; i < 2560; i++)
            memory.ReserveMemzone($"z{i}", 1);
        Assert.Equal(Errno.ENOSPC, Assert.Throws<DataplaneException>(() => memory.ReserveMemzone("one more", 1)).Errno);
    }

    [Fact]
    public void Malloc_UnknownNode_SaysWhichThereAre()
    {
        using Memory memory = Ordinary();
        var thrown = Assert.Throws<DataplaneException>(() => _ = (nint)memory.Malloc(1, 64, 77));
        Assert.Contains("node 0", thrown.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Malloc_MoreThanTheMachineHas_ThrowsEnomem()
    {
        using Memory memory = Ordinary();
        var thrown = Assert.Throws<DataplaneException>(() => _ = (nint)memory.Malloc((nuint)1 << 45));
        Assert.Equal(Errno.ENOMEM, thrown.Errno);
        Assert.Throws<DataplaneException>(() => _ = (nint)memory.Malloc(nuint.MaxValue - 5));
        memory.Validate();
    }

    [Fact]
    public void Create_MoreThanTheMachineHas_ThrowsBeforeTaking() =>
        Assert.Equal(Errno.ENOMEM, Assert.Throws<DataplaneException>(() => Ordinary(int.MaxValue)).Errno);

    [Fact]
    public void Create_TwoInOneProcess_ShareNothing()
    {
        using Memory first = Ordinary();
        using Memory second = Ordinary();
        void* a = first.Malloc(64);
        Assert.Equal(Iova.Bad, second.ToIova(a));
        Assert.Throws<DataplaneException>(() => second.Free(a));
    }

    [Fact]
    public void Create_BaseVirtAddr_IsWhereMemoryIs()
    {
        using Memory memory = Memory.Create(new EalOptions { NoHuge = true, MemoryMb = 1,
            BaseVirtAddr = 0x5000_1234_5000 });
        Assert.Equal(0x5000_1300_0000ul, memory.BaseAddress);
    }

    [Fact]
    public void Dump_EverythingUsed_NamesIt()
    {
        using Memory memory = Ordinary();
        memory.ReserveMemzone("my zone", 100);
        var text = new StringWriter();
        memory.Dump(text);
        Assert.Contains("memzone my zone 0x", text.ToString(), StringComparison.Ordinal);
        Assert.Contains("4K pages, node 0", text.ToString(), StringComparison.Ordinal);
        Assert.Contains("in 1,", text.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Dispose_WithBlocksOut_IsQuietAndRepeatable()
    {
        Memory memory = Ordinary();
        void* block = memory.Malloc(64);
        Memzone zone = memory.ReserveMemzone("z", 64);
        memory.Dispose();
        memory.Dispose();
        memory.Free(block);
        memory.FreeMemzone(zone);
        Assert.Throws<ObjectDisposedException>(() => _ = (nint)memory.Malloc(1));
    }

    private sealed class Recorder : IMemsegWatcher
    {
        internal int RefuseFrom { get; init; } = int.MaxValue;

        internal List<Memseg> Added { get; } = [];

        internal List<Memseg> Removed { get; } = [];

        public void MemsegAdded(Memseg memseg)
        {
            if (Added.Count >= RefuseFrom)
                throw new DataplaneException("refused");
            Added.Add(memseg);
        }

        public void MemsegRemoved(Memseg memseg) => Removed.Add(memseg);
    }
}
