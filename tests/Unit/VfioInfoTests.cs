using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Tests;

/// <summary>Chains of capabilities behind VFIO's info structs, honest and hostile.</summary>
public class VfioInfoTests
{
    private const int FixedBytes = 32;   // vfio_region_info

    [Fact]
    public void Get_AnHonestChain_FindsEachCapability()
    {
        var chain = new Chain();
        chain.Add(Vfio.VFIO_REGION_INFO_CAP_SPARSE_MMAP, [2, 0, 0, 0, 0, 0, 0, 0,
            .. MemoryMarshal.AsBytes<ulong>([0x1000, 0x2000, 0x8000, 0x1000])]);
        chain.Add(Vfio.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, []);
        VfioInfo<vfio_region_info> info = chain.Info();

        Assert.True(info.Has(Vfio.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE));
        Assert.False(info.Has(Vfio.VFIO_REGION_INFO_CAP_TYPE));
        Assert.Equal(2u, info.Get<vfio_region_info_cap_sparse_mmap>(1)!.Value.nr_areas);
        vfio_region_sparse_mmap_area[] areas = Areas(info)!;
        Assert.Equal([(0x1000ul, 0x2000ul), (0x8000ul, 0x1000ul)], areas.Select(area => (area.offset, area.size)));
    }

    [Fact]
    public void Get_NoChain_IsNothing()
    {
        var info = new VfioInfo<vfio_region_info>(default, new byte[FixedBytes], 0);
        Assert.False(info.Has(1));
        Assert.Null(info.Get<vfio_region_info_cap_sparse_mmap>(1));
        Assert.Null(Areas(info));
    }

    [Theory]
    [InlineData(8u)]            // inside the struct itself
    [InlineData(31u)]
    [InlineData(65u)]           // half of the header outside
    [InlineData(72u)]
    [InlineData(0x7fffffffu)]
    [InlineData(0xfffffff8u)]   // would be negative as an int
    public void Has_FirstCapabilityOutOfPlace_IsAnError(uint first)
    {
        var info = new VfioInfo<vfio_region_info>(default, new byte[72], first);
        Assert.Equal(Errno.EBADMSG, Assert.Throws<NativeException>(() => info.Has(1)).Errno);
    }

    [Theory]
    [InlineData(32u)]           // itself
    [InlineData(33u)]           // inside itself
    [InlineData(39u)]
    [InlineData(4u)]            // before the chain
    [InlineData(0xffffffffu)]
    public void Has_ALoopOrAWildNext_IsAnErrorAndEnds(uint next)
    {
        byte[] bytes = new byte[72];
        MemoryMarshal.Write(bytes.AsSpan(32), new vfio_info_cap_header { id = 7, version = 1, next = next });
        var info = new VfioInfo<vfio_region_info>(default, bytes, 32);
        Assert.True(info.Has(7));
        Assert.Throws<NativeException>(() => info.Has(1));
    }

    [Fact]
    public void Has_TwoThatPointAtEachOther_Ends()
    {
        byte[] bytes = new byte[72];
        MemoryMarshal.Write(bytes.AsSpan(32), new vfio_info_cap_header { id = 7, next = 48 });
        MemoryMarshal.Write(bytes.AsSpan(48), new vfio_info_cap_header { id = 8, next = 32 });
        Assert.Throws<NativeException>(() => new VfioInfo<vfio_region_info>(default, bytes, 32).Has(1));
    }

