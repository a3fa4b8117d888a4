namespace Dataplane.Pmd;

/// <summary>Where packets of one queue come from or go to.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Name">A path, or an interface's name.</param>
internal readonly record struct PcapEnd(PcapEndKind Kind, string Name);

/// <summary>What a queue's packets come from or go to.</summary>
internal enum PcapEndKind
{
    /// <summary>A capture file.</summary>
    File,
    /// <summary>A kernel interface.</summary>
    Interface,
    /// <summary>A kernel interface, without what is sent there.</summary>
    InterfaceInbound,
}

/// <summary>The arguments of a pcap port.</summary>
internal sealed record PcapOptions
{
    internal const string Help = "rx_pcap=FILE and tx_pcap=FILE, each any number of times, one queue each; "
        + "rx_iface=NAME, rx_iface_in=NAME (only what comes in), tx_iface=NAME; or iface=NAME for both ways; "
        + "infinite_rx=0|1 (0) replays for ever, timing=0|1 (0) keeps the original pauses, follow=0|1 (0) waits for "
        + "more, eof=0|1 (0) link down at the end, snaplen=BYTES (262144), phy_mac=0|1 (0), format=pcap|pcapng (pcap), "
        + "nano=0|1 (0), stamp=now|mbuf (now), flush=MS (100)";

    /// <summary>One receive queue each.</summary>
    internal required IReadOnlyList<PcapEnd> Receive { get; init; }

    /// <summary>One transmit queue each.</summary>
    internal required IReadOnlyList<PcapEnd> Transmit { get; init; }

    /// <summary>One interface, one socket, one queue each way.</summary>
    internal required string? Interface { get; init; }

    /// <summary>The port has the interface's hardware address.</summary>
    internal required bool PhysicalMac { get; init; }

    /// <summary>Files are read once and played for ever.</summary>
    internal required bool Infinite { get; init; }

    /// <summary>Packets come at the pace of their stamps.</summary>
    internal required bool Timing { get; init; }

    /// <summary>Files may grow while they are read.</summary>
    internal required bool Follow { get; init; }

    /// <summary>The link goes down when all files are read.</summary>
    internal required bool LinkDownAtEnd { get; init; }

    /// <summary>Most bytes of a packet that are kept.</summary>
    internal required int SnapLength { get; init; }

    /// <summary>Of files written.</summary>
    internal required PcapFormat Format { get; init; }

    /// <summary>Files written have stamps in nanoseconds.</summary>
    internal required bool Nanoseconds { get; init; }

    /// <summary>Packets that were stamped when they were received keep that stamp.</summary>
    internal required bool KeepStamps { get; init; }

    /// <summary>Most time from one write to a file to the next, as long as the queue is polled.</summary>
    internal required int FlushMs { get; init; }

    /// <summary>Reads and checks the arguments.</summary>
    /// <exception cref="ConfigException">A missing, unknown or impossible one.</exception>
    internal static PcapOptions Parse(DevArgs args)
    {
        var options = new PcapOptions
        {
            Receive = Ends(args, ("rx_pcap", PcapEndKind.File), ("rx_iface", PcapEndKind.Interface),
                ("rx_iface_in", PcapEndKind.InterfaceInbound)),
            Transmit = Ends(args, ("tx_pcap", PcapEndKind.File), ("tx_iface", PcapEndKind.Interface)),
            Interface = args.GetString("iface"),
            PhysicalMac = args.GetFlag("phy_mac"),
            Infinite = args.GetFlag("infinite_rx"),
            Timing = args.GetFlag("timing"),
            Follow = args.GetFlag("follow"),
            LinkDownAtEnd = args.GetFlag("eof"),
            SnapLength = (int)args.GetNumber("snaplen", PcapWire.MaxCaptureBytes, 14, PcapWire.MaxCaptureBytes),
            Format = Choice(args, "format", "pcap", "pcapng") == 0 ? PcapFormat.Pcap : PcapFormat.PcapNg,
            Nanoseconds = args.GetFlag("nano"),
            KeepStamps = Choice(args, "stamp", "now", "mbuf") == 1,
            FlushMs = (int)args.GetNumber("flush", 100, 0, 60_000),
        };
        args.ThrowIfUnused();
        options.Check(args.Name);
        return options;
    }

    private void Check(string device)
    {
        string? wrong =
            Interface != null && Receive.Count + Transmit.Count > 0 ? "iface= is both ways and goes with no other end"
            : Interface == null && Receive.Count + Transmit.Count == 0 ? "there is nothing to receive from or send to"
            : Math.Max(Receive.Count, Transmit.Count) > Port.MaxQueues ? $"more than {Port.MaxQueues} queues of a kind"
            : (Infinite || Timing || Follow || LinkDownAtEnd) && !Receive.Any(end => end.Kind == PcapEndKind.File)
                ? "infinite_rx=, timing=, follow= and eof= are for files that are read: give rx_pcap="
            : Infinite && (Follow || LinkDownAtEnd) ? "infinite_rx=1 never comes to an end: leave out follow= and eof="
            : Follow && LinkDownAtEnd ? "with follow=1 there is no end: leave out eof="
            : Duplicate(Transmit) is string twice ? $"tx_pcap={twice} is given twice"
            : Overwritten() is string input
                ? $"'{input}' would be emptied by tx_pcap= before rx_pcap= reads it: give follow=1 too"
            : PhysicalMac && InterfaceNames.FirstOrDefault() == null ? "phy_mac=1 needs an interface"
            : null;
        if (wrong != null)
            throw new ConfigException($"device '{device}': {wrong}",
                fix: $"write e.g. --vdev={device},rx_pcap=in.pcap,tx_pcap=out.pcap or --vdev={device},iface=eth0");
    }

    /// <summary>Interfaces that packets come from or go to.</summary>
    internal IEnumerable<string> InterfaceNames => Interface != null ? [Interface]
        : Receive.Concat(Transmit).Where(end => end.Kind != PcapEndKind.File).Select(end => end.Name);

    private string? Overwritten() => Follow ? null : Files(Receive).Intersect(Files(Transmit)).FirstOrDefault();

    private static string? Duplicate(IReadOnlyList<PcapEnd> ends) =>
        Files(ends).GroupBy(path => path).FirstOrDefault(group => group.Count() > 1)?.Key;

    private static IEnumerable<string> Files(IEnumerable<PcapEnd> ends) => ends
        .Where(end => end.Kind == PcapEndKind.File && !end.Name.StartsWith("/dev/", StringComparison.Ordinal))
        .Select(end => Path.GetFullPath(end.Name));

    private static List<PcapEnd> Ends(DevArgs args, params (string Key, PcapEndKind Kind)[] keys)
    {
        foreach ((string key, _) in keys)
            _ = args.GetAll(key).Count();   // marks it as known
        var ends = new List<PcapEnd>();
        foreach ((string key, string value) in args.Pairs)
            if (Array.FindIndex(keys, known => known.Key == key) is var i and >= 0)
            {
                if (value.Length == 0)
                    throw new ConfigException($"device '{args.Name}': {key}= is empty");
                ends.Add(new PcapEnd(keys[i].Kind, value));
            }
        return ends;
    }

    private static int Choice(DevArgs args, string key, params string[] words)
    {
        string value = args.GetString(key, words[0])!;
        int index = Array.IndexOf(words, value);
        return index >= 0 ? index : throw new ConfigException($"device '{args.Name}': {key}={value} is unknown",
            fix: "one of " + string.Join(", ", words));
    }
}
