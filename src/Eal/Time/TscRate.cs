using System.Diagnostics;
using System.Globalization;
using System.Runtime.Intrinsics.X86;
using Dataplane.Native;

namespace Dataplane;

/// <summary>
/// The counter's rate: measured against the kernel's raw clock, beside what the machine claims it to be.
/// </summary>
internal sealed record TscRate(double Hz, double ClaimedHz, string Source)
{
    private const long LeastNanoseconds = 10_000_000;   // two readings 30 ns off each are then 6 ppm
    private const string SysfsKhz = "/sys/devices/system/cpu/cpu0/tsc_freq_khz";

    private static readonly (ulong Cycles, long Nanoseconds) s_first = ReadBoth();

    /// <summary>
    /// Remembers the first pair of readings: what runs until <see cref="Measure"/> is no waiting time.
    /// </summary>
    internal static void Begin() => _ = s_first;

    internal static TscRate Measure()
    {
        if (!Tsc.IsHardware)
            return new(Stopwatch.Frequency, 0, "Stopwatch");
        (ulong cycles, long nanoseconds) = ReadBoth();
        while (nanoseconds - s_first.Nanoseconds < LeastNanoseconds)
            (cycles, nanoseconds) = ReadBoth();
        double hz = (cycles - s_first.Cycles) * 1e9 / (nanoseconds - s_first.Nanoseconds);
        return new(hz, FromCpuId() is > 0 and double claimed ? claimed : FromSysfs(),
            "measured against CLOCK_MONOTONIC_RAW");
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Hz / 1e6:F1} MHz, {Source}{(ClaimedHz > 0 ? $", claimed {ClaimedHz / 1e6:F1} MHz" : "")}");

    // The pair that took the least time was not interrupted between its readings.
    private static (ulong, long) ReadBoth()
    {
        ulong least = ulong.MaxValue;
        (ulong, long) best = default;
        for (int i = 0; i < 8; i++)
        {
            ulong before = Tsc.Read();
            long nanoseconds = Clock.Nanoseconds(Clock.CLOCK_MONOTONIC_RAW);
            ulong took = Tsc.Read() - before;
            if (took < least)
                (least, best) = (took, (before + took / 2, nanoseconds));
        }
        return best;
    }

    // Intel SDM vol. 3B §20.7.3: leaf 0x15 gives crystal Hz (ECX) x EBX / EAX; leaf 0x16 MHz in EAX, rounded.
    // Leaf 0x4000_0010: kHz in EAX, an agreement among hypervisors.
    private static double FromCpuId()
    {
        int highest = X86Base.CpuId(0, 0).Eax;
        if (highest >= 0x15)
        {
            (int denominator, int numerator, int crystalHz, _) = X86Base.CpuId(0x15, 0);
            if (denominator != 0 && numerator != 0 && crystalHz != 0)
                return (double)(uint)crystalHz * (uint)numerator / (uint)denominator;
        }
        if (highest >= 0x16 && X86Base.CpuId(0x16, 0).Eax is not 0 and int mhz)
            return mhz * 1e6;
        bool underHypervisor = (X86Base.CpuId(1, 0).Ecx & (1 << 31)) != 0;
        if (underHypervisor && (uint)X86Base.CpuId(0x4000_0000, 0).Eax >= 0x4000_0010)
            return (uint)X86Base.CpuId(0x4000_0010, 0).Eax * 1e3;
        return 0;
    }

    // Not in mainline kernels; some vendors' have it.
    private static double FromSysfs() => File.Exists(SysfsKhz)
        && double.TryParse(File.ReadAllText(SysfsKhz), CultureInfo.InvariantCulture, out double khz) ? khz * 1e3 : 0;
}
