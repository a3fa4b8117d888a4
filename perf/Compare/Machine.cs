using System.Runtime.InteropServices;

namespace Dataplane.Perf.Compare;

/// <summary>The facts a figure means nothing without.</summary>
internal sealed record Machine(string Date, string Cpu, int Cpus, double TscMhz, string Kernel, string Runtime,
    string Dpdk, string HugepagesFree, string Tiering, string Commit)
{
    /// <summary>Reads them.</summary>
    public static Machine Facts() => new(
        DateTime.UtcNow.ToString("yyyy-MM-dd"),
        Field("/proc/cpuinfo", "model name") + Environment.GetEnvironmentVariable("COMPARE_HOST"),
        Environment.ProcessorCount,
        Math.Round(Tsc.Hz / 1e6, 1),
        $"{RuntimeInformation.OSDescription}, Linux {File.ReadAllText("/proc/sys/kernel/osrelease").Trim()}",
        RuntimeInformation.FrameworkDescription,
        Output("sh", "-c", "dpkg-query -W -f='${Version}' dpdk 2>/dev/null || pkg-config --modversion libdpdk"),
        Field("/proc/meminfo", "HugePages_Free"),
        "TieredCompilation=" + (AppContext.TryGetSwitch("System.Runtime.TieredCompilation", out bool on) && !on ? "off"
        : "on"), Output("git", "rev-parse", "--short", "HEAD"));

    private static string Field(string file, string name) =>
        File.ReadLines(file).FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))?.Split(':', 2)[1]
        .Trim() ?? "?";

    private static string Output(string program, params string[] args) =>
        Compare.Dpdk.Run(program, args, TimeSpan.FromSeconds(10), out string text) == 0 ? text.Trim() : "?";
}
