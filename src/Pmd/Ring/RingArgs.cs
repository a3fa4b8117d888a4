namespace Dataplane.Pmd;

/// <summary>What the user may say about a ring port.</summary>
/// <param name="Queues">Rings to make, and queues of each kind.</param>
/// <param name="Size">Packets a ring holds.</param>
/// <param name="Peer">The port to join, or null for a loop.</param>
/// <param name="Node">The name rings are made or found under, or null for the port's own.</param>
/// <param name="NumaNode">Where rings are made.</param>
/// <param name="Attach">Rings are found, not made.</param>
internal sealed record RingArgs(int Queues, int Size, string? Peer, string? Node, int NumaNode, bool Attach)
{
    /// <summary>The name of a ring, as DPDK's driver names it.</summary>
    internal static string RingName(string node, int queue) => $"ETH_RXTX{queue}_{node}";

    internal static RingArgs Parse(DevArgs args)
    {
        int queues = (int)args.GetNumber("queues", 16, 1, Port.MaxQueues);
        int size = (int)args.GetNumber("size", 1024, 1, 1 << 20);
        string? peer = args.GetString("peer");
        string? action = args.GetString("nodeaction");
        args.ThrowIfUnused();
        if (action == null)
            return new RingArgs(queues, size, peer, null, Memory.AnyNode, Attach: false);
        string[] parts = action.Split(':');
        if (parts.Length != 3 || parts[0].Length == 0 || !int.TryParse(parts[1], out int node) || node < Memory.AnyNode
            || parts[2] is not ("CREATE" or "ATTACH") || peer != null)
            throw new ConfigException($"device '{args.Name}': nodeaction={action} cannot be used",
                why: peer != null ? "it does not go with peer=" : "it is not NAME:NODE:CREATE or NAME:NODE:ATTACH",
                fix: "write e.g. nodeaction=r0:0:CREATE for one port and nodeaction=r0:0:ATTACH for another");
        return new RingArgs(queues, size, null, parts[0], node, Attach: parts[2] == "ATTACH");
    }

    /// <summary>The rings that another port made under the name.</summary>
    internal Ring<Mbuf>[] Lookup(Memory memory)
    {
        var rings = new List<Ring<Mbuf>>();
        while (rings.Count < Queues && Ring<Mbuf>.Lookup(memory, RingName(Node!, rings.Count)) is Ring<Mbuf> ring)
            rings.Add(ring);
        return rings.Count > 0 ? [.. rings] : throw new ConfigException(
            $"there is no ring '{RingName(Node!, 0)}' to attach to",
            fix: $"make it first: --vdev net_ring0,nodeaction={Node}:0:CREATE");
    }
}
