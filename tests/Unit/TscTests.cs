using System.Diagnostics;

namespace Dataplane.Tests;

public class TscTests
{
    [Fact]
    public void Tsc_Rate_AgreesWithStopwatch()
    {
        long start = Stopwatch.GetTimestamp();
        ulong cycles = Tsc.Read();
        Thread.Sleep(50);
        cycles = Tsc.Read() - cycles;
        double elapsed = Stopwatch.GetElapsedTime(start).TotalSeconds;
        // The two are read a moment apart, and this thread may lose its CPU in between: hence 5 %, where 50 ppm is usual.
        Assert.InRange(Tsc.ToSeconds(cycles), elapsed * 0.95, elapsed * 1.01);
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