    [Theory]
    [InlineData(3u)]
    [InlineData(0x10000000u)]   // times 16 is 0 in 32 bits
    [InlineData(uint.MaxValue)]
    public void GetArray_MoreItemsThanBytes_IsAnError(uint count)
    {
        byte[] bytes = new byte[32 + 16 + 2 * 16];
        MemoryMarshal.Write(bytes.AsSpan(32), new vfio_region_info_cap_sparse_mmap
        {
            header = new() { id = 1, version = 1 }, nr_areas = count,
        });
        var info = new VfioInfo<vfio_region_info>(default, bytes, 32);
        Assert.Contains("items", Assert.Throws<NativeException>(() => Areas(info)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Get_CapabilityCutOff_IsAnError()
    {
        byte[] bytes = new byte[32 + 12];
        MemoryMarshal.Write(bytes.AsSpan(32), new vfio_info_cap_header { id = 1 });
        var info = new VfioInfo<vfio_region_info>(default, bytes, 32);
        Assert.True(info.Has(1));
        Assert.Throws<NativeException>(() => info.Get<vfio_region_info_cap_sparse_mmap>(1));
        Assert.Throws<NativeException>(() => Areas(info));
    }

    [Fact]
    public void Has_RandomBytes_NeverHangsOrReadsOutside()
    {
        var random = new Random(3);
        for (int round = 0; round < 20_000; round++)
        {
            byte[] bytes = new byte[32 + random.Next(100)];
            random.NextBytes(bytes);
            for (int at = 36; at + 4 <= bytes.Length; at += 8)   // mostly plausible nexts, so that chains get long
                MemoryMarshal.Write(bytes.AsSpan(at), random.Next(bytes.Length + 4));
            var info = new VfioInfo<vfio_region_info>(default, bytes, (uint)random.Next(bytes.Length + 4));
            try
            {
                info.Has((ushort)random.Next(4));
                Areas(info);
            }
            catch (NativeException e)
            {
                Assert.Equal(Errno.EBADMSG, e.Errno);
            }
        }
    }

    [Fact]
    public void Limits_OfAType1Container_AreItsRangesAndPages()
    {
        var chain = new Chain { FixedSize = 24 };
        chain.Add(Vfio.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, new byte[24]);
        chain.Add(Vfio.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, [2, 0, 0, 0, 0, 0, 0, 0,
            .. MemoryMarshal.AsBytes<ulong>([0xfef0_0000, (1ul << 39) - 1, 0, 0xfedf_ffff])]);
        byte[] bytes = chain.Bytes();
        var info = new vfio_iommu_type1_info
        {
            flags = Vfio.VFIO_IOMMU_INFO_PGSIZES | Vfio.VFIO_IOMMU_INFO_CAPS, iova_pgsizes = 0x40201000,
            cap_offset = 24,
        };
        DmaLimits limits = VfioContainer.Limits(new(info, bytes, 24));
        Assert.Equal([new(0, 0xfedf_ffff), new(0xfef0_0000, (1ul << 39) - 1)], limits.Ranges);
        Assert.Equal(0x40201000ul, limits.PageSizes);

        DmaLimits unknown = VfioContainer.Limits(new(default, new byte[24], 0));
        Assert.Equal([new(0, ulong.MaxValue)], unknown.Ranges);
        Assert.Equal(4096ul, unknown.PageSizes);
    }

    private static vfio_region_sparse_mmap_area[]? Areas(VfioInfo<vfio_region_info> info) =>
        info.GetArray<vfio_region_info_cap_sparse_mmap, vfio_region_sparse_mmap_area>(
            Vfio.VFIO_REGION_INFO_CAP_SPARSE_MMAP, capability => capability.nr_areas);

    /// <summary>A chain as the kernel makes it: each behind the one before.</summary>
    private sealed class Chain
    {
        private readonly List<(ushort Id, byte[] Body)> _capabilities = [];

        internal int FixedSize { get; init; } = FixedBytes;

        internal void Add(ushort id, byte[] rest) => _capabilities.Add((id, rest));

        internal byte[] Bytes()
        {
            var bytes = new List<byte>(new byte[FixedSize]);
            for (int i = 0; i < _capabilities.Count; i++)
            {
                (ushort id, byte[] rest) = _capabilities[i];
                byte[] header = new byte[8];
                MemoryMarshal.Write(header, new vfio_info_cap_header
                {
                    id = id, version = 1,
                    next = i + 1 < _capabilities.Count ? (uint)(bytes.Count + 8 + rest.Length) : 0,
                });
                bytes.AddRange(header);
                bytes.AddRange(rest);
            }
            return [.. bytes];
        }

        internal VfioInfo<vfio_region_info> Info() => new(default, Bytes(), (uint)FixedSize);
    }
}
