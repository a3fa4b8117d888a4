namespace Dataplane.Tests;

/// <summary>Devices opened through VFIO's groups, for real: type1 behind the IOMMU.</summary>
[Guest(Machines.Intel)]
public sealed class VfioTests : IDisposable
{
    // 8086:10c9 and 10d3, Intel 82576 and 82574 datasheets: device status, and the interrupt registers.
    private static RoReg32 Status => new(0x0008);
    private readonly Eal _eal = Eal.Initialize(new EalOptions
    {
        MemoryMb = 64, IommuBackend = IommuBackend.Type1, Lcores = [new(0, CpuSet.Of(0))],
    });

    public void Dispose() => _eal.Dispose();

    public static TheoryData<string, ushort> Models => new()
    {
        { "igb", 0x10c9 }, { "e1000e", 0x10d3 }, { "virtio", 0x1041 }, { "virtio-packed", 0x1041 },
    };

    [Theory]
    [MemberData(nameof(Models))]
    public unsafe void Open_ABoundNic_GivesItsConfigurationAndMapsAllMemory(string model, ushort id)
    {
        using PciFunction function = Open(Guest.Pair(model).First);
        Assert.Equal("type1", function.Container.Backend);
        Assert.Equal(id, function.ReadConfig16(2));
        Assert.Equal(0, function.ReadConfig16(4) & 4);   // bus mastering is off
        function.SetBusMaster(true);
        Assert.Equal(4, function.ReadConfig16(4) & 4);
        foreach (Memseg memseg in _eal.Memory.Memsegs)
            Assert.Equal(memseg.Address + function.Container.IovaDelta,
                function.Container.ToIova((void*)memseg.Address).Value);
        Assert.NotEmpty(function.Container.Ranges);
        Assert.Equal(1u << 12, (uint)(function.Container.PageSizes & 0xffff));
    }

    [Fact]
    public void MapBar_OfAnIgb_ReadsRegistersThatReadBarReads()
    {
        using PciFunction function = Open(Guest.Pair("igb").First);
        Mmio registers = function.MapBar(0);
        Assert.Equal(function.BarSizeBytes(0), registers.SizeBytes);
        Span<byte> bytes = stackalloc byte[4];
        function.ReadBar(0, Status.Offset, bytes);
        Assert.Equal(BitConverter.ToUInt32(bytes), registers.Read(Status));
        Assert.NotEqual(0u, registers.Read(Status));
        Assert.True(function.Reset());
    }

    private PciFunction Open(string address) =>
        _eal.Dma.Open(_eal.Pci.Devices.Single(device => device.Address == PciAddress.Parse(address)));
}
