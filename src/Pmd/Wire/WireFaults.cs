using System.Globalization;

namespace Dataplane.Pmd;

/// <summary>What one end of a cable does to the packets it sends. The same seed and the same packets: the same
/// fate.</summary>
internal sealed record WireFaults
{
    /// <summary>Chance of being lost, 2^32 for certain.</summary>
    internal ulong Loss { get; init; }

    /// <summary>Chance of arriving twice.</summary>
    internal ulong Duplicate { get; init; }

    /// <summary>Chance of being overtaken by the next packet to the same queue.</summary>
    internal ulong Reorder { get; init; }

    /// <summary>Time on the way, TSC cycles.</summary>
    internal ulong Delay { get; init; }

    /// <summary>More time on the way, from 0 up to this, TSC cycles. Packets of a queue stay in order.</summary>
    internal ulong Jitter { get; init; }

    /// <summary>Time a byte takes to leave, TSC cycles; 0 for none.</summary>
    internal double CyclesPerByte { get; init; }

    /// <summary>Time a packet takes to leave, TSC cycles; 0 for none.</summary>
    internal double CyclesPerPacket { get; init; }

    /// <summary>Speed to report, Mbit/s.</summary>
    internal uint SpeedMbps { get; init; } = 100_000;

    /// <summary>What random numbers begin with.</summary>
    internal ulong Seed { get; init; }

    /// <summary>Packets to a full queue are lost; else the sender waits.</summary>
    internal bool DropWhenFull { get; init; }

    /// <summary>Packets carry a stamp: when they are due and what befalls them.</summary>
    internal bool Stamps => (Loss | Duplicate | Reorder | Delay | Jitter) != 0 || HasRate;

    /// <summary>The cable is only so fast.</summary>
    internal bool HasRate => CyclesPerByte + CyclesPerPacket > 0;

    internal static WireFaults Parse(DevArgs args)
    {
        double bitsPerSecond = Rate(args, "rate"), packetsPerSecond = Rate(args, "pps");
        return new WireFaults
        {
            Loss = Chance(args, "loss"),
            Duplicate = Chance(args, "dup"),
            Reorder = Chance(args, "reorder"),
            Delay = Tsc.FromMicroseconds(Number(args, "delay", 0, 10_000_000)),
            Jitter = Tsc.FromMicroseconds(Number(args, "jitter", 0, 10_000_000)),
            CyclesPerByte = bitsPerSecond == 0 ? 0 : Tsc.Hz * 8 / bitsPerSecond,
            CyclesPerPacket = packetsPerSecond == 0 ? 0 : Tsc.Hz / packetsPerSecond,
            SpeedMbps = bitsPerSecond == 0 ? 100_000 : (uint)Math.Clamp(bitsPerSecond / 1e6, 1, uint.MaxValue),
            Seed = (ulong)args.GetNumber("seed", 1, 0, long.MaxValue),
            DropWhenFull = args.GetFlag("drop"),
        };
    }

    private static ulong Chance(DevArgs args, string key) => (ulong)(Number(args, key, 0, 100) / 100 * (1ul << 32));

    private static double Rate(DevArgs args, string key)
    {
        string text = args.GetString(key) ?? "";
        double unit = text.Length == 0 ? 1 : text[^1] switch { 'k' or 'K' => 1e3, 'm' or 'M' => 1e6, 'g' or 'G' => 1e9,
            _ => 1 };
        return Number(args, key, unit == 1 ? text : text[..^1], 1e-3, 1e12 / unit) * unit;
    }

    private static double Number(DevArgs args, string key, double min, double max) =>
        Number(args, key, args.GetString(key) ?? "", min, max);

    private static double Number(DevArgs args, string key, string text, double min, double max)
    {
        if (text.Length == 0)
            return 0;
        if (!double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value)
            || !(value >= min && value <= max))
            throw new ConfigException($"device '{args.Name}': {key}={text} is not a number from {min} to {max}");
        return value;
    }
}
