using FsCheck;
using FsCheck.Fluent;

namespace Dataplane.Tests;

public class DmaPlacementTests
{
    private const ulong Page = 4096;

    // A world of 64 pages, small enough to try every number there is.
    [Fact]
    public void TryFind_AnyWorldOf64Pages_FindsANumberExactlyWhenThereIsOne()
    {
        int found = 0, none = 0;
        Prop.ForAll<byte[], byte[]>((gaps, sizes) => ++(Check(gaps, sizes) ? ref found : ref none) > 0)
            .Check(Config.QuickThrowOnFailure.WithMaxTest(2000));
        Assert.True(found > 100 && none > 100, $"the worlds are too easy or too hard: {found} and {none}");
    }

    private static bool Check(byte[] gaps, byte[] sizes)
    {
        List<DmaPiece> pieces = [];
        List<IovaRange> ranges = [];
        ulong at = 0x1_0000_0000, free = 0;
        for (int i = 0; i < Math.Min(gaps.Length, sizes.Length); i++)
        {
            ulong gap = gaps[i] % 8u * Page, size = (1 + sizes[i] % 7u) * Page;
            if (i % 2 == 0 && at - 0x1_0000_0000 < 32 * Page)
                pieces.Add(Piece(at += gap, size));
            else if (free < 64 * Page)
                ranges.Add(new(free + gap, free + gap + size * 2 - 1));
            at += i % 2 == 0 ? size : 0;
            free += i % 2 == 0 ? 0 : gap + size * 2 + Page;
        }
        if (pieces.Count == 0)
            pieces.Add(Piece(0x1_0000_0000, Page));
        DmaLimits limits = new DmaLimits(ranges, Page).Clip(64);
        bool possible = Enumerable.Range(-64, 192)
            .Any(page => Fits(unchecked((ulong)(page * (long)Page) - 0x1_0000_0000)));
        Assert.Equal(possible, IovaPlacement.TryFind(pieces, limits, out ulong delta));
        Assert.True(!possible || Fits(delta));
        return possible;

        bool Fits(ulong candidate) => pieces.TrueForAll(piece => limits.Ranges.Any(range =>
            range.Contains(unchecked(piece.Address + candidate), piece.SizeBytes)));
    }

    [Fact]
    public void TryFind_AddressesThatFit_LeavesThemAlone() =>
        Assert.Equal(0ul, Find([Piece(0x1_0000_0000, 0x200000)], [new(0, ulong.MaxValue)]));

    [Fact]
    public void TryFind_RoomForLargePages_KeepsTheLowBits()
    {
        ulong delta = Find([Piece(0x1_0020_0000, 0x400000)], [new(0x1000, 0xfedfffff)]);
        Assert.Equal(0ul, delta % (1 << 30));
        delta = Find([Piece(0x1_0020_0000, 0x400000)], [new(0x50001000, 0x50ffffff)]);
        Assert.Equal(0ul, delta % (2 << 20));
    }

    [Fact]
    public void TryFind_TwoRanges_TakesTheOneWithRoomToGrow()
    {
        ulong delta = Find([Piece(0x1_0000_0000, 0x200000)],
            [new(0x200000, 0x5fffff), new(0x1000000, 0xffffffff)]);
        Assert.True(unchecked(0x1_0000_0000 + delta) >= 0x1000000);
    }

    [Fact]
    public void TryFind_PiecesOnBothSidesOfAReservedRange_AreKeptOutOfIt()
    {
        DmaPiece[] pieces = [Piece(0x1_0000_0000, 0x100000), Piece(0x1_4000_0000, 0x100000)];
        DmaLimits limits = new([new(0x1000, 0x1fffffff), new(0x30000000, 0x5fffffff)], Page);
        Assert.True(IovaPlacement.TryFind(pieces, limits, out ulong delta));
        Assert.All(pieces, piece => Assert.True(limits.Contains(unchecked(piece.Address + delta), piece.SizeBytes)));
    }

    [Fact]
    public void Clip_AnyRange_NeverHasAddressZero()
    {
        Assert.Equal([new IovaRange(4096, 0xffffffff)], new DmaLimits([new(0, ulong.MaxValue)], Page).Clip(32).Ranges);
        Assert.Empty(new DmaLimits([new(1UL << 33, 1UL << 34)], Page).Clip(32).Ranges);
    }

    private static DmaPiece Piece(ulong address, ulong sizeBytes) => new((nuint)address, (nuint)sizeBytes, Iova.Bad);

    private static ulong Find(DmaPiece[] pieces, IovaRange[] ranges)
    {
        Assert.True(IovaPlacement.TryFind(pieces, new(ranges, Page), out ulong delta));
        return delta;
    }
}
