using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Dataplane.Perf.Compare;

/// <summary>DPDK's own programs and our C twins on its library. Finds them, runs them, picks figures from what they
/// print.</summary>
internal static class Dpdk
{
    private static readonly string[] s_eal = ["--no-pci", "--in-memory", "-m", "512", "--log-level", "5"];

    /// <summary>A program of DPDK's, from DPDK_BIN or the path; null when it is not there.</summary>
    public static string? Find(string name)
    {
        string? given = Environment.GetEnvironmentVariable("DPDK_BIN");
        string path = given ?? Environment.GetEnvironmentVariable("PATH") ?? "";
        return path.Split(':').Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists);
    }

    /// <summary>Builds a twin with the machine's own compiler; null when libdpdk-dev or gcc is not there.</summary>
    public static string? Twin(string name)
    {
        string output = Path.Combine(Path.GetTempPath(), $"dataplane-twin-{name}-{Environment.ProcessId}");
        string source = Path.Combine(AppContext.BaseDirectory, "twins", name + ".c");
        string build = $"gcc -O3 -march=native -o '{output}' '{source}' $(pkg-config --cflags --libs libdpdk)";
        return Run("sh", ["-c", build], TimeSpan.FromMinutes(2), out _) == 0 ? output : null;
    }

    /// <summary>Runs one of dpdk-test's tests on the first lcores; what it printed.</summary>
    public static string Test(string test, string lcores)
    {
        string[] args = ["-c", $"DPDK_TEST={test} exec {Find("dpdk-test")} -l {lcores} {string.Join(' ', s_eal)}"];
        int status = Run("sh", args, TimeSpan.FromMinutes(3), out string text);
        return status == 0 ? text : throw new DataplaneException($"dpdk-test {test} ended with {status}",
            why: Tail(text));
    }

    /// <summary>Runs a program with EAL options of the comparison; what it printed.</summary>
    /// <param name="stopAfter">When given, it is interrupted after that time, as with Ctrl-C.</param>
    public static string Program(string program, string lcores, string[] vdevs, string[] own,
        TimeSpan? stopAfter = null)
    {
        string[] args = ["-l", lcores, .. s_eal, .. vdevs.SelectMany(vdev => (string[])["--vdev", vdev]), "--", .. own];
        int status = Run(program, args, TimeSpan.FromMinutes(1), out string text, stopAfter);
        // testpmd ends an interrupt in good order, says so, and then dies of it once more.
        return status == 0 || text.Contains("Bye...", StringComparison.Ordinal) ? text
            : throw new DataplaneException($"{program} ended with {status}", why: Tail(text));
    }

    /// <summary>The last number that <paramref name="pattern"/>'s first group finds.</summary>
    public static double Number(string text, string pattern)
    {
        Match match = Regex.Matches(text, pattern).LastOrDefault()
            ?? throw new DataplaneException($"no '{pattern}' in what DPDK printed", why: Tail(text));
        return double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture);
    }

    /// <summary>Runs a program to its end, which is an interrupt when <paramref name="stopAfter"/> says when.</summary>
    public static int Run(string program, string[] args, TimeSpan limit, out string output, TimeSpan? stopAfter = null)
    {
        var start = new ProcessStartInfo(program, args)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        using Process process = Process.Start(start)!;
        Task<string> text = process.StandardOutput.ReadToEndAsync();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        if (stopAfter is { } time && !process.WaitForExit(time))
            using (Process kill = Process.Start("kill", ["-INT", process.Id.ToString(CultureInfo.InvariantCulture)]))
                kill.WaitForExit();
        if (!process.WaitForExit(limit))
            process.Kill();
        output = text.Result + errors.Result;
        return process.ExitCode;
    }

    private static string Tail(string text) => string.Join('\n', text.Split('\n').TakeLast(12));
}
