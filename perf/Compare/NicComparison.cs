using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Dataplane.Perf.Compare;

/// <summary>
/// testpmd and Forward on the same two NICs, which are joined: each sends some bursts, and from then on every packet
/// goes round. One lcore, mode io, bursts of 32, the same descriptors, pool and cache. Inside a lab machine.
/// </summary>
/// <remarks>
/// Where QEMU counts instructions (COMPARE_ICOUNT=1), a tick of the guest's clock and of its TSC is one instruction of
/// the guest's CPUs, and nothing the devices do costs any: "cycles" are instructions. A rate would say how long the
/// host let the lcore poll for nothing, so there is none.
/// </remarks>
internal sealed partial class NicComparison : IComparison
{
    private static readonly bool s_countsInstructions = Environment.GetEnvironmentVariable("COMPARE_ICOUNT") == "1";
    private static readonly double s_seconds = s_countsInstructions ? 0.3 : 2;
    private static readonly int s_bursts =
        int.Parse(Environment.GetEnvironmentVariable("COMPARE_BURSTS") ?? "2", CultureInfo.InvariantCulture);
    private static readonly string[] s_own = ["--forward-mode=io", "--burst=32", "--nb-cores=1", "--mbcache=250",
        "--total-num-mbufs=8191", "--rxd=256", "--txd=256"];
    private readonly string[] _nics;
    private readonly string _backend;

    private NicComparison(string model, string[] nics, string backend)
    {
        (_nics, _backend) = (nics, backend);
        Rows = s_countsInstructions
            ? [new($"{model} {backend}: cost of a packet", "instructions", true, 1, 1.2),
                new($"{model} {backend}: start to first packet", "10^6 instructions", true, 1, 0)]
            : [new($"{model} {backend}: rate", "packets/s", false, 1, 1.2),
                new($"{model} {backend}: cost of a packet", "ns", true, 1, 1.2),
                new($"{model} {backend}: start to first packet", "ms", true, 1, 0)];
    }

    /// <summary>The lab machine's two NICs with every backend it allows.</summary>
    public static IReadOnlyList<IComparison> All(string nics)
    {
        string model = Environment.GetEnvironmentVariable("COMPARE_MODEL") ?? "NICs";
        string[] backends = Directory.Exists("/dev/vfio/devices") ? ["iommufd", "type1"] : ["noiommu"];
        return [.. backends.Select(backend => new NicComparison(model, nics.Split(' '), backend))];
    }

    public IReadOnlyList<Row> Rows { get; }

    public string? Missing => Dpdk.Find("dpdk-testpmd") == null ? "dpdk-testpmd (Debian's package dpdk)" : null;

