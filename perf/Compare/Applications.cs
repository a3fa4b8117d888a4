using System.Text.Json;

namespace Dataplane.Perf.Compare;

/// <summary>Our applications, run as a user runs them: their own process, their own options.</summary>
internal static class Applications
{
    /// <summary>The built application's program.</summary>
    public static string PathOf(string name)
    {
        string root = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(root, "Dataplane.sln")))
            root = Path.GetDirectoryName(root) ?? throw new DataplaneException("perf/Compare must run from the tree");
        string program = Path.Combine(root, "src", "Apps", name, "bin", "Release", "net10.0", name);
        return File.Exists(program) ? program
            : throw new DataplaneException($"{name} is not built", fix: "dotnet build Dataplane.sln");
    }

    /// <summary>Runs Forward for a while; its JSON.</summary>
    public static JsonDocument Forward(string lcores, string[] vdevs, string[] own, double seconds,
        params string[] eal)
    {
        string json = Path.GetTempFileName();
        try
        {
            string[] args = ["-l", lcores, "-m", "512", "--in-memory", .. eal,
                .. vdevs.SelectMany(vdev => (string[])["--vdev", vdev]), "--", .. own, "--duration",
                seconds.ToString(System.Globalization.CultureInfo.InvariantCulture), "--stats-period", "0", "--json",
                json];
            int status = Dpdk.Run(PathOf("Forward"), args, TimeSpan.FromMinutes(1), out string text);
            return status == 0 ? JsonDocument.Parse(File.ReadAllText(json))
                : throw new DataplaneException($"Forward {string.Join(' ', args)} ended with {status}", why: text);
        }
        finally
        {
            File.Delete(json);
        }
    }
}
