using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Dataplane.Apps.Watch;
using Dataplane.Net;

namespace Dataplane.Apps.Forward;

/// <summary>How ports are joined.</summary>
internal enum PortTopology
{
    /// <summary>0 and 1, 2 and 3, ... both ways.</summary>
    Paired,
    /// <summary>0 to 1, 1 to 2, ... the last to 0.</summary>
    Chained,
    /// <summary>Each port back to itself.</summary>
    Loop,
}

/// <summary>The command line after <c>--</c>, testpmd's words where it has them.</summary>
internal sealed record ForwardOptions
{
    public string Mode { get; init; } = "io";
    public PortTopology Topology { get; init; }
    public int Burst { get; init; } = 32;
    public int RxQueues { get; init; } = 1;
    public int TxQueues { get; init; }
    public int RxDescriptors { get; init; }
    public int TxDescriptors { get; init; }
    public int PoolMbufs { get; init; }
    public int MbufBytes { get; init; } = Mbuf.DefaultBufferSize;
    public int CacheMbufs { get; init; } = 250;
    public int Cores { get; init; }
    public int Mtu { get; init; }
    public bool Promiscuous { get; init; } = true;
    public bool Offloads { get; init; } = true;
    public bool RxInterrupts { get; init; }
    public IReadOnlyDictionary<int, MacAddress> Peers { get; init; } = new Dictionary<int, MacAddress>();
    public int FrameBytes { get; init; } = 64;
    public int Flows { get; init; } = 1024;
    public int TxFirst { get; init; }
    public NoisyOptions Noisy { get; init; } = new();
    public double StatsPeriodSeconds { get; init; } = 1;
    public double DurationSeconds { get; init; }
    public bool Plain { get; init; }
    public string? JsonPath { get; init; }
    public bool Latency { get; init; }
    public bool RecordCycles { get; init; }
    public bool RecordBursts { get; init; }
    public WatchOptions Watch { get; init; } = new();
}

/// <summary>What <c>noisy</c> does to look like a busy network function.</summary>
/// <param name="MemoryMb">Working set that is read and written, MB.</param>
/// <param name="Reads">Random reads in it per packet.</param>
/// <param name="Writes">Random writes in it per packet.</param>
/// <param name="BufferPackets">Packets held back in a FIFO, 0 for none.</param>
/// <param name="FlushMs">Longest a packet is held when none follows, milliseconds.</param>
internal sealed record NoisyOptions(int MemoryMb = 0, int Reads = 0, int Writes = 0, int BufferPackets = 0,
    int FlushMs = 0);

/// <summary>Builds the command line and reads it.</summary>
internal static class ForwardCommandLine
{
    private static readonly Option<string> s_mode = new Option<string>("--forward-mode")
    { Description = "What to do with a packet.", DefaultValueFactory = _ => "io" }
        .AcceptOnlyFromAmong(["io", "mac", "macswap", "5tswap", "csum", "icmpecho", "rxonly", "txonly", "flowgen",
            "noisy"]);

    private static readonly Option<PortTopology> s_topology = new("--port-topology")
    { Description = "paired: 0<->1, 2<->3; chained: 0->1->2->0; loop: each to itself." };

