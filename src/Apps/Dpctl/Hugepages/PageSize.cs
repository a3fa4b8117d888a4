using System.Globalization;

namespace Dataplane.Dpctl;

/// <summary>A page size, kilobytes, as people write it.</summary>
internal static class PageSize
{
    /// <summary>Reads <c>2M</c>, <c>1G</c>, <c>2048k</c> or <c>2048kB</c>.</summary>
    /// <exception cref="ConfigException">Not a size.</exception>
    internal static long Parse(string text)
    {
        string size = text.Trim().ToUpperInvariant().TrimEnd('B');
        long unit = size.Length == 0 ? 0 : size[^1] switch { 'K' => 1, 'M' => 1 << 10, 'G' => 1 << 20, _ => 0 };
        return unit > 0 && long.TryParse(size.AsSpan(0, size.Length - 1), NumberStyles.None,
            CultureInfo.InvariantCulture, out long number) && number is > 0 and < 1 << 20 ? number * unit
            : throw new ConfigException($"--size: '{text}' is not a page size", fix: "write 2M, 1G or 2048k");
    }

    /// <summary>The shortest way to write it.</summary>
    internal static string Format(long kilobytes) => kilobytes % (1 << 20) == 0 ? $"{kilobytes >> 20}G"
        : kilobytes % (1 << 10) == 0 ? $"{kilobytes >> 10}M" : $"{kilobytes}k";
}
