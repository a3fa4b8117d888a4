namespace Dataplane.Pmd;

/// <summary>The arguments of a vhost port. Names as DPDK's net_vhost has them, and some of our own.</summary>
/// <param name="Path">The Unix socket.</param>
/// <param name="Queues">Queue pairs offered.</param>
/// <param name="Client">Connects; else listens.</param>
/// <param name="Tso">Superframes are offered, both ways.</param>
/// <param name="Linear">Frames are never spread over several mbufs.</param>
/// <param name="Packed">Packed rings are offered.</param>
/// <param name="Sealed">Only memory whose size is sealed is taken.</param>
internal sealed record VhostOptions(string Path, int Queues, bool Client, bool Tso, bool Linear, bool Packed,
    bool Sealed)
{
    internal const string Help = "iface=PATH (needed) Unix socket, queues=N (1), client=0|1 (0) connect in place of "
        + "listening, tso=0|1 (0), linear-buffer=0|1 (0), packed=0|1 (1) offer packed rings, sealed=0|1 (0) refuse "
        + "memory that the peer could cut";

    internal static VhostOptions Parse(DevArgs args)
    {
        string path = args.GetString("iface") ?? throw new ConfigException($"device '{args.Name}' needs iface=PATH",
            fix: $"write --vdev={args.Name},iface=/run/vhost.sock");
        foreach (string key in (string[])["iommu-support", "postcopy-support"])
            if (args.GetFlag(key))
                throw new ConfigException($"device '{args.Name}': {key}=1 is not supported", fix: "leave it out");
        _ = args.GetFlag("ext-buffer");   // superframes are spread over mbufs: no use for it
        var options = new VhostOptions(path, (int)args.GetNumber("queues", 1, 1, Port.MaxQueues),
            args.GetFlag("client"), args.GetFlag("tso"), args.GetFlag("linear-buffer"), args.GetFlag("packed", true),
            args.GetFlag("sealed"));
        args.ThrowIfUnused();
        return options;
    }
}
