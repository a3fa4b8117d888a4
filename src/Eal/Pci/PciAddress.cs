using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Dataplane;

/// <summary>Where a PCI function sits: domain, bus, device and function, written <c>0000:3b:00.1</c>.</summary>
/// <param name="Domain">0 to 0xffffffff; beyond 0xffff only behind some host bridges.</param>
/// <param name="Bus">0 to 255.</param>
/// <param name="Device">0 to 31.</param>
/// <param name="Function">0 to 7.</param>
public readonly record struct PciAddress(uint Domain, byte Bus, byte Device, byte Function) : IComparable<PciAddress>
{
    /// <summary>Reads <c>0000:3b:00.1</c> or <c>3b:00.1</c>, hexadecimal as the kernel writes it.</summary>
    /// <exception cref="ConfigException">It is neither.</exception>
    public static PciAddress Parse(string text) => TryParse(text, out PciAddress address) ? address
        : throw new ConfigException($"'{text}' is no PCI address", fix: "write it as lspci -D does, e.g. 0000:3b:00.1");

    /// <summary>Reads <c>0000:3b:00.1</c> or <c>3b:00.1</c>.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out PciAddress address)
    {
        address = default;
        string[] parts = (text ?? "").Split(':');
        string[] last = parts[^1].Split('.');
        if (parts.Length is < 2 or > 3 || last.Length != 2)
            return false;
        if (!TryHex(parts.Length == 3 ? parts[0] : "0", uint.MaxValue, out uint domain)
            || !TryHex(parts[^2], byte.MaxValue, out uint bus)
            || !TryHex(last[0], 31, out uint device) || !TryHex(last[1], 7, out uint function))
            return false;
        address = new(domain, (byte)bus, (byte)device, (byte)function);
        return true;
    }

    /// <summary>By domain, bus, device, function.</summary>
    public int CompareTo(PciAddress other) => (Domain, Packed).CompareTo((other.Domain, other.Packed));

    /// <inheritdoc/>
    public override string ToString() => $"{Domain:x4}:{Bus:x2}:{Device:x2}.{Function:x}";

    private uint Packed => ((uint)Bus << 8) | ((uint)Device << 3) | Function;

    private static bool TryHex(string text, uint most, out uint value) =>
        uint.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value) && value <= most;
}