    private static readonly Option<int> s_burst = Number("--burst", "Packets per burst.", 32, 1, 512);
    private static readonly Option<int> s_rxq = Number("--rxq", "Receive queues per port.", 1, 1, Port.MaxQueues);
    private static readonly Option<int> s_txq = Number("--txq", "Transmit queues per port; 0 = as many as --rxq.", 0, 0,
        Port.MaxQueues);
    private static readonly Option<int> s_rxd =
        Number("--rxd", "Descriptors per receive queue; 0 = the driver's.", 0, 0, 32768);
    private static readonly Option<int> s_txd =
        Number("--txd", "Descriptors per transmit queue; 0 = the driver's.", 0, 0, 32768);
    private static readonly Option<int> s_mbufs =
        Number("--total-num-mbufs", "Mbufs in the pool; 0 = computed.", 0, 0, int.MaxValue);
    private static readonly Option<int> s_mbufSize = Number("--mbuf-size", "Bytes per mbuf with headroom.",
        Mbuf.DefaultBufferSize, 256, 65535);
    private static readonly Option<int> s_cache = Number("--mbcache", "Mbufs cached per lcore.", 250, 0, 512);
    private static readonly Option<int> s_cores =
        Number("--nb-cores", "Forwarding lcores; 0 = all that have work.", 0, 0, Lcore.Max);
    private static readonly Option<int> s_mtu = Number("--mtu", "MTU of every port, bytes; 0 = as it is.", 0, 0, 65535);
    private static readonly Option<bool> s_noPromiscuous =
        new("--no-promiscuous") { Description = "Only frames for the port's own addresses." };
    private static readonly Option<bool> s_noOffloads =
        new("--no-offloads") { Description = "Ask no offload of any port but fast free, as testpmd." };
    private static readonly Option<bool> s_rxInterrupts = new("--rx-interrupts")
    { Description = "Sleep while no packet comes, until a receive queue's interrupt; poll while they do." };
    private static readonly Option<string[]> s_peers = new("--eth-peer")
    { Description = "PORT,MAC: destination of frames that mode mac sends out of PORT. Repeatable.",
    DefaultValueFactory = _ => [] };
    private static readonly Option<int> s_frame =
        Number("--txpkts", "Frame bytes of txonly and flowgen, no FCS.", 64, 60, 9014);
    private static readonly Option<int> s_flows = Number("--flows", "Flows of flowgen.", 1024, 1, 1 << 20);
    private static readonly Option<int> s_txFirst =
        Number("--tx-first", "Bursts of --txpkts frames that each stream sends first.", 0, 0, 1 << 16);
    private static readonly Option<int> s_noisyMemory =
        Number("--noisy-lkup-memory", "noisy: MB of working set.", 0, 0, 1 << 13);
    private static readonly Option<int> s_noisyReads =
        Number("--noisy-lkup-num-reads", "noisy: random reads per packet.", 0, 0, 1 << 16);
    private static readonly Option<int> s_noisyWrites =
        Number("--noisy-lkup-num-writes", "noisy: random writes per packet.", 0, 0, 1 << 16);
    private static readonly Option<int> s_noisyBuffer =
        Number("--noisy-tx-sw-buffer-size", "noisy: packets held in a FIFO.", 0, 0, 1 << 20);
    private static readonly Option<int> s_noisyFlush =
        Number("--noisy-tx-sw-buffer-flushtime", "noisy: ms until an idle FIFO is flushed.", 0, 0, 1 << 20);
    private static readonly Option<double> s_period = Seconds("--stats-period", "Seconds between tables; 0 = none.", 1);
    private static readonly Option<double> s_duration = Seconds("--duration", "Seconds to run; 0 = until Ctrl-C.", 0);
    private static readonly Option<bool> s_plain = new("--plain") { Description = "Plain lines even on a terminal." };
    private static readonly Option<FileInfo?> s_json =
        new("--json") { Description = "Write the summary to this file." };

    private static readonly Option<bool> s_latency = new("--latency")
    { Description = "Measure how long each packet stays here, from receipt to sending." };
    private static readonly Option<bool> s_recordCycles = new("--record-core-cycles")
    { Description = "Count cycles by stage: receiving, the mode, sending." };
    private static readonly Option<bool> s_recordBursts = new("--record-burst-stats")
    { Description = "Count bursts by size." };

    /// <summary>Parses <paramref name="args"/>; prints help or errors itself and then returns null with an exit
    /// code.</summary>
    public static ForwardOptions? Parse(string[] args, out int exitCode)
    {
        ForwardOptions? options = null;
        var root = new RootCommand("Forwards packets between ports.\n\n"
            + "  Forward [EAL options] -- [options below]    (EAL options: Forward -h)\n"
            + "  Forward [-- options]                        a demo on virtual ports, 5 seconds, no rights needed");
        foreach (Option option in (Option[])[s_mode, s_topology, s_burst, s_rxq, s_txq, s_rxd, s_txd, s_mbufs,
            s_mbufSize, s_cache, s_cores, s_mtu, s_noPromiscuous, s_noOffloads, s_rxInterrupts, s_peers, s_frame,
            s_flows, s_txFirst, s_noisyMemory, s_noisyReads, s_noisyWrites, s_noisyBuffer, s_noisyFlush, s_period,
            s_duration, s_plain, s_json, s_latency, s_recordCycles, s_recordBursts, .. WatchCommandLine.Options])
            root.Options.Add(option);
        root.SetAction(result => options = Bind(result));
        ParseResult parsed = root.Parse(args);
        exitCode = 1;
        if (Usage.Refuses(parsed, "Forward --", Console.Error))
            return null;
        exitCode = parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        return options;
    }

