namespace Dataplane.Dpctl;

/// <summary>What devices are called, by the pci.ids file of the distribution (package pci.ids or hwdata).</summary>
internal static class PciNames
{
    private static readonly string[] s_files = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];

    /// <summary>Names by vendor and device id, <c>8086:10c9</c>; those that are not known are left out.</summary>
    internal static IReadOnlyDictionary<string, string> Of(Host host, IReadOnlyList<PciDevice> devices)
    {
        var wanted = devices.Select(Key).ToHashSet();
        var names = new Dictionary<string, string>();
        string vendor = "", vendorName = "";
        foreach (string line in (s_files.Select(host.Read).FirstOrDefault(text => text != null) ?? "").Split('\n'))
        {
            // "8086  Intel Corporation", "\t10c9  82576 Gigabit ...", "\t\t" for subsystems; then "C " for classes.
            if (line.StartsWith("C ", StringComparison.Ordinal))
                break;
            if (line.Length > 6 && char.IsAsciiHexDigitLower(line[0]))
                (vendor, vendorName) = (line[..4], line[6..]);
            else if (line.Length > 7 && line[0] == '\t' && line[1] != '\t' && wanted.Contains($"{vendor}:{line[1..5]}"))
                names.TryAdd($"{vendor}:{line[1..5]}", $"{vendorName} {line[7..]}");
        }
        return names;
    }

    /// <summary>Vendor and device id as they are written everywhere.</summary>
    internal static string Key(PciDevice device) => $"{device.Vendor:x4}:{device.Device:x4}";
}
