using System.Text.RegularExpressions;

namespace Dataplane.Tests;

/// <summary>HelloWorld as a user runs it.</summary>
public sealed class HelloWorldTests
{
    private static AppResult Hello(params string[] arguments) => AppProcess.Run("HelloWorld", arguments);

    [Theory]
    [InlineData("{0}", "{0}")]
    [InlineData("0@{0}", "0")]
    [InlineData("0-3@{0}", "0 1 2 3")]
    [InlineData("(0,2)@{0},7@({0})", "0 2 7")]
    public void HelloWorld_LcoreLists_OneLineFromEachWithItsCpuAndNode(string list, string ids)
    {
        int cpu = AppProcess.Cpus[0];
        AppResult result = Hello("--no-huge", "-l", string.Format(list, cpu));
        Assert.True(result.Exit == 0, result.All);
        Match[] lines = [.. Regex.Matches(result.Output,
            @"^hello from lcore (\d+) \(\w+\) on CPU (\d+), NUMA node \d+$", RegexOptions.Multiline).Cast<Match>()];
        Assert.Equal(string.Format(ids, cpu).Split(' '), lines.Select(line => line.Groups[1].Value).Order());
        Assert.All(lines, line => Assert.Equal($"{cpu}", line.Groups[2].Value));
        Assert.Equal(lines.Length, result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
    }

    [Fact]
    public void HelloWorld_NoArguments_RunsOnEveryCpuItMay()
    {
        AppResult result = Hello();
        Assert.True(result.Exit == 0, result.All);
        Assert.All(AppProcess.Cpus, cpu => Assert.Contains($"hello from lcore {cpu} ", result.Output,
            StringComparison.Ordinal));
    }

    [Fact]
    public void HelloWorld_Help_ExplainsItself()
    {
        AppResult result = Hello("-h");
        Assert.True(result.Exit == 0, result.All);
        Assert.Contains("-l, --lcores LIST", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void HelloWorld_MisspeltOption_NamesItAndTheNearest() =>
        Hello("--lcroes", "0").AssertFails("--lcroes", "did you mean --lcores?");

    [Fact]
    public void HelloWorld_BadList_SaysWhatIsWrong() =>
        Hello("-l", "0-").AssertFails("-l: bad list '0-'", "it ends where a number should be");

    [Fact]
    public void HelloWorld_CpuThatIsNotThere_SaysWhichAre() =>
        Hello("-l", "0@4095").AssertFails("CPU 4095", "this machine has");

    [Fact]
    public void HelloWorld_MoreMemoryThanThereIs_SaysHowMuchThereIs() =>
        Hello("--no-huge", "-m", "9999999").AssertFails("not enough memory: need 9999999 MB", "are available");
}
