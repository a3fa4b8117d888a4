using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>A minute of forwarding.</summary>
public sealed class ForwardSteadyTests
{
    [Fact]
    public void Forward_60Seconds_AllocatesNothingAndCollectsNoGarbage()
    {
        (AppResult Result, JsonElement Report) run = AppProcess.RunWithReport("Forward",
            ["--no-huge", "-l", AppProcess.Lcores(1), "--vdev", "net_null0", "--vdev", "net_null1"], "--duration",
                "60");
        run.AssertAccounted();
        Assert.Equal(0, run.Report.Long("gcCollections"));
        Assert.True(run.Report.GetProperty("seconds").GetDouble() >= 60, run.Result.All);
        Assert.True(run.Report.GetProperty("packets").Long("received") > 1_000_000, run.Result.All);
    }
}
