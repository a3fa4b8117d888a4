using System.Globalization;
using System.Text.RegularExpressions;

namespace Dataplane;

/// <summary>A line of the kernel's log that tells of a DMA which an IOMMU stopped.</summary>
/// <param name="Address">The function; without its domain where the line has none.</param>
/// <param name="HasDomain">Whether the line names the domain.</param>
/// <param name="Iova">The I/O address, null where the line has none.</param>
/// <param name="Write">It wanted to write there; else to read.</param>
/// <param name="Reason">The IOMMU's own words.</param>
internal readonly partial record struct IommuFaultLine(PciAddress Address, bool HasDomain, ulong? Iova, bool Write,
    string Reason)
{
    private const ulong AmdWrite = 0x20;   // AMD I/O Virtualization 48882, IO_PAGE_FAULT event: RW

    /// <summary>Whether it is about that function.</summary>
    internal bool Means(PciAddress function) =>
        Address == (HasDomain ? function : function with { Domain = 0 });

    /// <summary>
    /// Reads a record of /dev/kmsg: <c>PREFIX,SEQUENCE,MICROSECONDS,FLAGS;MESSAGE</c>, then lines of a device
    /// (Documentation/ABI/testing/dev-kmsg).
    /// </summary>
    /// <returns>False where it is about something else, or does not come from the kernel itself.</returns>
    internal static bool TryParse(string record, out IommuFaultLine fault)
    {
        fault = default;
        int comma = record.IndexOf(',', StringComparison.Ordinal);
        int start = record.IndexOf(';', StringComparison.Ordinal);
        // Facility 0, above the three bits of the level, is the kernel's; a process that may write there has another.
        if (comma < 0 || start < comma || !uint.TryParse(record.AsSpan(0, comma), NumberStyles.None,
            CultureInfo.InvariantCulture, out uint prefix) || prefix >> 3 != 0)
            return false;
        string text = record[(start + 1)..].Split('\n')[0];
        return TryIntel(text, out fault) || TryAmd(text, out fault) || TryVirtio(text, out fault);
    }

    // drivers/iommu/intel/dmar.c, in its forms since 3.x: "DMAR: [DMA Write NO_PASID] Request device [03:00.0] fault
    // addr 0x1000 [fault reason 0x05] PTE Write access is not set".
    private static bool TryIntel(string text, out IommuFaultLine fault)
    {
        Match match = Intel().Match(text);
        fault = default;
        if (!match.Success || !TryAddress(match.Groups["device"].Value, out fault))
            return false;
        fault = fault with
        {
            Iova = Hex(match.Groups["iova"].Value), Write = match.Groups["kind"].Value == "Write",
            Reason = match.Groups["reason"].Value,
        };
        return true;
    }

    // drivers/iommu/amd/iommu.c: "vfio-pci 0000:03:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0010
    // address=0x1000 flags=0x0020]", or with device= inside where the kernel knows no such device.
    private static bool TryAmd(string text, out IommuFaultLine fault)
    {
        Match match = Amd().Match(text);
        string device = match.Groups["inside"].Success ? match.Groups["inside"].Value : match.Groups["before"].Value;
        fault = default;
        if (!match.Success || !TryAddress(device, out fault))
            return false;
        bool write = (Hex(match.Groups["flags"].Value) & AmdWrite) != 0;
        fault = fault with
        {
            Iova = Hex(match.Groups["iova"].Value), Write = write,
            Reason = $"IO_PAGE_FAULT flags=0x{match.Groups["flags"].Value}",
        };
        return true;
    }

    // drivers/iommu/virtio-iommu.c: "virtio_iommu virtio0: page fault from EP 256 at 0x1000 [R]". An endpoint of the
    // PCI is its domain and requester id.
    private static bool TryVirtio(string text, out IommuFaultLine fault)
    {
        Match match = Virtio().Match(text);
        fault = default;
        if (!match.Success || !uint.TryParse(match.Groups["endpoint"].Value, NumberStyles.None,
            CultureInfo.InvariantCulture, out uint endpoint))
            return false;
        var address = new PciAddress(endpoint >> 16, (byte)(endpoint >> 8), (byte)((endpoint >> 3) & 31),
            (byte)(endpoint & 7));
        fault = new(address, true, match.Groups["iova"].Success ? Hex(match.Groups["iova"].Value) : null,
            match.Groups["kind"].Value.Contains('W', StringComparison.Ordinal), match.Groups["reason"].Value);
        return true;
    }

    private static bool TryAddress(string text, out IommuFaultLine fault)
    {
        bool known = PciAddress.TryParse(text, out PciAddress address);
        fault = new(address, text.Split(':').Length == 3, null, false, "");
        return known;
    }

    // The patterns bound the digits.
    private static ulong Hex(string digits) =>
        ulong.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^DMAR: ?\[DMA (?<kind>Read|Write)[^\]]*\] Request device \[(?<device>[0-9a-f:.]{7,16})\] "
        + @"(PASID [0-9a-f]+ )?fault addr (0x)?(?<iova>[0-9a-f]{1,16})\b ?(?<reason>.*)$")]
    private static partial Regex Intel();

    [GeneratedRegex(@"^([^ ]+ (?<before>[0-9a-f:.]{7,16}): )?AMD-Vi: Event logged \[IO_PAGE_FAULT "
        + @"(device=(?<inside>[0-9a-f:.]{7,16}) )?domain=0x[0-9a-f]+ address=0x(?<iova>[0-9a-f]{1,16}) "
        + @"flags=0x(?<flags>[0-9a-f]{1,8})\]")]
    private static partial Regex Amd();

    [GeneratedRegex(@"^virtio[_-]iommu [^ ]+: (?<reason>(domain|page|unknown) fault) from EP (?<endpoint>[0-9]{1,10})"
        + @"( at 0x(?<iova>[0-9a-f]{1,16}) \[(?<kind>[RWX]*)\])?")]
    private static partial Regex Virtio();
}
