using System.Diagnostics;
using System.Globalization;

namespace Dataplane.Tests;

/// <summary>The dashboard of a running application in a browser.</summary>
public sealed class DashboardTests
{
    [Fact]
    public async Task Forward_ShownInChromium_HasPictureChartsAndFigures()
    {
        Programs.Require("chromium");
        using Process forward = AppProcess.Start("Forward", "--no-huge", "--no-pci", "--no-telemetry", "--log-level",
            "error", "-l", $"0@{AppProcess.Cpus[0]},1@{AppProcess.Cpus[0]}", "--vdev", "net_wire0", "--vdev",
            "net_wire1", "--vdev", "net_wire2", "--vdev", "net_wire3", "--", "--forward-mode", "macswap",
            "--port-topology", "loop", "--tx-first", "4", "--stats-period", "0", "--latency",
            "--dashboard", "127.0.0.1:0");
        try
        {
            string? line = await forward.StandardOutput.ReadLineAsync();
            Assert.StartsWith("dashboard: http://127.0.0.1:", line);
            await using Chromium browser = await Chromium.Open(line!["dashboard: ".Length..]);
            await browser.WaitFor("Number(document.body?.dataset.polls) >= "
                + (Environment.GetEnvironmentVariable("DATAPLANE_DASHBOARD_POLLS") ?? "3"));
            Assert.Contains("Forward", await browser.Evaluate("document.title"), StringComparison.Ordinal);
            string picture = await browser.Evaluate("document.getElementById('topology').textContent");
            foreach (string name in (string[])["net_wire0", "net_wire3", "lcore 0", "lcore 1", "1 receive queue"])
                Assert.Contains(name, picture, StringComparison.Ordinal);
            Assert.Equal("8", await browser.Evaluate("document.querySelectorAll('#topology .wire').length"));
            foreach (string chart in (string[])["rx", "tx", "load", "drop", "level", "latency"])
                Assert.True(int.Parse(await browser.Evaluate(
                    $"document.querySelectorAll('#{chart} .curve').length"), CultureInfo.InvariantCulture) > 0, chart);
            // Packets go round and round: what is drawn is not a line at 0.
            Assert.True(double.Parse(await browser.Evaluate(
                "Math.max(...Object.values(history.rx).flat().filter(value => value !== null))"),
                CultureInfo.InvariantCulture) > 0);
            Assert.Equal("8", await browser.Evaluate("document.querySelectorAll('#queues tbody tr').length"));
            byte[] shot = await browser.Screenshot();
            Assert.True(shot.Length > 10_000);
            if (Environment.GetEnvironmentVariable("DATAPLANE_DASHBOARD_PNG") is { } file)
                await File.WriteAllBytesAsync(file, shot, TestContext.Current.CancellationToken);
            Assert.Empty(browser.Complaints);
        }
        finally
        {
            AppProcess.Signal(forward, AppProcess.SigInt);
            AppResult result = AppProcess.End(forward);
            Assert.True(result.Exit == 0, result.All);
            Assert.Contains("latency, ns:", result.Output, StringComparison.Ordinal);
        }
    }
}
