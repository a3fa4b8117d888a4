using System.Runtime.InteropServices;

namespace Dataplane.Tests;

public sealed unsafe class DmaContainerTests : IDisposable
{
    private const nuint Page = 4096;

    private readonly Memory _memory = Memory.Create(new EalOptions { NoHuge = true, MemoryMb = 1 });

    public void Dispose() => _memory.Dispose();

    [Fact]
    public void Open_FirstDevice_MapsAllMemoryOnceInOnePiece()
    {
        for (int i = 0; i < 3; i++)
            _memory.Malloc(5 << 20);   // grows: several memsegs, one behind the other
        Assert.True(_memory.Memsegs.Count > 2);
        using var container = new FakeContainer(_memory);
        container.Open(Device(0));
        container.Open(Device(1));
        DmaPiece piece = Assert.Single(container.Kernel);
        Assert.Equal(_memory.Memsegs[0].Address, piece.Address);
        Assert.Equal((nuint)_memory.Memsegs.Sum(m => (long)m.SizeBytes), piece.SizeBytes);
        Assert.Equal((ulong)piece.Address, piece.Iova.Value);
        Assert.Equal(piece.SizeBytes, container.MappedBytes);
        Assert.Equal(1, container.Maps);
    }

    [Fact]
    public void Malloc_WithADevice_MapsTheNewMemoryBeforeItIsUsed()
    {
        using var container = new FakeContainer(_memory);
        Assert.Equal(Iova.Bad, container.ToIova(_memory.Malloc(1)));
        container.Open(Device(0));
        void* block = _memory.Malloc(9 << 20);
        Assert.Equal((ulong)block, container.ToIova(block).Value);
        Assert.Equal(2, container.Kernel.Count);
        Assert.Equal(Iova.Bad, container.ToIova(&block));
    }

    [Fact]
    public void Malloc_MapRefused_FailsAndKeepsNothing()
    {
        using var container = new FakeContainer(_memory);
        container.Open(Device(0));
        container.RefuseMapsFrom = 1;
        Assert.Throws<DataplaneException>(() => _ = (nint)_memory.Malloc(9 << 20));
        Assert.Single(container.Kernel);
        container.RefuseMapsFrom = int.MaxValue;
        Assert.NotEqual(Iova.Bad, container.ToIova(_memory.Malloc(9 << 20)));
    }

    [Fact]
    public void Close_LastDevice_UnmapsAllAndTheNextMapsAgain()
    {
        using var container = new FakeContainer(_memory);
        PciFunction first = container.Open(Device(0)), second = container.Open(Device(1));
        first.Dispose();
        Assert.NotEmpty(container.Kernel);
        second.Dispose();
        second.Dispose();
        Assert.Empty(container.Kernel);
        _memory.Malloc(9 << 20);
        Assert.Empty(container.Kernel);
        container.Open(Device(0));
        Assert.Equal(_memory.Memsegs.Sum(m => (long)m.SizeBytes), (long)container.MappedBytes);
    }

    [Fact]
    public void Dispose_ADeviceThatFailsToClose_ClosesTheOthersAndTellsTheFirst()
    {
        var container = new FakeContainer(_memory) { RefuseClose = true };
        container.Open(Device(0));
        container.Open(Device(1));
        NativeException told = Assert.Throws<NativeException>(container.Dispose);
        Assert.Contains("planted 0000:00:00.0", told.Message, StringComparison.Ordinal);
        Assert.Equal(2, container.Calls.Count(call => call.StartsWith("close", StringComparison.Ordinal)));
        Assert.True(container.Closed);
    }

    [Fact]
    public void Dispose_DevicesOpen_ClosesThemAndUnmaps()
    {
        var container = new FakeContainer(_memory);
        container.Open(Device(0));
        container.Open(Device(1));
        container.Dispose();
        container.Dispose();
        Assert.True(container.Closed);
        Assert.Equal(4, container.Calls.Count);
        Assert.Throws<ObjectDisposedException>(() => container.Open(Device(0)));
        _memory.Malloc(9 << 20);
        Assert.Empty(container.Kernel);
    }

