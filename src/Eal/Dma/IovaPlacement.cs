namespace Dataplane;

/// <summary>
/// Finds the one number that, added to every address of our memory, gives I/O addresses inside the usable ranges. One
/// number for all: the data path adds it to a pointer and looks nothing up (<see cref="DmaContainer.IovaDelta"/>).
/// </summary>
internal static class IovaPlacement
{
    // Largest first: an IOMMU uses a large page only where address and I/O address agree in its low bits.
    private static readonly ulong[] s_alignments = [1 << 30, 2 << 20, 0];

    /// <summary>Finds it: 0 where that will do, else where most room is left above to grow.</summary>
    /// <param name="pieces">All memory there is; not empty.</param>
    /// <param name="limits">The usable ranges.</param>
    /// <param name="delta">What to add, modulo 2^64.</param>
    /// <returns>False when there is no such number.</returns>
    internal static bool TryFind(IReadOnlyList<DmaPiece> pieces, DmaLimits limits, out ulong delta)
    {
        delta = 0;
        if (RoomAbove(pieces, limits, 0) != null)
            return true;
        foreach (ulong alignment in s_alignments)
        {
            ulong? best = null;
            foreach (ulong candidate in Candidates(pieces, limits,
                Math.Max(alignment, Math.Max(limits.PageSizes & (~limits.PageSizes + 1), 1))))
                if (RoomAbove(pieces, limits, candidate) is { } room && !(room <= best))
                    (best, delta) = (room, candidate);
            if (best != null)
                return true;
        }
        return false;
    }

    // The least number that fits lets some piece begin where some range does, or, rounded up, just behind.
    private static IEnumerable<ulong> Candidates(IReadOnlyList<DmaPiece> pieces, DmaLimits limits, ulong alignment)
    {
        foreach (IovaRange range in limits.Ranges)
            foreach (DmaPiece piece in pieces)
                yield return unchecked((range.First - piece.Address + alignment - 1) & ~(alignment - 1));
    }

    // Bytes between the highest piece and the end of its range; null when a piece does not fit.
    private static ulong? RoomAbove(IReadOnlyList<DmaPiece> pieces, DmaLimits limits, ulong delta)
    {
        ulong top = 0;
        foreach (DmaPiece piece in pieces)
        {
            ulong iova = unchecked(piece.Address + delta);
            if (!limits.Contains(iova, piece.SizeBytes))
                return null;
            top = Math.Max(top, iova + piece.SizeBytes - 1);
        }
        return limits.Ranges.First(range => range.Contains(top, 1)).Last - top;
    }
}
