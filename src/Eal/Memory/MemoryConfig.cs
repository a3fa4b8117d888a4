namespace Dataplane;

/// <summary>What was asked for, in bytes and free of the command line's words.</summary>
internal sealed record MemoryConfig
{
    internal const ulong DefaultBaseAddress = 0x1_0000_0000;   // DPDK's first hint: far from heap, stacks and libraries
    internal const ulong DefaultOrdinaryBytes = 64 << 20;      // DPDK's --no-huge default

    /// <summary>Bytes to take at start over all nodes; null: not said.</summary>
    internal ulong? TotalBytes { get; init; }

    /// <summary>Bytes to take at start by node id; null: not said.</summary>
    internal IReadOnlyList<ulong>? NodeBytes { get; init; }

    /// <summary>Ordinary pages only.</summary>
    internal bool NoHuge { get; init; }

    /// <summary>A hugetlbfs directory for named files; null: memfd.</summary>
    internal string? HugeDir { get; init; }

    /// <summary>First part of those files' names.</summary>
    internal string Prefix { get; init; } = "dataplane";

    /// <summary>Where to ask for address space.</summary>
    internal ulong BaseAddress { get; init; } = DefaultBaseAddress;

    /// <summary>The user named the base address, so missing it is worth a word.</summary>
    internal bool BaseAddressGiven { get; init; }

    /// <summary>What <see cref="Memory.ToIova"/> gives.</summary>
    internal bool PhysicalAddresses { get; init; }

    /// <summary>How many of the lcores are on each node, which shares out <see cref="TotalBytes"/>.</summary>
    internal IReadOnlyDictionary<int, int> LcoresByNode { get; init; } = new Dictionary<int, int>();

    /// <summary>Memory channels, 0: not said.</summary>
    internal int Channels { get; init; }

    /// <summary>Memory ranks, 0: not said.</summary>
    internal int Ranks { get; init; }

    /// <summary>The root of sysfs.</summary>
    internal string Sys { get; init; } = "/sys";

    /// <summary>The user asked for an amount, so it is hugepages or an error (unless <see cref="NoHuge"/>).</summary>
    internal bool AmountGiven => TotalBytes != null || NodeBytes != null;

    /// <exception cref="ConfigException">Options that exclude each other.</exception>
    internal static MemoryConfig From(EalOptions options, IReadOnlyDictionary<int, int>? lcoresByNode = null)
    {
        if (options.NoHuge && options.IovaMode == IovaMode.Pa)
            throw new ConfigException("--no-huge and --iova-mode=pa exclude each other",
                why: "the kernel may move ordinary pages, so their physical addresses do not hold",
                fix: "leave out --no-huge, or use --iova-mode=va");
        return new()
        {
            TotalBytes = (ulong?)options.MemoryMb << 20,
            NodeBytes = options.NumaMemoryMb?.Select(mb => (ulong)mb << 20).ToArray(),
            NoHuge = options.NoHuge,
            HugeDir = options.HugeDir,
            Prefix = options.FilePrefix,
            BaseAddress = options.BaseVirtAddr ?? DefaultBaseAddress,
            BaseAddressGiven = options.BaseVirtAddr != null,
            PhysicalAddresses = options.IovaMode == IovaMode.Pa || options.UnsafeNoIommu,
            Channels = options.MemoryChannels ?? 0,
            Ranks = options.MemoryRanks ?? 0,
            LcoresByNode = lcoresByNode ?? new Dictionary<int, int>(),
        };
    }
}
