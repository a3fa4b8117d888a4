using System.Text.Json;
using System.Xml.Linq;

namespace Dataplane.Tests;

/// <summary>Throughput as a user runs it, in trials far too short for figures.</summary>
public sealed class ThroughputAppTests
{
    private static (AppResult Result, JsonElement Report) Measure(string vdevs, params string[] own) =>
        AppProcess.RunWithReport("Throughput",
        ["--no-huge", "-l", AppProcess.Lcores(2), .. vdevs.Split(' ').SelectMany(vdev => (string[])["--vdev", vdev])],
        ["--trial", own.Contains("rate") ? "2" : own.Contains("--loss") ? "0.5" : "0.2",
            "--settle", own.Contains("--resolution") ? "0.2" : "30", .. own]);

    private static JsonElement Best(JsonElement report) => report.GetProperty("frames")[0].GetProperty("best");

    [Fact]
    public void Throughput_LosslessWire_FindsAZeroLossRateForEveryFrameSize()
    {
        string svg = Path.GetTempFileName();
        try
        {
            (AppResult result, JsonElement report) = Measure("net_wire0 net_wire1", "--frames", "64,512,imix", "--svg",
                svg);
            Assert.True(result.Exit == 0, result.All);
            Assert.Equal(0, report.Long("poolLeaks"));
            Assert.Equal(["64", "512", "imix"], report.GetProperty("frames").EnumerateArray().Select(f =>
                f.GetProperty("frame").GetString()));
            foreach (JsonElement frame in report.GetProperty("frames").EnumerateArray())
            {
                JsonElement best = frame.GetProperty("best");
                Assert.True(best.Long("sent") > 0, result.All);
                Assert.Equal((best.Long("sent"), 0L, 0L), (best.Long("received"), best.Long("outOfOrder"),
                    best.Long("duplicates")));
                Assert.Matches($@"(?m)^\|\s+{frame.GetProperty("frame").GetString()} \|", result.Output);
            }
            Assert.Equal("svg", XDocument.Load(svg).Root!.Name.LocalName);
        }
        finally
        {
            File.Delete(svg);
        }
    }

    [Fact]
    public void Throughput_LossyWire_HasNoZeroLossRate()
    {
        (AppResult result, JsonElement report) = Measure("net_wire0,loss=10 net_wire1", "--frames", "64",
            "--resolution", "40");
        Assert.True(result.Exit == 2, result.All);
        Assert.Equal(JsonValueKind.Null, Best(report).ValueKind);
        Assert.Matches(@"(?m)^\|\s+64 \|\s+none \|", result.Output);
    }

    [Fact]
    public void Throughput_LossyWireWithLossAllowed_HasARate()
    {
        (AppResult result, JsonElement report) = Measure("net_wire0,loss=4 net_wire1", "--frames", "64", "--resolution",
            "20", "--loss", "20");
        Assert.True(result.Exit == 0, result.All);
        Assert.True(Best(report).Long("lost") > 0, result.All);
    }

    [Fact]
    public void Throughput_DelayOf200Us_IsMeasured()
    {
        (AppResult result, JsonElement report) = Measure("net_wire0,delay=200 net_wire1", "--frames", "64", "--test",
            "rate", "--rate", "50000");
        Assert.True(result.Exit == 0, result.All);
        JsonElement latency = Best(report).GetProperty("latency");
        Assert.True(latency.GetProperty("min").GetDouble() >= 200, result.All);
        Assert.True(latency.GetProperty("p50").GetDouble() >= 200, result.All);
        Assert.True(latency.GetProperty("p99").GetDouble() >= latency.GetProperty("p50").GetDouble(), result.All);
    }

    [Theory]
    [InlineData("reflect", "net_wire0 net_wire1")]
    [InlineData("loop", "net_ring0")]
    [InlineData("sink", "net_null0,no-rx=1")]
    [InlineData("pair", "net_wire0 net_wire1 net_wire2 net_wire3", "--bidirectional")]
    public void Throughput_Paths_AreMeasured(string path, string vdevs, params string[] own)
    {
        // A queue holds seconds of it: the reflector drops what its way back has no room for.
        (AppResult result, JsonElement report) = Measure(vdevs, ["--frames", "64", "--test", "rate", "--rate", "100",
            "--path", path, .. own]);
        Assert.True(result.Exit == 0, result.All);
        Assert.Equal(path, report.GetProperty("path").GetString());
        JsonElement best = Best(report);
        Assert.True(best.Long("sent") > 0, result.All);
        Assert.Equal(path == "sink" ? 0 : best.Long("sent"), best.Long("received"));
    }

    [Fact]
    public void Throughput_ReorderingWire_IsSeen()
    {
        (AppResult result, JsonElement report) = Measure("net_wire0,reorder=10 net_wire1", "--frames", "64", "--test",
            "rate", "--rate", "50000");
        Assert.True(result.Exit == 0, result.All);
        Assert.True(Best(report).Long("outOfOrder") > 0, result.All);
    }

    [Theory]
    [InlineData("--frames: '10' is no frame size", "--frames", "10")]
    [InlineData("--frams", "--frams", "64")]
    [InlineData("--trial wants a number above 0", "--trial", "0")]
    [InlineData("such as 0.5, not 0,5", "--loss", "0,5")]
    [InlineData("at least 1", "--path", "loop")]
    public void Throughput_BadOption_SaysWhichAndWhy(string words, params string[] own) =>
        AppProcess.Run("Throughput", ["--no-huge", "--", .. own]).AssertFails(words);
}
