using System.Xml.Linq;
using Dataplane.Apps.Throughput;

namespace Dataplane.Tests;

public class ThroughputTests
{
    [Fact]
    public void LatencyHistogram_Uniform_PercentilesWithinABucket()
    {
        var histogram = new LatencyHistogram();
        for (ulong value = 1; value <= 100_000; value++)
            histogram.Add(value);
        foreach (double percent in (double[])[1, 50, 90, 99, 99.9, 99.99])
            Assert.InRange(histogram.Percentile(percent), percent * 1000, percent * 1000 * (1 + 1 / 64.0) + 1);
        Assert.Equal(1UL, histogram.Min);
        Assert.Equal(100_000UL, histogram.Max);
        Assert.Equal(100_000UL, histogram.Percentile(100));
    }

    [Fact]
    public void LatencyHistogram_SmallAndHugeValues_AreKept()
    {
        var histogram = new LatencyHistogram();
        histogram.Add(0);
        histogram.Add(ulong.MaxValue);
        Assert.Equal(0UL, histogram.Percentile(50));
        Assert.Equal(ulong.MaxValue, histogram.Percentile(100));
        histogram.Clear();
        Assert.Equal(0UL, histogram.Percentile(99));
    }

    [Theory]
    [InlineData(1_000_000)]
    [InlineData(123_456)]
    [InlineData(3_999_999)]
    public void Search_DeviceWithACapacity_FindsItWithinTheResolution(double capacity)
    {
        Trial run(double rate)
        {
            double sent = rate == 0 ? 4_000_000 : rate;
            ulong lost = sent > capacity ? (ulong)(sent - capacity) : 0;
            return new Trial(rate, 1, (ulong)sent, (ulong)sent - lost, lost, 0, 0, 0, 0, sent, sent * 512, null);
        }
        (_, Trial? best) = Search.ZeroLoss(0, resolutionPercent: 0.5, 1, run, trial => trial.Passes(0));
        Assert.NotNull(best);
        Assert.InRange(best.SentPps, capacity - 4_000_000 * 0.005, capacity);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4)]
    public void Search_Stopped_KeepsWhatItFound(int after)
    {
        int runs = 0;
        Trial? run(double rate) => runs++ == after ? null
            : new Trial(rate, 1, 1000, rate > 600 ? 990u : 1000u, rate > 600 ? 10u : 0, 0, 0, 0, 0, rate, 1, null);
        (IReadOnlyList<Trial> trials, Trial? best) = Search.ZeroLoss(1000, 0.1, 1, run, trial => trial.Passes(0));
        Assert.Equal((after, after + 1), (trials.Count, runs));
        Assert.Equal(after > 1, best != null);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void Search_SeveralDirections_NeverOffersMoreThanTheFirstRate(int directions)
    {
        const double Link = 1_000_000, Capacity = 700_000;
        var offered = new List<double>();
        Trial run(double rate)
        {
            offered.Add(rate);
            double all = rate * directions;
            ulong sent = (ulong)all, lost = (ulong)Math.Max(0, all - Capacity * directions);
            return new Trial(all, 1, sent, sent - lost, lost, 0, 0, 0, 0, all, all * 512, null);
        }
        (_, Trial? best) = Search.ZeroLoss(Link, resolutionPercent: 1, directions, run, trial => trial.Passes(0));
        Assert.InRange(best!.SentPps / directions, Capacity - Link / 100, Capacity);
        Assert.All(offered, rate => Assert.InRange(rate, 1, Link));
        Assert.Equal(offered.Count, offered.Distinct().Count());
    }

    [Fact]
    public void Search_NothingIsSent_FindsNone()
    {
        (_, Trial? best) = Search.ZeroLoss(0, 1, 1, rate => new Trial(rate, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, null),
            trial => trial.Passes(0));
        Assert.Null(best);
    }

    [Fact]
    public void Search_NothingIsLost_TakesOneTrial()
    {
        (IReadOnlyList<Trial> trials, Trial? best) = Search.ZeroLoss(1000, 1, 1,
            rate => new Trial(rate, 1, 1000, 1000, 0, 0, 0, 0, 0, 1000, 512_000, null), trial => trial.Passes(0));
        Assert.Same(trials.Single(), best);
    }

    [Fact]
    public void Search_EverythingIsLost_FindsNone()
    {
        (_, Trial? best) = Search.ZeroLoss(1000, 1, 1,
            rate => new Trial(rate, 1, 1000, 0, 1000, 0, 0, 0, 0, 1000, 512_000, null), trial => trial.Passes(0));
        Assert.Null(best);
    }

    [Fact]
    public void SvgChart_TwoFrameSizes_IsWellFormedAndHasABarEach()
    {
        static FrameResult frame(string name, double pps) =>
            new(name, 64, new Trial(0, 1, 1, 1, 0, 0, 0, 0, 0, pps, pps * 512, new Latencies(1, 2, 3, 4, 5, 6, 7)), []);
        var report = new ThroughputReport("2026-01-01", "zeroloss", "pair", ["a<b", "c&d"], 32, 1, 0,
            [frame("64", 5e6), frame("1518", 8e5)], 0, 0);
        XElement svg = XDocument.Parse(SvgChart.Draw(report)).Root!;
        Assert.Equal(2, svg.Descendants().Count(e => e.Name.LocalName == "rect"
            && (string?)e.Attribute("fill") == "#2166ac"));
        Assert.Equal(5, svg.Descendants().Count(e => e.Name.LocalName == "polyline"));
    }
}