    [Fact]
    public void Open_MapRefused_ClosesTheDeviceAndUnmapsWhatWasMapped()
    {
        using var container = new FakeContainer(_memory) { RefuseMapsFrom = 1 };
        using OwnMemory own = new(Page);
        container.Map(own.Address, Page);
        Assert.Throws<NativeException>(() => container.Open(Device(0)));
        Assert.Empty(container.Kernel);
        Assert.Equal(["open 0000:00:00.0", "close 0000:00:00.0"], container.Calls);
        container.RefuseMapsFrom = int.MaxValue;
        container.Open(Device(0));
        Assert.Equal(2, container.Kernel.Count);
    }

    [Theory]
    [InlineData(32)]
    [InlineData(40)]
    [InlineData(64)]
    public void Open_FewAddressBits_PlacesMemoryBelow(int bits)
    {
        using var container = new FakeContainer(_memory) { Usable = [new(0, 0xfedfffff), new(0xfef00000, 1UL << 48)] };
        container.Open(Device(0), bits);
        void* block = _memory.Malloc(64);
        Assert.Equal(bits == 32, container.IovaDelta != 0);
        Assert.Equal(unchecked((ulong)block + container.IovaDelta), container.ToIova(block).Value);
        Assert.All(container.Kernel, piece => Assert.True(
            bits == 64 || piece.Iova.Value + piece.SizeBytes <= 1UL << bits));
        void* grown = _memory.Malloc(9 << 20);
        Assert.Equal(unchecked((ulong)grown + container.IovaDelta), container.ToIova(grown).Value);
    }

    [Fact]
    public void Open_MemoryThatFitsNowhere_SaysWhereItWouldHaveTo()
    {
        using var container = new FakeContainer(_memory);
        container.Usable = [new(0x10000, 0x1ffff), new(1UL << 40, 1UL << 48)];
        var e = Assert.Throws<DeviceException>(() => container.Open(Device(0), 32));
        Assert.Equal(Errno.ERANGE, e.Errno);
        Assert.Contains("0x10000-0x1ffff", e.Message, StringComparison.Ordinal);
        Assert.Empty(container.Functions);
    }

    [Fact]
    public void Malloc_GrowthOutOfTheDevicesReach_IsRefusedWithAReason()
    {
        using var container = new FakeContainer(_memory) { Usable = [new(0, (8 << 20) - 1)] };
        container.Open(Device(0));
        var e = Assert.Throws<DeviceException>(() => _ = (nint)_memory.Malloc(32 << 20));
        Assert.Contains("-m", e.Message, StringComparison.Ordinal);
        Assert.Single(container.Kernel);
    }

    [Fact]
    public void Open_SecondDeviceThatReachesLess_IsRefusedAndTheFirstStays()
    {
        using var container = new FakeContainer(_memory);
        container.Open(Device(0));
        Assert.False(container.Reaches(32));
        Assert.True(container.Reaches(40));
        Assert.Throws<DeviceException>(() => container.Open(Device(1), 32));
        container.Usable = [new(0, 0xfffff)];
        Assert.Throws<DeviceException>(() => container.Open(Device(2)));
        Assert.Single(container.Functions);
        Assert.Single(container.Kernel);
    }

    [Fact]
    public void Open_SecondDeviceWithFewerBits_BoundsLaterGrowth()
    {
        using var container = new FakeContainer(_memory);
        container.Open(Device(0));
        container.Open(Device(1), 40);
        Assert.Equal((1UL << 40) - 1, container.Ranges[0].Last);
    }

