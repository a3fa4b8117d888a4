using System.Buffers.Binary;
using Dataplane.Native;

namespace Dataplane;

internal sealed partial class VfioPciFunction
{
    private const int BarCount = 6;

    // PCI Local Bus 3.0 §6.8.2: MSI-X, its message control and its table's BAR and offset.
    private const byte MsiXCapability = 0x11;
    private const int MsiXControl = 2, MsiXTable = 4, MsiXEntryBytes = 16;

    private readonly VfioBar?[] _bars = new VfioBar?[BarCount];
    private readonly VfioInfo<vfio_region_info>?[] _regions = new VfioInfo<vfio_region_info>?[BarCount];

    /// <inheritdoc/>
    public override ulong BarSizeBytes(int bar) => Region(bar).Fixed.size;

    /// <inheritdoc/>
    public override Mmio MapBar(int bar)
    {
        if (_bars[bar] is { } mapped)
            return mapped.Registers;
        VfioInfo<vfio_region_info> region = Region(bar);
        if (region.Fixed.size == 0)
            throw new DeviceException($"{Device} has no BAR {bar}", errno: Errno.ENODEV);
        if ((region.Fixed.flags & Vfio.VFIO_REGION_INFO_FLAG_MMAP) == 0)
            throw new DeviceException($"BAR {bar} of {Device} cannot be mapped",
                "it holds I/O ports, or shares a page with another device", "use ReadBar and WriteBar",
                errno: Errno.ENODEV);
        return (_bars[bar] = new VfioBar(_device, bar, region.Fixed, MappableAreas(bar, region))).Registers;
    }

    /// <inheritdoc/>
    public override void ReadBar(int bar, ulong offset, Span<byte> bytes) =>
        Transfer(false, Region(bar).Fixed, offset, bytes, $"BAR {bar}");

    /// <inheritdoc/>
    public override unsafe void WriteBar(int bar, ulong offset, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* first = bytes)
            Transfer(true, Region(bar).Fixed, offset, new(first, bytes.Length), $"BAR {bar}");
    }

    private VfioInfo<vfio_region_info> Region(int bar)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)bar, (uint)BarCount, nameof(bar));
        ObjectDisposedException.ThrowIf(_disposed, this);
        return _regions[bar] ??= Vfio.GetRegionInfo(_device, Vfio.VFIO_PCI_BAR0_REGION_INDEX + (uint)bar);
    }

    private List<BarArea> MappableAreas(int bar, VfioInfo<vfio_region_info> region)
    {
        BarArea[]? sparse = region.GetArray<vfio_region_info_cap_sparse_mmap, vfio_region_sparse_mmap_area>(
            Vfio.VFIO_REGION_INFO_CAP_SPARSE_MMAP, capability => capability.nr_areas)
            ?.Select(area => new BarArea(area.offset, area.size)).ToArray();
        BarArea? table = region.Has(Vfio.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE) ? null : MsiXTableIn(bar);
        return VfioBar.Mappable(region.Fixed.size, sparse, table);
    }

    // Kernels before 4.16 refuse to map it; what is written there does not reach the kernel's own table.
    private BarArea? MsiXTableIn(int bar)
    {
        int place = FindCapability(MsiXCapability);
        if (place == 0)
            return null;
        Span<byte> bytes = stackalloc byte[8];
        ReadConfig(place, bytes);
        int entries = (BinaryPrimitives.ReadUInt16LittleEndian(bytes[MsiXControl..]) & 0x7ff) + 1;
        uint table = BinaryPrimitives.ReadUInt32LittleEndian(bytes[MsiXTable..]);
        return (table & 7) == bar ? new(table & ~7u, (ulong)(entries * MsiXEntryBytes)) : null;
    }

    private void UnmapBars()
    {
        foreach (VfioBar? bar in _bars)
            bar?.Dispose();
        Array.Clear(_bars);
    }
}
