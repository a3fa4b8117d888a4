using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Dataplane.Perf.Compare;

/// <summary>
/// testpmd and Forward on the same two NICs, which are joined: each sends some bursts, and from then on every packet
/// goes round. One lcore, mode io, bursts of 32, the same descriptors, pool and cache. Inside a lab machine.
/// </summary>
internal sealed partial class NicComparison : IComparison
{
    private const double Seconds = 3;
    private static readonly bool s_countsInstructions = Environment.GetEnvironmentVariable("COMPARE_ICOUNT") == "1";
    private static readonly string[] s_own = ["--forward-mode=io", "--burst=32", "--nb-cores=1", "--mbcache=250",
        "--total-num-mbufs=8191", "--rxd=512", "--txd=512"];
    private readonly string[] _nics;
    private readonly string _backend;
    private readonly int _bursts;

    private NicComparison(string model, string[] nics, string backend, int bursts)
    {
        (_nics, _backend, _bursts) = (nics, backend, bursts);
        string name = $"{model} {backend}, {32 * bursts} in flight each way";
        string cost = s_countsInstructions ? "instructions/packet" : "cycles/packet";
        Rows = [new($"{name}: rate", "packets/s", false, 1, 1.2), new($"{name}: cost", cost, true, 1, 1.2),
            new($"{name}: first packet after", "ms", true, 1, 0)];
    }

    /// <summary>For every pair of NICs of the lab machine, every backend it allows.</summary>
    public static IReadOnlyList<IComparison> All(string nics)
    {
        string[][] pairs = [.. nics.Split(' ', StringSplitOptions.RemoveEmptyEntries).Chunk(2)];
        string[] backends = Directory.Exists("/dev/vfio/devices") ? ["iommufd", "type1"] : ["noiommu"];
        int[] bursts = s_countsInstructions ? [1] : [1, 2, 8];
        return [.. from pair in pairs from backend in backends from count in bursts
            select new NicComparison(Model(pair[0]), pair, backend, count)];
    }

    public IReadOnlyList<Row> Rows { get; }

    public string? Missing => Dpdk.Find("dpdk-testpmd") == null ? "dpdk-testpmd (Debian's package dpdk)" : null;

    public double[] Theirs()
    {
        string[] args = ["-oL", "dpdk-testpmd", "-l", "0,1", "-m", "256", "--in-memory", "--log-level", "5", .. Allowed,
            "--", "-i", .. s_own, "--record-core-cycles"];
        long start = Stopwatch.GetTimestamp();
        using var testpmd = new Conversation("stdbuf", args);
        testpmd.Say($"start tx_first {_bursts}");
        testpmd.Say("show port stats all");   // its answer comes once the first packets are out
        testpmd.ReadTo("statistics for port 1");
        double first = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        Thread.Sleep(TimeSpan.FromSeconds(Seconds / 6));
        testpmd.Say("show port stats all");
        Thread.Sleep(TimeSpan.FromSeconds(Seconds));
        testpmd.Say("show port stats all");
        testpmd.Say("stop");
        testpmd.Say("quit");
        string text = testpmd.ReadToEnd();
        double rate = Rates().Matches(text).TakeLast(2)
            .Sum(match => double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture));
        return [rate, Dpdk.Number(text, @"CPU cycles/packet=([0-9.]+)"), first];
    }

    public double[] Ours()
    {
        string json = Path.GetTempFileName();
        string[] unsafely = _backend == "noiommu" ? ["--unsafe-noiommu"] : [];
        string[] args = ["-c", "0", Applications.PathOf("Forward"), "-l", "1", "-m", "256", "--in-memory",
            "--iommu-backend", _backend, .. unsafely, .. Allowed,
            "--", .. s_own, "--no-offloads", "--tx-first", $"{_bursts}", "--duration", $"{Seconds}", "--stats-period",
            "0.05", "--plain", "--json", json];
        long start = Stopwatch.GetTimestamp();
        using var forward = new Conversation("taskset", args);
        forward.ReadTo("pps");
        double first = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        forward.ReadToEnd();
        using JsonDocument report = JsonDocument.Parse(File.ReadAllText(json));
        File.Delete(json);
        JsonElement root = report.RootElement;
        return [root.GetProperty("packets").GetProperty("received").GetDouble()
            / root.GetProperty("seconds").GetDouble(),
            root.GetProperty("lcores")[0].GetProperty("cyclesPerPacket").GetDouble(), first];
    }

    private string[] Allowed => ["-a", _nics[0], "-a", _nics[1]];

    private static string Model(string nic)
    {
        string ids = string.Concat(new[] { "vendor", "device" }.Select(name =>
            File.ReadAllText($"/sys/bus/pci/devices/{nic}/{name}").Trim()[2..]));
        return ids switch
        {
            "808610c9" => "igb",
            "808610d3" => "e1000e",
            // Which of two alike: the lab's words for them, in order.
            _ => (Environment.GetEnvironmentVariable("COMPARE_MODELS") ?? "").Split(' ') is { Length: > 1 } names
                ? names[(Array.IndexOf(LabNics, nic)) / 2] : "virtio",
        };
    }

    private static string[] LabNics => Environment.GetEnvironmentVariable("LAB_NICS")!.Split(' ');

    [GeneratedRegex(@"Rx-pps: +([0-9]+)")]
    private static partial Regex Rates();

    /// <summary>A program that is told things and read line by line.</summary>
    private sealed class Conversation : IDisposable
    {
        private readonly Process _process;
        private readonly System.Text.StringBuilder _said = new();
        private readonly Task<string> _errors;

        public Conversation(string program, string[] args)
        {
            _process = Process.Start(new ProcessStartInfo(program, args) { RedirectStandardInput = true,
                RedirectStandardOutput = true, RedirectStandardError = true })!;
            _errors = _process.StandardError.ReadToEndAsync();
        }

        public void Say(string line)
        {
            _process.StandardInput.WriteLine(line);
            _process.StandardInput.Flush();
        }

        public void ReadTo(string words)
        {
            while (_process.StandardOutput.ReadLine() is { } line)
            {
                _said.AppendLine(line);
                if (line.Contains(words, StringComparison.Ordinal))
                    return;
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
