using System.Globalization;

namespace Dataplane.Tests;

/// <summary>A leaf of an IOMMU's page table.</summary>
internal readonly record struct IommuLeaf(ulong Iova, ulong SizeBytes, ulong Physical);

/// <summary>What the IOMMU itself has in its tables for a device, as the kernel's debugfs shows it: the judge of what
/// we say is mapped.</summary>
internal static unsafe class IommuView
{
    private const ulong AddressMask = ((1UL << 52) - 1) & ~0xfffUL;   // VT-d §9.8: bits 51:12 of an entry

    /// <summary>All leaves for a device, ascending. Debugfs of Intel's driver: a line per leaf, the page number and the
    /// entry of each level, from the highest down to the leaf.</summary>
    public static List<IommuLeaf> Read(string device)
    {
        var leaves = new List<IommuLeaf>();
        foreach (string line in File.ReadLines($"/sys/kernel/debug/iommu/intel/{device}/domain_translation_struct"))
        {
            string[] words = line.Split([' ', '\t', '|'], StringSplitOptions.RemoveEmptyEntries);
            if (words.Length is < 4 or > 6 || !words[0].StartsWith("0x", StringComparison.Ordinal))
                continue;
            int level = 6 - words.Length;   // 0: an ordinary page
            leaves.Add(new(Hex(words[0]) << 12, 4096UL << 9 * level, Hex(words[^1]) & AddressMask));
        }
        return leaves;
    }

    /// <summary>Whether the IOMMU maps these pieces to where their memory really is, and nothing else.</summary>
    public static bool Maps(string device, IReadOnlyCollection<DmaPiece> pieces, out string why)
    {
        List<IommuLeaf> leaves = Read(device);
        ulong mapped = 0, wanted = 0;
        foreach (DmaPiece piece in pieces)
            wanted += piece.SizeBytes;
        foreach (IommuLeaf leaf in leaves)
        {
            DmaPiece piece = pieces.FirstOrDefault(p =>
                leaf.Iova >= p.Iova.Value && leaf.Iova + leaf.SizeBytes <= p.Iova.Value + p.SizeBytes);
            if (piece.SizeBytes == 0)
                return Fail(out why, $"{leaf} is in none of our pieces");
            nuint address = piece.Address + (nuint)(leaf.Iova - piece.Iova.Value);
            Span<ulong> physical = [0];
            Pagemap.Read((byte*)address, 4096, physical);
            if (physical[0] != leaf.Physical)
                return Fail(out why, $"{leaf} is 0x{address:x}, whose memory is at 0x{physical[0]:x}");
            mapped += leaf.SizeBytes;
        }
        return mapped == wanted && wanted > 0 ? Fail(out why, "") || true
            : Fail(out why, $"{leaves.Count} leaves map {mapped} bytes, {wanted} should be");
    }

    private static bool Fail(out string why, string text)
    {
        why = text;
        return false;
    }

    private static ulong Hex(string word) =>
        ulong.Parse(word.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
}