    public double[] Theirs()
    {
        string[] args = ["-oL", "dpdk-testpmd", "-l", "0,1", "-m", "256", "--in-memory", "--log-level", "5", .. Allowed,
            "--", "-i", .. s_own, "--record-core-cycles"];
        long start = Stopwatch.GetTimestamp();
        using var testpmd = new Conversation("stdbuf", args);
        testpmd.Say($"start tx_first {s_bursts}");
        do
        {
            testpmd.Say("show port stats 1");
            testpmd.ReadTo("statistics for port 1");
        }
        while (testpmd.ReadTo("RX-packets:").Contains("RX-packets: 0 ", StringComparison.Ordinal));
        double first = testpmd.Took(start);
        Thread.Sleep(TimeSpan.FromSeconds(s_seconds / 4));
        testpmd.Say("show port stats all");   // rates are since it was last asked
        Thread.Sleep(TimeSpan.FromSeconds(s_seconds));
        testpmd.Say("show port stats all");
        testpmd.Say("stop");
        testpmd.Say("quit");
        string text = testpmd.ReadToEnd();
        double rate = Rates().Matches(text).TakeLast(2)
            .Sum(match => double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture));
        return Figures(rate, Dpdk.Number(text, @"CPU cycles/packet=([0-9.]+)"), Dpdk.Number(text, "at ([0-9]+) MHz"),
            first);
    }

    // Two processes: one shows often when packets come in, the other twice; by the first time all is compiled.
    public double[] Ours()
    {
        long start = Stopwatch.GetTimestamp();
        double first;
        using (Conversation forward = Forward("--stats-period", "0.01"))
        {
            while (forward.ReadTo(" rx ").Contains(" rx 0.000 pps", StringComparison.Ordinal))
                continue;
            first = forward.Took(start);
            forward.Interrupt();
            forward.ReadToEnd();
        }
        string text;
        using (Conversation forward = Forward("--stats-period", s_seconds.ToString(CultureInfo.InvariantCulture),
            "--duration", (2 * s_seconds).ToString(CultureInfo.InvariantCulture)))
            text = forward.ReadToEnd();
        double rate = PeriodRates().Matches(text).TakeLast(2).Sum(match => double.Parse(match.Groups[1].Value,
            CultureInfo.InvariantCulture) * (match.Groups[2].Value switch { "k" => 1e3, "M" => 1e6, _ => 1 }));
        return Figures(rate, double.Parse(PeriodCycles().Matches(text).Last().Groups[1].Value,
            CultureInfo.InvariantCulture), Tsc.Hz / 1e6, first);
    }

    // The two need not count the same clock: ours takes the kernel's where the TSC is not said to be steady.
    private static double[] Figures(double rate, double cycles, double mhz, double first) =>
        s_countsInstructions ? [cycles, first] : [rate, cycles * 1000 / mhz, first];

    // The lcore has CPU 1 to itself, as testpmd's has.
    private Conversation Forward(params string[] more) => new("taskset", ["-c", "0", Applications.PathOf("Forward"),
        "-l", "1", "-m", "256", "--in-memory", "--iommu-backend", _backend,
        .. _backend == "noiommu" ? ["--unsafe-noiommu"] : Array.Empty<string>(), .. Allowed, "--", .. s_own,
        "--no-offloads", "--tx-first", $"{s_bursts}", "--plain", .. more]);

    private string[] Allowed => ["-a", _nics[0], "-a", _nics[1]];

    [GeneratedRegex(@"Rx-pps: +([0-9]+)")]
    private static partial Regex Rates();

    [GeneratedRegex(@" s  .* rx ([0-9.]+) ([kM]?)pps ")]
    private static partial Regex PeriodRates();

    [GeneratedRegex(@"([0-9.]+) cycles/packet  tx full")]
    private static partial Regex PeriodCycles();

    /// <summary>A program that is told things and read line by line.</summary>
    private sealed class Conversation : IDisposable
    {
        private readonly Process _process;
        private readonly System.Text.StringBuilder _said = new();
        private readonly Task<string> _errors;

        public Conversation(string program, string[] args)
        {
            var start = new ProcessStartInfo(program, args)
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            start.Environment.Remove("DOTNET_TieredCompilation");   // how this program is run is no matter of theirs
            _process = Process.Start(start)!;
            _errors = _process.StandardError.ReadToEndAsync();
        }

        public void Say(string line)
        {
            _process.StandardInput.WriteLine(line);
            _process.StandardInput.Flush();
        }

        // Time the guest waits for its disk is no instructions; the CPU time of all its threads is.
        public double Took(long start)
        {
            _process.Refresh();
            return (s_countsInstructions ? _process.TotalProcessorTime : Stopwatch.GetElapsedTime(start))
                .TotalMilliseconds;
        }

        public void Interrupt() => Dpdk.Run("kill", ["-INT", $"{_process.Id}"], TimeSpan.FromSeconds(30), out _);

        public string ReadTo(string words)
        {
            while (_process.StandardOutput.ReadLine() is { } line)
            {
                _said.AppendLine(line);
                if (line.Contains(words, StringComparison.Ordinal))
                    return line;
            }
            throw Failed();
        }

        public string ReadToEnd()
        {
            _said.Append(_process.StandardOutput.ReadToEnd());
            _process.WaitForExit();
            return _process.ExitCode == 0 ? _said.ToString() : throw Failed();
        }

        public void Dispose()
        {
            if (!_process.HasExited)
                _process.Kill(entireProcessTree: true);
            _process.WaitForExit();
            _process.Dispose();
        }

        private DataplaneException Failed()
        {
            _process.WaitForExit();
            return new($"{_process.StartInfo.FileName} {string.Join(' ', _process.StartInfo.ArgumentList)} ended with "
                + $"{_process.ExitCode}", why: string.Join('\n', $"{_said}{_errors.Result}".Split('\n').TakeLast(12)));
        }
    }
}