    private static ForwardOptions Bind(ParseResult result) => new()
    {
        Mode = result.GetValue(s_mode)!,
        Topology = result.GetValue(s_topology),
        Burst = result.GetValue(s_burst),
        RxQueues = result.GetValue(s_rxq),
        TxQueues = result.GetValue(s_txq),
        RxDescriptors = result.GetValue(s_rxd),
        TxDescriptors = result.GetValue(s_txd),
        PoolMbufs = result.GetValue(s_mbufs),
        MbufBytes = result.GetValue(s_mbufSize),
        CacheMbufs = result.GetValue(s_cache),
        Cores = result.GetValue(s_cores),
        Mtu = result.GetValue(s_mtu),
        Promiscuous = !result.GetValue(s_noPromiscuous),
        Offloads = !result.GetValue(s_noOffloads),
        RxInterrupts = CheckWaits(result.GetValue(s_rxInterrupts), result.GetValue(s_mode)!),
        Peers = ParsePeers(result.GetValue(s_peers)!),
        FrameBytes = result.GetValue(s_frame),
        Flows = result.GetValue(s_flows),
        TxFirst = result.GetValue(s_txFirst),
        Noisy = new NoisyOptions(result.GetValue(s_noisyMemory), result.GetValue(s_noisyReads),
            result.GetValue(s_noisyWrites), result.GetValue(s_noisyBuffer), result.GetValue(s_noisyFlush)),
        StatsPeriodSeconds = result.GetValue(s_period),
        DurationSeconds = result.GetValue(s_duration),
        Plain = result.GetValue(s_plain),
        JsonPath = CheckFolder(result.GetValue(s_json)),
        Latency = result.GetValue(s_latency),
        RecordCycles = result.GetValue(s_recordCycles),
        RecordBursts = result.GetValue(s_recordBursts),
        Watch = WatchCommandLine.Bind(result),
    };

    private static bool CheckWaits(bool rxInterrupts, string mode) => rxInterrupts && mode is "txonly" or "flowgen"
        or "noisy" ? throw new ConfigException($"--rx-interrupts with --forward-mode {mode}",
            why: "it has packets to send when none come in", fix: "leave --rx-interrupts out") : rxInterrupts;

    /// <summary>Better now than after hours of forwarding.</summary>
    private static string? CheckFolder(FileInfo? json) => json is { Directory.Exists: false }
        ? throw new ConfigException($"--json {json}", why: $"there is no directory {json.DirectoryName}",
            fix: $"mkdir -p {json.DirectoryName}")
        : json?.FullName;

    private static Dictionary<int, MacAddress> ParsePeers(string[] texts)
    {
        var peers = new Dictionary<int, MacAddress>();
        foreach (string text in texts)
        {
            (int port, MacAddress mac) = ParsePeer(text);
            if (!peers.TryAdd(port, mac))
                throw new ConfigException($"--eth-peer {text}", why: $"port {port} has a peer already, {peers[port]}",
                    fix: "give it once");
        }
        return peers;
    }

    private static KeyValuePair<int, MacAddress> ParsePeer(string text)
    {
        string[] parts = text.Split(',', 2);
        if (parts.Length != 2 || !int.TryParse(parts[0], out int port) || port < 0
            || !MacAddress.TryParse(parts[1], out MacAddress mac))
            throw new ConfigException($"--eth-peer {text}", why: "it wants PORT,MAC",
                fix: "e.g. --eth-peer 1,02:00:00:00:00:02");
        return new(port, mac);
    }

    private static Option<int> Number(string name, string help, int fallback, int min, int max)
    {
        var option = new Option<int>(name) { Description = help, DefaultValueFactory = _ => fallback };
        option.Validators.Add(result => Check(result, name, min, max));
        return option;
    }

    private static Option<double> Seconds(string name, string help, double fallback)
    {
        var option = new Option<double>(name) { Description = help, DefaultValueFactory = _ => fallback };
        option.Validators.Add(result =>
        {
            // A wait longer than int.MaxValue milliseconds is none that .NET knows. And 0,5 is no number: it would be
            // read as 5.
            string? text = result.Tokens.SingleOrDefault()?.Value;
            if (text != null && !(double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture,
                out double value) && value is >= 0 and <= 2_000_000))
                result.AddError($"{name} wants 0 to 2000000 seconds, such as 0.5, not {text}");
        });
        return option;
    }

    private static void Check(OptionResult result, string name, int min, int max)
    {
        if (int.TryParse(result.Tokens.SingleOrDefault()?.Value, out int value) && (value < min || value > max))
            result.AddError($"{name} wants {min} to {max}, not {value}");
    }
}
