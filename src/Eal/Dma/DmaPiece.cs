namespace Dataplane;

/// <summary>A stretch of memory as a container maps it: in one go, and unmapped in one go.</summary>
/// <param name="Address">First byte, a multiple of the ordinary page.</param>
/// <param name="SizeBytes">Length, a multiple of the ordinary page.</param>
/// <param name="Iova">Where devices of the container see it.</param>
/// <param name="Fd">The file it is a shared mapping of, or -1 for an application's own memory.</param>
/// <param name="FdOffset">Where in that file it begins, bytes.</param>
public readonly record struct DmaPiece(nuint Address, nuint SizeBytes, Iova Iova, int Fd = -1, long FdOffset = 0)
{
    /// <summary>First byte after it.</summary>
    internal nuint End => Address + SizeBytes;

    /// <summary>Whether a stretch shares a byte with it.</summary>
    internal bool Overlaps(nuint address, nuint sizeBytes) => address < End && Address < address + sizeBytes;

    /// <summary>Memsegs as few pieces as they make: neighbours in addresses and in one file are one.</summary>
    internal static List<DmaPiece> Merge(IEnumerable<Memseg> memsegs)
    {
        var pieces = new List<DmaPiece>();
        foreach (Memseg m in memsegs.OrderBy(memseg => memseg.Address))
        {
            DmaPiece last = pieces.Count > 0 ? pieces[^1] : default;
            if (pieces.Count > 0 && last.End == m.Address && last.Fd == m.Fd
                && last.FdOffset + (long)last.SizeBytes == m.FdOffset)
                pieces[^1] = last with { SizeBytes = last.SizeBytes + m.SizeBytes };
            else
                pieces.Add(new(m.Address, m.SizeBytes, Iova.Bad, m.Fd, m.FdOffset));
        }
        return pieces;
    }
}

/// <summary>What an IOMMU and the devices behind it leave to map.</summary>
/// <param name="Ranges">Usable I/O addresses, ascending.</param>
/// <param name="PageSizes">Page sizes of the IOMMU as a mask, as far as its interface says; the lowest is the alignment
/// of every mapping.</param>
internal readonly record struct DmaLimits(IReadOnlyList<IovaRange> Ranges, ulong PageSizes)
{
    /// <summary>Everything, in ordinary pages.</summary>
    internal static DmaLimits None => new([new(0, ulong.MaxValue)], PageSource.OrdinaryPageSize);

    /// <summary>The part a device with so many address bits reaches. Never address 0, which devices and drivers take
    /// for "none".</summary>
    internal DmaLimits Clip(int addressBits)
    {
        ulong most = addressBits >= 64 ? ulong.MaxValue : (1UL << addressBits) - 1;
        ulong least = Math.Max(1, PageSizes & (~PageSizes + 1));
        return this with
        {
            Ranges = [.. Ranges.Select(range => new IovaRange(Math.Max(range.First, least), Math.Min(range.Last, most)))
                .Where(range => range.First < range.Last)],
        };
    }

    /// <summary>Whether all of a stretch may be mapped there.</summary>
    internal bool Contains(ulong iova, ulong sizeBytes)
    {
        foreach (IovaRange range in Ranges)
            if (range.Contains(iova, sizeBytes))
                return true;
        return false;
    }

    /// <inheritdoc/>
    public override string ToString() => Ranges.Count == 0 ? "none" : string.Join(", ", Ranges);
}