    [Fact]
    public void Map_AnApplicationsMemory_IsMappedUntilUnmapped()
    {
        using OwnMemory own = new(4 * Page), other = new(Page);
        using var container = new FakeContainer(_memory);
        container.Map(own.Address, 4 * Page);
        Assert.Empty(container.Kernel);
        container.Open(Device(0));
        container.Map(other.Address, Page);
        Assert.Equal(3, container.Kernel.Count);
        Assert.Equal((ulong)other.Address, container.ToIova(other.Address).Value);
        container.Unmap(other.Address, Page);
        Assert.Equal(Iova.Bad, container.ToIova(other.Address));
        Assert.Equal(2, container.Kernel.Count);
    }

    [Fact]
    public void Map_OverlapMisalignmentOrNothing_IsRefused()
    {
        using OwnMemory own = new(4 * Page);
        using var container = new FakeContainer(_memory);
        container.Open(Device(0));
        container.Map(own.Address + Page, 2 * Page);
        Assert.Equal(Errno.EEXIST, Refused(own.Address, 2 * Page));
        Assert.Equal(Errno.EEXIST, Refused(own.Address + 2 * Page, Page));
        Assert.Equal(Errno.EEXIST, Refused((byte*)_memory.Memsegs[0].Address, Page));
        Assert.Equal(Errno.EINVAL, Refused(own.Address + 1, Page));
        Assert.Equal(Errno.EINVAL, Refused(own.Address, Page + 1));
        Assert.Equal(Errno.EINVAL, Refused(own.Address, 0));
        Assert.Equal(Errno.EINVAL, Refused(null, Page));
        container.Map(own.Address, Page);
        Assert.Throws<DataplaneException>(() => container.Unmap(own.Address, 2 * Page));
        Assert.Throws<DataplaneException>(() => container.Unmap((byte*)_memory.Memsegs[0].Address, Page));
        container.Unmap(own.Address + Page, 2 * Page);

        Errno Refused(byte* address, nuint bytes) =>
            Assert.Throws<DataplaneException>(() => container.Map(address, bytes)).Errno;
    }

    [Fact]
    public void MemoryDispose_DeviceStillOpen_UnmapsFirst()
    {
        Memory memory = Memory.Create(new EalOptions { NoHuge = true, MemoryMb = 1 });
        using var container = new FakeContainer(memory);
        container.Open(Device(0));
        memory.Dispose();
        Assert.Empty(container.Kernel);
    }

    [Fact]
    public void Open_WithoutAnIommu_NeedsPhysicalAddressesTheDeviceReaches()
    {
        using var without = new FakeContainer(_memory, IommuBackend.NoIommu);
        var e = Assert.Throws<ConfigException>(() => without.Open(Device(0)));
        Assert.Contains("--unsafe-noiommu", e.Message, StringComparison.Ordinal);

        // ordinary pages stand in for hugepages: the fake source says where they are
        using Memory physical = Memory.Create(new MemoryConfig { NoHuge = true, TotalBytes = 1 << 20,
            PhysicalAddresses = true }, new ScatteredSource("dma", 4));
        using var container = new FakeContainer(physical, IommuBackend.NoIommu);
        void* block = physical.Malloc(64);
        container.Open(Device(0));
        Assert.Equal(physical.ToIova(block), container.ToIova(block));
        Assert.NotEqual((ulong)block, container.ToIova(block).Value);
        Assert.Empty(container.Kernel);
        Assert.False(container.Reaches(32));
        Assert.Throws<DeviceException>(() => container.Open(Device(1), 32));   // they lie around 1 TB
    }

    private static PciDevice Device(byte number) => new()
    {
        Address = new(0, number, 0, 0), Vendor = 0x8086, Device = 0x10c9, SysfsPath = "/sys",
    };

    /// <summary>Memory that is no memory of ours.</summary>
    private sealed class OwnMemory(nuint sizeBytes) : IDisposable
    {
        internal byte* Address { get; } = (byte*)NativeMemory.AlignedAlloc(sizeBytes, Page);

        public void Dispose() => NativeMemory.AlignedFree(Address);
    }
}
