using System.Text.Json;
using Dataplane.Pmd;

namespace Dataplane.Tests;

public sealed class LatencyStatsTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions
    {
        NoHuge = true, NoPci = true, NoTelemetry = true, Lcores = [new(0, Affinity.Get())],
        Vdevs = ["net_null0", "net_null1"],
    });
    private readonly Mempool _pool;
    private readonly PortList _ports;

    public LatencyStatsTests()
    {
        _pool = Mempool.CreateMbufPool(_eal.Memory, "l", 1023, cacheSize: 0);
        _ports = PortList.Probe(_eal, Drivers.All);
        foreach (Port port in _ports.Ports)
            port.Start(new PortConfig(), _pool);
    }

    public void Dispose()
    {
        _ports.Dispose();
        _pool.Dispose();
        _eal.Dispose();
    }

    [Fact]
    public void Packets_HeldForAWhile_AreMeasuredOnceEach()
    {
        using var stats = new LatencyStats(_eal.Memory, _ports.Ports);
        Assert.Equal(0, stats.Read().Samples);
        var burst = new Mbuf[32];
        int held = _ports.Ports[0].RxQueues[0].RxBurst(burst);
        ulong from = Tsc.Read();
        ulong until = from + Tsc.FromMicroseconds(500);
        while (Tsc.Read() < until)
        {
        }
        Assert.Equal(held, _ports.Ports[1].TxQueues[0].TxBurst(burst.AsSpan(0, held)));
        double most = Tsc.ToNanoseconds(Tsc.Read() - from) + 10e6;   // it may have lost its CPU in RxBurst
        LatencyReport report = stats.Read(_ports.Ports[1]);
        Assert.Equal(held, report.Samples);
        Assert.InRange(report.Min, 500_000, most);
        Assert.InRange(report.Average, report.Min, report.Max + 1);
        Assert.InRange(report.P99, report.P50, report.Max);
        Assert.Equal(0, stats.Read(_ports.Ports[0]).Samples);
        Assert.Equal(held, stats.Read().Samples);

        JsonElement told = JsonDocument.Parse(_eal.Telemetry.Answer("/ethdev/latency,1"u8)).RootElement
            .GetProperty("/ethdev/latency");
        Assert.Equal(held, told.GetProperty("samples").GetInt32());
        Assert.Equal((ulong)report.Max, told.GetProperty("max_latency_ns").GetUInt64());
    }

    [Fact]
    public void Packets_NotReceivedHere_AndAfterDispose_AreNotMeasured()
    {
        var stats = new LatencyStats(_eal.Memory, _ports.Ports);
        var burst = new Mbuf[8];
        Assert.True(_pool.TryAllocBulk(burst));
        Assert.Equal(8, _ports.Ports[1].TxQueues[0].TxBurst(burst));
        Assert.Equal(0, stats.Read().Samples);
        stats.Dispose();
        Assert.Equal(8, _ports.Ports[0].RxQueues[0].RxBurst(burst));
        Assert.Equal(8, _ports.Ports[1].TxQueues[0].TxBurst(burst));
        Assert.Equal(0, stats.Read().Samples);
        Assert.Contains("null", _eal.Telemetry.Answer("/ethdev/latency,1"u8), StringComparison.Ordinal);
    }

    [Fact]
    public void Measuring_AllocatesNothing()
    {
        using var stats = new LatencyStats(_eal.Memory, _ports.Ports);
        var burst = new Mbuf[32];
        Move(burst, 100);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Move(burst, 10_000);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        Assert.Equal(32 * 10_100, stats.Read().Samples);
    }

    [Fact]
    public void Merge_OfHistograms_CountsBoth()
    {
        LatencyHistogram a = new(), b = new(), empty = new();
        a.Add(100);
        b.Add(7);
        b.Add(5000);
        a.Merge(b);
        a.Merge(empty);
        Assert.Equal((3, 7ul, 5000ul, 100ul), (a.Count, a.Min, a.Max, a.Percentile(50)));
        empty.Merge(a);
        Assert.Equal((3, 7ul), (empty.Count, empty.Min));
    }

    private void Move(Mbuf[] burst, int times)
    {
        for (int i = 0; i < times; i++)
        {
            int received = _ports.Ports[0].RxQueues[0].RxBurst(burst);
            _ports.Ports[1].TxQueues[0].TxBurst(burst.AsSpan(0, received));
        }
    }
}
