using System.Diagnostics;
using System.Globalization;

namespace Dataplane.Tests;

/// <summary>Lcores, masks and signals of whole processes.</summary>
public class LcoreTests
{
    private const string Overlap = "may run on the lcores' CPUs";

    private static string App(string name)
    {
        string root = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(root, "Dataplane.sln")))
            root = Path.GetDirectoryName(root) ?? throw new InvalidOperationException("tests run outside the tree");
        string app = Path.Combine(root, "src/Apps", name, "bin/Release/net10.0", name);
        Assert.SkipUnless(File.Exists(app), $"needs {app}: dotnet build Dataplane.sln");
        return app;
    }

    private static void RequireTwoCpus() => Assert.SkipUnless(Affinity.Get().Contains(0) && Affinity.Get().Contains(1),
        $"needs CPUs 0 and 1, and this process has {Affinity.Get()}: run it with taskset -c 0,1");

    [Fact]
    public void HelloWorld_FourLcoresOnOneCpu_SaysOneLineEach()
    {
        int cpu = Affinity.Get().First;
        string output = Host.Run(App("HelloWorld"), "-l", $"0-3@{cpu}", "--no-huge");
        Assert.Equal(["(Main)", "(Worker)", "(Worker)", "(Worker)"], output.Split('\n')
            .Where(line => line.StartsWith("hello from lcore", StringComparison.Ordinal)).Order()
            .Select(line => line.Split(' ')[4]));
        Assert.Contains($"on CPU {cpu},", output);
    }

    [Fact]
    public void HelloWorld_CpuThatIsNotThere_SaysSoAndFails()
    {
        (int exit, string output) = Host.TryRun(App("HelloWorld"), "-l", "0@8000");
        Assert.Equal(1, exit);
        Assert.Contains("CPU 8000 is not present", output);
    }

    [Fact]
    public void HelloWorld_StartedBesideItsLcore_LeavesItsMaskAndSharesNoCpu()
    {
        RequireTwoCpus();
        string output = Host.Run("taskset", "-c", "0", App("HelloWorld"), "-l", "1", "--no-huge");
        Assert.Contains("hello from lcore 1 (Main) on CPU 1", output);
        Assert.DoesNotContain(Overlap, output);
    }

    [Fact]
    public void HelloWorld_StartedOnItsLcoreToo_SaysHowToAvoidIt()
    {
        RequireTwoCpus();
        string output = Host.Run("taskset", "-c", "0,1", App("HelloWorld"), "-l", "1", "--no-huge");
        Assert.Contains(Overlap, output);
        Assert.Contains("taskset -c 0", output);
    }

    [Fact]
    public void HelloWorld_CpusetWithoutTheCpu_SaysWhatIsAllowed()
    {
        Host.Require("sh");
        RequireTwoCpus();
        string group = MakeCpusetGroup();
        try
        {
            File.WriteAllText($"{group}/cpuset.cpus", "0");
            File.WriteAllText($"{group}/cpuset.mems", "0");
            (int exit, string output) = Host.TryRun("sh", "-c",
                $"echo $$ > {group}/cgroup.procs && exec {App("HelloWorld")} -l 1 --no-huge");
            Assert.Equal(1, exit);
            Assert.Contains("cannot start lcore 1", output);
            Assert.Contains("cpuset", output);
        }
        finally
        {
            Directory.Delete(group);
        }
    }

    private static string MakeCpusetGroup()
    {
        bool isV1 = Directory.Exists("/sys/fs/cgroup/cpuset");
        string root = isV1 ? "/sys/fs/cgroup/cpuset" : "/sys/fs/cgroup";
        bool usable = isV1 || Host.TryRun("sh", "-c", $"echo +cpuset > {root}/cgroup.subtree_control").Exit == 0;
        Assert.SkipUnless(usable, "needs the cpuset controller: mount -t cgroup2 none /sys/fs/cgroup");
        return Directory.CreateDirectory($"{root}/dp-test-{Environment.ProcessId}").FullName;
    }

    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public void Forward_Signalled_StopsWithinASecondAndReports(string signal)
    {
        // A busy machine makes some of the stops slow, a fault all of them.
        double fastest = double.MaxValue;
        for (int run = 0; run < 8 && fastest >= 1; run++)
            fastest = Math.Min(fastest, SecondsToStop(signal));
        Assert.True(fastest < 1, $"the fastest of eight stops took {fastest:F2} s");
    }

    private static double SecondsToStop(string signal)
    {
        using Process process = Host.Start(App("Forward"));
        while (process.StandardOutput.ReadLine() is { } line && !line.Contains("pps", StringComparison.Ordinal))
        {
        }
        string pid = process.Id.ToString(CultureInfo.InvariantCulture);
        long start = Stopwatch.GetTimestamp();
        Host.Run("sh", "-c", $"kill -{signal} {pid}");
        string rest = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        Assert.Equal(0, process.ExitCode);
        Assert.NotEqual("", rest.Trim());
        return seconds;
    }
}
