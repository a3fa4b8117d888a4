using System.Globalization;

namespace Dataplane;

/// <summary>Reads the values of options. Each takes the text and the option's name as the user wrote it.</summary>
internal static class OptionValue
{
    /// <summary>16 TiB: more is a slip of the finger.</summary>
    internal const int MaxMegabytes = 16 << 20;

    private const int MaxNumaNodes = 32, MaxPrefixLength = 64;

    internal static int Number(string value, string option, int min, int max) =>
        int.TryParse(value.AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            && number >= min && number <= max ? number : throw Wrong(option, value, $"a number from {min} to {max}");

    internal static bool Flag(string value, string option) => value.Trim().ToLowerInvariant() switch
    {
        "true" or "1" => true,
        "false" or "0" => false,
        _ => throw Wrong(option, value, "true or false"),
    };

    internal static IReadOnlyList<int> Megabytes(string value, string option)
    {
        int[] nodes = value.Split(',').Select(part => Number(part, option, 0, MaxMegabytes)).ToArray();
        return nodes.Length <= MaxNumaNodes && nodes.Any(megabytes => megabytes > 0) ? nodes
            : throw Wrong(option, value, $"MB for each NUMA node, at most {MaxNumaNodes}, not all 0");
    }

    internal static ulong Hex(string value, string option)
    {
        string digits = value.Trim();
        if (digits.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
            digits = digits[2..];
        return ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong address)
            && address > 0 && address < 1UL << 47 ? address
            : throw Wrong(option, value, "a hexadecimal address below 800000000000, e.g. 0x100000000");
    }

    internal static IovaMode Iova(string value, string option) => value.Trim().ToLowerInvariant() switch
    {
        "auto" => IovaMode.Auto,
        "pa" => IovaMode.Pa,
        "va" => IovaMode.Va,
        _ => throw Wrong(option, value, "pa, va or auto"),
    };

    internal static IommuBackend Backend(string value, string option) => value.Trim().ToLowerInvariant() switch
    {
        "auto" => IommuBackend.Auto,
        "iommufd" => IommuBackend.Iommufd,
        "type1" => IommuBackend.Type1,
        "noiommu" => IommuBackend.NoIommu,
        _ => throw Wrong(option, value, "auto, iommufd, type1 or noiommu"),
    };

    internal static InterruptKind Interrupt(string value, string option) => value.Trim().ToLowerInvariant() switch
    {
        "legacy" => InterruptKind.IntX,
        "msi" => InterruptKind.Msi,
        "msix" => InterruptKind.MsiX,
        _ => throw Wrong(option, value, "legacy, msi or msix"),
    };

    internal static Guid Uuid(string value, string option) => Guid.TryParseExact(value.Trim(), "D", out Guid uuid)
        ? uuid : throw Wrong(option, value, "a UUID, e.g. 14d63f20-8445-11ea-8900-1f9ce7d5650d");

    internal static string Device(string value, string option)
    {
        try
        {
            return DevArgs.Parse(value).Text;
        }
        catch (ConfigException e)
        {
            throw new ConfigException($"{option}: {e.What}", e.Why, e.Fix, e.See);
        }
    }

    internal static string Prefix(string value, string option) =>
        value.Length is > 0 and <= MaxPrefixLength
        && value.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.')
            ? value : throw Wrong(option, value, $"1 to {MaxPrefixLength} letters, digits, '-', '_' or '.'");

    internal static int SimdBits(string value, string option)
    {
        int bits = Number(value, option, 0, 512);
        return bits is 0 or 64 or 128 or 256 or 512 ? bits
            : throw Wrong(option, value, "64, 128, 256, 512 or 0 for no limit");
    }

    internal static EalOptions ApplyLogLevel(EalOptions options, string option, string value)
    {
        int colon = value.LastIndexOf(':');
        if (colon == 0)
            throw Wrong(option, value, "LEVEL or GLOB:LEVEL");
        if (colon < 0 && value.Contains(','))
            throw Wrong(option, value, "LEVEL or GLOB:LEVEL (regular expressions are not offered)");
        LogSeverity level = LogSeverities.Parse(value[(colon + 1)..], option);
        return colon < 0 ? options with { LogLevel = level }
            : options with { LogRules = [.. options.LogRules, new LogRule(value[..colon], level)] };
    }

    private static ConfigException Wrong(string option, string value, string wanted) =>
        new($"{option}: '{value}' is not {wanted}");
}
