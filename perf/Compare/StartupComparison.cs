using System.Diagnostics;

namespace Dataplane.Perf.Compare;

/// <summary>HelloWorld with 512 MB of hugepages, from exec to exit, against the same program on DPDK.</summary>
internal sealed class StartupComparison : IComparison
{
    private readonly Lazy<string?> _twin = new(() => Dpdk.Twin("hello"));

    public IReadOnlyList<Row> Rows { get; } = [new("HelloWorld start to end, 512 MB", "ms", true, 0, 0)];

    public string? Missing => _twin.Value == null ? "gcc and libdpdk-dev" : null;

    public double[] Theirs() =>
        [Time(_twin.Value!, "-l", "0,1", "-m", "512", "--in-memory", "--no-pci", "--log-level", "5")];

    public double[] Ours() => [Time(Applications.PathOf("HelloWorld"), "-l", "0,1", "-m", "512", "--in-memory")];

    private static double Time(string program, params string[] args)
    {
        long start = Stopwatch.GetTimestamp();
        int status = Dpdk.Run(program, args, TimeSpan.FromSeconds(30), out string text);
        return status == 0 ? Stopwatch.GetElapsedTime(start).TotalMilliseconds
            : throw new DataplaneException($"{program} ended with {status}", why: text);
    }
}
