using System.Diagnostics;

namespace Dataplane.Tests;

public class TscTests
{
    [Fact]
    public void Tsc_Rate_AgreesWithStopwatch()
    {
        // Each reading between two of the Stopwatch: losing the CPU in between widens the range and fails nothing.
        long outerStart = Stopwatch.GetTimestamp();
        ulong cycles = Tsc.Read();
        long innerStart = Stopwatch.GetTimestamp();
        Thread.Sleep(50);
        long innerEnd = Stopwatch.GetTimestamp();
        cycles = Tsc.Read() - cycles;
        long outerEnd = Stopwatch.GetTimestamp();
        const double Slew = 0.001;   // NTP may slew Stopwatch's clock by 500 ppm
        Assert.InRange(Tsc.ToSeconds(cycles), Stopwatch.GetElapsedTime(innerStart, innerEnd).TotalSeconds * (1 - Slew),
            Stopwatch.GetElapsedTime(outerStart, outerEnd).TotalSeconds * (1 + Slew));
    }

    [Fact]
    public void Tsc_ClaimedRate_AgreesWithMeasured()
    {
        Assert.SkipWhen(Tsc.ClaimedHz == 0, "this CPU claims no TSC rate (CPUID 0x15, 0x16, 0x40000010, tsc_freq_khz)");
        Assert.InRange(Tsc.Hz / Tsc.ClaimedHz, 0.99, 1.01);
    }

    [Fact]
    public void Tsc_Conversions_AreEachOthersInverse()
    {
        Assert.Equal(1.0, Tsc.ToSeconds(Tsc.FromSeconds(1)), 1e-9);
        Assert.Equal(1000.0, Tsc.ToNanoseconds(Tsc.FromMicroseconds(1)), 1.0);
        Assert.Equal(Tsc.FromNanoseconds(5000), Tsc.FromMicroseconds(5));
        Assert.Equal(0UL, Tsc.FromSeconds(-1));
    }

    [Fact]
    public void Tsc_ReadAMillionTimes_NeverGoesBackAndAllocatesNothing()
    {
        ulong last = Tsc.Read();
        long before = GC.GetAllocatedBytesForCurrentThread();
        bool wentBack = false;
        for (int i = 0; i < 1_000_000; i++)
        {
            ulong now = Tsc.Read();
            wentBack |= now < last;
            last = now;
        }
        Assert.False(wentBack);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }
}
