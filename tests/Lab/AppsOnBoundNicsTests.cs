using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>Applications on bound NICs, with nothing changed but their options.</summary>
[Guest(Machines.Intel612)]
public sealed class AppsOnBoundNicsTests(ITestOutputHelper output)
{
    private static string[] Eal(string model, string lcores = "0,1")
    {
        (string first, string second) = Guest.Pair(model);
        return ["-l", lcores, "-m", "64", "--iommu-backend", "iommufd", "-a", first, "-a", second];
    }

    [Fact]
    public void Throughput_BetweenTwoNics_FindsARateWithoutLoss() => AssertThroughput([]);

    [Fact]
    public void Throughput_AsOrdinaryUser_AfterOneCommand()
    {
        const string Limits = "/etc/security/limits.d";
        (string first, string second) = Guest.Pair("igb");
        string[] login = ["runuser", "-u", "nobody", "--"];    // by PAM, which sets the limits of a login
        string mode = Host.Run("stat", "-c", "%a", "/dev/iommu").Trim();
        Host.Run("mount", "-t", "tmpfs", "tmpfs", Limits);    // the machine's own is read-only
        try
        {
            AppResult bound = AppProcess.Run("Dpctl", "bind", first, second, "--user", "nobody");
            Assert.True(bound.Exit == 0, bound.All);
            output.WriteLine(bound.Output);
            output.WriteLine(Host.Run(login[0], [.. login[1..], "sh", "-c", "id -un; echo memlock $(ulimit -l)"]));
            AssertThroughput(login);
        }
        finally
        {
            Host.Run("umount", Limits);
            Host.Run("sh", "-c", "chown root /dev/vfio/[0-9]* /dev/vfio/devices/*");
            Host.Run("chmod", mode, "/dev/iommu");
        }
    }

    [Fact]
    public void HelloWorld_WithBoundNics_GreetsFromEachLcore()
    {
        AppResult result = AppProcess.Run("HelloWorld", Eal("igb"));
        output.WriteLine(result.All);
        Assert.Equal(0, result.Exit);
        Assert.Contains("hello from lcore 0 (Main)", result.Output, StringComparison.Ordinal);
        Assert.Contains("hello from lcore 1 (Worker)", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Forward_OnBoundNics_SleepsWhileNothingComes()
    {
        (AppResult result, JsonElement report) = AppProcess.RunWithReport("Forward", Eal("igb"), "--duration", "3",
            "--stats-period", "0", "--rx-interrupts");
        output.WriteLine(result.All);
        Assert.Equal(0, result.Exit);
        foreach (JsonElement lcore in report.GetProperty("lcores").EnumerateArray())
        {
            Assert.InRange(lcore.Long("sleeps"), 5, 1000);
            Assert.Equal(0, lcore.Long("allocatedBytes"));
        }
    }

    private void AssertThroughput(string[] through)
    {
        string folder = Directory.CreateDirectory(Path.Combine(Guest.Out, $"throughput{through.Length}")).FullName;
        Host.Run("chmod", "777", folder);    // also for the ordinary user
        string svg = Path.Combine(folder, "chart.svg"), json = Path.Combine(folder, "report.json");
        // One lcore sends and receives: the CPUs of an emulated machine take turns of 100 ms, which two would measure.
        AppResult result = AppProcess.End(AppProcess.StartAs(through, "Throughput", [.. Eal("igb", "1"), "--",
            "--frames", "64,1518", "--trial", "1", "--settle", "10", "--json", json, "--svg", svg]));
        output.WriteLine(result.All);
        Assert.True(result.Exit == 0, result.All);
        JsonElement report = JsonDocument.Parse(File.ReadAllText(json)).RootElement;
        Assert.Equal(0, report.Long("poolLeaks"));
        foreach (JsonElement frame in report.GetProperty("frames").EnumerateArray())
        {
            JsonElement best = frame.GetProperty("best");
            Assert.InRange(best.Long("sent"), 1, long.MaxValue);
            Assert.Equal((best.Long("sent"), 0L), (best.Long("received"), best.Long("lost")));
        }
        Assert.Contains("<svg", File.ReadAllText(svg), StringComparison.Ordinal);
    }
}
