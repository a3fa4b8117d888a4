using System.Diagnostics;
using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>Once packets move between bound NICs, lcores ask nothing of the kernel: strace sees all threads of a
/// running Forward, and no system call of any kind by one that forwards.</summary>
[Guest(Machines.Intel612)]
public sealed class LcoreSyscallTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData("iommufd")]
    [InlineData("type1")]
    public void Forward_WhilePacketsMove_MakesNoSystemCallOnItsLcores(string backend)
    {
        Host.Require("strace");
        (string first, string second) = Guest.Pair("igb");
        string json = Path.GetTempFileName(), trace = Path.GetTempFileName();
        // As a user runs it: the lab's machines set another way of compiling, whose threads stop the others at times.
        string[] asIs = ["env", "-u", "DOTNET_TieredCompilation", "-u", "DOTNET_TieredPGO"];
        using Process forward = AppProcess.StartAs(asIs, "Forward", "-l", "0,1", "-m", "64", "--iommu-backend", backend,
            "-a", first, "-a", second, "--", "--tx-first", "1", "--json", json, "--duration", "120");
        WaitForTraffic(forward, first);
        Dictionary<string, string> names = Directory.GetDirectories($"/proc/{forward.Id}/task")
            .ToDictionary(task => Path.GetFileName(task), task => File.ReadAllText(task + "/comm").Trim());

        using (Process strace = Host.Start("strace", "-f", "-s", "200", "-o", trace, "-p", $"{forward.Id}"))
        {
            // Each table of rates is written by calls in the trace: between two lies a period that was traced whole.
            string[] rates = [];
            SpinWait.SpinUntil(() => strace.HasExited || (rates = [.. File.ReadLines(trace)
                .Where(line => line.Contains("write(", StringComparison.Ordinal)
                    && line.Contains(first, StringComparison.Ordinal))]).Length >= 2, TimeSpan.FromMinutes(1));
            Assert.True(rates.Length >= 2, string.Join('\n', File.ReadLines(trace).Take(100)));
            output.WriteLine(string.Join('\n', rates));
            Assert.DoesNotContain("rx 0.000 pps", rates[^1], StringComparison.Ordinal);
            AppProcess.Signal(strace, AppProcess.SigInt);
            AppProcess.End(strace);
        }
        AppProcess.Signal(forward, AppProcess.SigInt);
        AppResult result = AppProcess.End(forward);
        output.WriteLine(result.All);
        (result, JsonDocument.Parse(File.ReadAllText(json)).RootElement).AssertAccounted();

        ILookup<string, string> calls = File.ReadLines(trace).Select(line => line.Split(' ', 2))
            .Select(words => (Tid: words[0], Call: words[1].TrimStart()))
            .Where(line => !line.Call.StartsWith("---", StringComparison.Ordinal))    // a signal
            .ToLookup(line => line.Tid, line => line.Call);
        string[] lcores = [.. names.Keys.Where(tid => names[tid] is "dp-main-0" or "dp-lcore-1")];
        foreach ((string tid, string name) in names.OrderBy(pair => int.Parse(pair.Key)))
            output.WriteLine($"{name} ({tid}): {calls[tid].Count()} system calls: "
                + string.Join(", ", calls[tid].CountBy(call => call.Split('(')[0]).Select(c => $"{c.Value} {c.Key}")));
        Assert.Equal(2, lcores.Length);
        Assert.Empty(lcores.SelectMany(tid => calls[tid]));
        Assert.NotEmpty(calls);    // who prints the rates does call: the trace sees
    }

    /// <summary>Reads rates until packets came in by a port.</summary>
    private static void WaitForTraffic(Process forward, string port)
    {
        while (forward.StandardOutput.ReadLine() is { } line)
            if (line.Contains(port + " ", StringComparison.Ordinal)
                && !line.Contains("rx 0.000 pps", StringComparison.Ordinal))
                return;
        Assert.Fail(AppProcess.End(forward).All);
    }
}
