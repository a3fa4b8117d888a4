using System.Globalization;

namespace Dataplane.Dpctl;

/// <summary>What decides when a packet goes.</summary>
internal enum ReplayTiming
{
    /// <summary>The stamps of the file.</summary>
    Original,
    /// <summary>So many packets a second.</summary>
    Packets,
    /// <summary>So many bits a second, of the frames as the file has them.</summary>
    Bits,
    /// <summary>As fast as the port takes them.</summary>
    Top,
}

/// <summary>A timing and its figure: packets or bits per second, or how many times the original speed.</summary>
internal readonly record struct ReplayRate(ReplayTiming Timing, double Value = 1)
{
    private static readonly (string Unit, ReplayTiming Timing)[] s_units =
        [("pps", ReplayTiming.Packets), ("bit/s", ReplayTiming.Bits), ("bps", ReplayTiming.Bits)];

    /// <summary>Reads <c>2Mpps</c>, <c>1.5Gbit/s</c>, <c>800kbps</c>.</summary>
    /// <exception cref="ConfigException">It is none, or not above 0.</exception>
    internal static ReplayRate Parse(string text)
    {
        foreach ((string unit, ReplayTiming timing) in s_units)
        {
            if (!text.EndsWith(unit, StringComparison.OrdinalIgnoreCase))
                continue;
            string number = text[..^unit.Length].TrimEnd();
            double factor = number.Length == 0 ? 1 : number[^1] switch
            {
                'k' or 'K' => 1e3,
                'M' or 'm' => 1e6,
                'G' or 'g' => 1e9,
                _ => 1,
            };
            if (factor > 1)
                number = number[..^1];
            if (double.TryParse(number, NumberStyles.Float, CultureInfo.InvariantCulture, out double value)
                && value > 0 && double.IsFinite(value))
                return new(timing, value * factor);
        }
        throw new ConfigException($"--rate {text}", why: "it wants a number above 0 and a unit",
            fix: "e.g. --rate 2Mpps, --rate 50kpps, --rate 1.5Gbit/s");
    }

    /// <inheritdoc/>
    public override string ToString() => Timing switch
    {
        ReplayTiming.Packets => $"at {Scale.Of(Value)}pps",
        ReplayTiming.Bits => $"at {Scale.Of(Value)}bit/s",
        ReplayTiming.Top => "at top speed",
        _ when Value == 1 => "with its original timing",
        _ => string.Create(CultureInfo.InvariantCulture, $"{Value} times as fast as it was"),
    };
}

/// <summary>Figures for people.</summary>
internal static class Scale
{
    private static readonly string[] s_units = ["", "k", "M", "G", "T"];

    /// <summary>Four digits and a unit: <c>12.35 M</c>.</summary>
    internal static string Of(double value)
    {
        int unit = 0;
        for (; Math.Abs(value) >= 999.95 && unit < s_units.Length - 1; unit++)
            value /= 1000;
        string digits = Math.Abs(value) >= 99.95 ? "F1" : Math.Abs(value) >= 9.995 ? "F2" : "F3";
        return (unit == 0 && value == Math.Floor(value) ? value.ToString("F0", CultureInfo.InvariantCulture)
            : value.ToString(digits, CultureInfo.InvariantCulture)) + " " + s_units[unit];
    }

    /// <summary>A count with its thousands marked.</summary>
    internal static string Count(ulong count) => count.ToString("N0", CultureInfo.InvariantCulture);
}
