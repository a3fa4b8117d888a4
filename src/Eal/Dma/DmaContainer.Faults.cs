using System.Globalization;

namespace Dataplane;

public abstract unsafe partial class DmaContainer
{
    private long _faults;

    /// <summary>
    /// DMA of its functions that the IOMMU stopped, as far as the kernel logged it (it limits the rate) and this
    /// process may read its log. Any thread.
    /// </summary>
    public long Faults => Volatile.Read(ref _faults);

    internal void CountFault() => Interlocked.Increment(ref _faults);

    /// <summary>What is at an I/O address, in words.</summary>
    /// <param name="iova">The address.</param>
    /// <param name="mapped">Whether it is mapped here.</param>
    internal string Where(ulong iova, out bool mapped)
    {
        DmaPiece[] pieces = [.. Pieces.OrderBy(piece => piece.Iova.Value)];
        DmaPiece at = Array.Find(pieces, piece => iova - piece.Iova.Value < piece.SizeBytes);
        mapped = at.SizeBytes != 0;
        if (mapped)
            return $"mapped for {Name(at.Address + (nuint)(iova - at.Iova.Value))}";
        if (pieces.Length == 0)
            return "not mapped: nothing is";
        DmaPiece before = Array.FindLast(pieces, piece => piece.Iova.Value < iova);
        DmaPiece after = Array.Find(pieces, piece => piece.Iova.Value > iova);
        bool isBehind = before.SizeBytes != 0 && (after.SizeBytes == 0
            || iova - Last(before) < after.Iova.Value - iova);
        DmaPiece nearest = isBehind ? before : after;
        ulong distance = isBehind ? iova - Last(before) - 1 : after.Iova.Value - iova;
        return string.Create(CultureInfo.InvariantCulture, $"not mapped: 0x{distance:x} bytes {(isBehind ? "behind"
            : "before")} the nearest that is, 0x{nearest.Iova.Value:x} to 0x{Last(nearest):x}");
    }

    // The zone there, which for a mempool has its name; else the memseg; else it is the application's own.
    private string Name(nuint address)
    {
        foreach (Memzone zone in _memory.Memzones)
            if (address - (nuint)zone.Address < zone.SizeBytes)
                return $"memzone {zone.Name}{(IsPool(zone) ? ", a mempool's," : "")} at 0x{address
                    - (nuint)zone.Address:x} of it";
        foreach (Memseg memseg in _memory.Memsegs)
            if (address - memseg.Address < memseg.SizeBytes)
                return $"the memseg at 0x{memseg.Address:x}, at 0x{address - memseg.Address:x} of it";
        return $"the application's own memory at 0x{address:x}";
    }

    private static bool IsPool(Memzone zone) => zone.Name.StartsWith("MP_", StringComparison.Ordinal);

    private static ulong Last(DmaPiece piece) => piece.Iova.Value + piece.SizeBytes - 1;
}
