using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>What an application left behind when it ended.</summary>
/// <param name="Exit">Exit code.</param>
/// <param name="Output">Standard output.</param>
/// <param name="Errors">Standard error.</param>
internal sealed record AppResult(int Exit, string Output, string Errors)
{
    /// <summary>Both outputs, for a test's message.</summary>
    internal string All => $"exit code {Exit}\n{Output}{Errors}";

    /// <summary>Bad use ends with a message that has these words, and never with a stack trace.</summary>
    internal void AssertFails(params string[] words)
    {
        Assert.True(Exit == 1, All);
        foreach (string word in words)
            Assert.True(Errors.Contains(word, StringComparison.Ordinal), $"'{word}' is not in: {All}");
        Assert.DoesNotContain("   at ", Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("Unhandled", Errors, StringComparison.Ordinal);
    }
}

/// <summary>Applications as users run them: in processes of their own.</summary>
internal static partial class AppProcess
{
    internal const int SigInt = 2, SigKill = 9, SigTerm = 15;
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(5);

    /// <summary>CPUs this process may use; the first stands for all where one will do.</summary>
    internal static int[] Cpus { get; } = [.. CpuSet.Parse(File.ReadLines("/proc/self/status")
        .First(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal)).Split(':')[1].Trim())];

    /// <summary>So many lcores on the CPUs there are.</summary>
    internal static string Lcores(int count) =>
        string.Join(',', Enumerable.Range(0, count).Select(i => $"{i}@{Cpus[i % Cpus.Length]}"));

    /// <summary>Starts an application with its output piped to us.</summary>
    internal static Process Start(string app, params string[] arguments) => StartAs([], app, arguments);

    /// <summary>The same through another program, e.g. one that gives up rights first.</summary>
    internal static Process StartAs(string[] through, string app, params string[] arguments)
    {
        string[] command = [.. through, Environment.ProcessPath is { } path && Path.GetFileName(path) == "dotnet" ? path
            : "dotnet",
            Path.Combine(AppContext.BaseDirectory, app + ".dll"), .. arguments];
        return Process.Start(new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
    }

    /// <summary>Runs one to its end.</summary>
    internal static AppResult Run(string app, params string[] arguments) => End(Start(app, arguments));

    /// <summary>Waits for the end.</summary>
    internal static AppResult End(Process process)
    {
        using (process)
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(), errors =
                process.StandardError.ReadToEndAsync();
            if (!process.WaitForExit(s_patience))
            {
                process.Kill();
                Assert.Fail($"it did not end within {s_patience}:\n{output.Result}{errors.Result}");
            }
            process.WaitForExit();
            return new AppResult(process.ExitCode, output.Result, errors.Result);
        }
    }

    /// <summary>Runs one with <c>--json</c> among its own options; its report.</summary>
    internal static (AppResult Result, JsonElement Report) RunWithReport(string app, string[] eal, params string[] own)
    {
        string json = Path.GetTempFileName();
        try
        {
            AppResult result = Run(app, [.. eal, "--", "--json", json, .. own]);
            string text = File.ReadAllText(json);
            Assert.True(text.Length > 0, result.All);
            return (result, JsonDocument.Parse(text).RootElement);
        }
        finally
        {
            File.Delete(json);
        }
    }

    internal static void Signal(Process process, int signal) => Assert.Equal(0, Kill(process.Id, signal));

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);
}

/// <summary>Reads of a report.</summary>
internal static class ReportExtensions
{
    internal static long Long(this JsonElement element, string name) => element.GetProperty(name).GetInt64();

    internal static long Sum(this JsonElement element, string list, string name) =>
        element.GetProperty(list).EnumerateArray().Sum(item => item.Long(name));

    /// <summary>What must hold after every run of Forward: nothing lost or allocated, counts that agree.</summary>
    internal static void AssertAccounted(this (AppResult Result, JsonElement Report) run)
    {
        (AppResult result, JsonElement report) = run;
        Assert.True(result.Exit == 0, result.All);
        Assert.Contains("every packet accounted for", result.Output, StringComparison.Ordinal);
        JsonElement packets = report.GetProperty("packets");
        Assert.Equal((0L, 0L), (packets.Long("unaccounted"), report.Long("poolLeaks")));
        Assert.Equal(0, report.Sum("lcores", "allocatedBytes"));
        Assert.Equal(packets.Long("received"), report.Sum("ports", "rxPackets"));
        Assert.Equal(packets.Long("sent"), report.Sum("ports", "txPackets") + report.Sum("ports", "txErrors"));
        foreach (string count in (string[])["received", "generated", "sent", "consumed"])
        {
            string printed = packets.Long(count).ToString("N0", System.Globalization.CultureInfo.InvariantCulture);
            Assert.Contains($"{count} {printed}", result.Output, StringComparison.Ordinal);
            Assert.Equal(packets.Long(count), report.GetProperty("lcores").EnumerateArray().Sum(lcore =>
                lcore.Sum("streams", count)));
        }
    }
}
