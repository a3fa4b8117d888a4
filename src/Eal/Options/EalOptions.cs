namespace Dataplane;

/// <summary>
/// How to start an <see cref="Eal"/>: what DPDK's command line says, typed. Every property left alone means what
/// leaving the option out means. Immutable; any thread.
/// </summary>
public sealed partial record EalOptions
{
    /// <summary>
    /// The lcores to run, by rising id (<c>-l</c>). Null: one per CPU in the affinity mask of the starting thread.
    /// </summary>
    public IReadOnlyList<LcoreAssignment>? Lcores { get; init; }

    /// <summary>The id of the main lcore (<c>--main-lcore</c>). Null: the lowest that is no service lcore.</summary>
    public int? MainLcore { get; init; }

    /// <summary>Ids of the lcores that run services instead of workers (<c>-S</c>).</summary>
    public IReadOnlyList<int> ServiceLcores { get; init; } = [];

    /// <summary>Memory to take at start, MiB over all nodes (<c>-m</c>), at least 1. Null: not said.</summary>
    public int? MemoryMb { get; init; }

    /// <summary>Memory to take at start, MiB for each NUMA node from node 0 on (<c>--numa-mem</c>). Null: not
    /// said.</summary>
    public IReadOnlyList<int>? NumaMemoryMb { get; init; }

    /// <summary>The hugetlbfs mount, or a directory in one, to make named page files in (<c>--huge-dir</c>). Null:
    /// memfd.</summary>
    public string? HugeDir { get; init; }

    /// <summary>No files at all, whatever else would make one (<c>--in-memory</c>).</summary>
    public bool InMemory { get; init; }

    /// <summary>Ordinary pages only (<c>--no-huge</c>).</summary>
    public bool NoHuge { get; init; }

    /// <summary>Where in the address space to ask for memory, bytes (<c>--base-virtaddr</c>). Null: the default
    /// hint.</summary>
    public ulong? BaseVirtAddr { get; init; }

    /// <summary>What devices are told to address memory by (<c>--iova-mode</c>).</summary>
    public IovaMode IovaMode { get; init; }

    /// <summary>The only bus devices to use, each with its arguments (<c>-a</c>). Empty: all that are bound to
    /// us.</summary>
    public IReadOnlyList<string> Allow { get; init; } = [];

    /// <summary>Bus devices to leave alone (<c>-b</c>).</summary>
    public IReadOnlyList<string> Block { get; init; } = [];

    /// <summary>Virtual devices to create (<c>--vdev</c>): driver name and number, then <c>,key=value</c>
    /// pairs.</summary>
    public IReadOnlyList<string> Vdevs { get; init; } = [];

    /// <summary>Leave the PCI bus alone altogether (<c>--no-pci</c>).</summary>
    public bool NoPci { get; init; }

    /// <summary>The kernel interface that bound devices are used through (<c>--iommu-backend</c>).</summary>
    public IommuBackend IommuBackend { get; init; }

    /// <summary>
    /// Allow devices without an IOMMU (<c>--unsafe-noiommu</c>): such a device can overwrite any memory of the
    /// machine. Memory is then taken with its physical addresses.
    /// </summary>
    public bool UnsafeNoIommu { get; init; }

    /// <summary>The secret agreed with whoever holds the physical function, to open its virtual functions
    /// (<c>--vfio-vf-token</c>). Null: none.</summary>
    public Guid? VfioVfToken { get; init; }

    /// <summary>The only kind of interrupt to use (<c>--vfio-intr</c>). <see cref="InterruptKind.None"/>: the best
    /// that a device has.</summary>
    public InterruptKind VfioIntr { get; init; }

    /// <summary>
    /// An open <c>/dev/iommu</c> handed in by the parent (<c>--iommu-fd</c>), for a process that may not open it
    /// itself; stays the caller's. Devices come the same way: <c>-a 0000:3b:00.0,vfio-fd=7</c>. Null: none.
    /// </summary>
    public int? IommuFd { get; init; }

    /// <summary>What our files and threads are named by, so that two processes do not meet
    /// (<c>--file-prefix</c>).</summary>
    public string FilePrefix { get; init; } = "dataplane";

    /// <summary>Fail where the telemetry socket cannot be had (<c>--telemetry</c>). Else it is said in the log, and all
    /// goes on without.</summary>
    public bool Telemetry { get; init; }

    /// <summary>No telemetry socket (<c>--no-telemetry</c>). <see cref="InMemory"/> makes none either, unless
    /// <see cref="Telemetry"/> asks for it.</summary>
    public bool NoTelemetry { get; init; }

    /// <summary>Memory channels of the machine, 1 to 16 (<c>-n</c>): pools spread objects over them. Null:
    /// unknown.</summary>
    public int? MemoryChannels { get; init; }

    /// <summary>Memory ranks of the machine, 1 to 16 (<c>-r</c>): pools spread objects over them. Null:
    /// unknown.</summary>
    public int? MemoryRanks { get; init; }

    /// <summary>Nothing less urgent than this is logged, whatever its type (<c>--log-level LEVEL</c>).</summary>
    public LogSeverity LogLevel { get; init; } = LogSeverity.Debug;

    /// <summary>Levels of single log types, the last match counts (<c>--log-level GLOB:LEVEL</c>).</summary>
    public IReadOnlyList<LogRule> LogRules { get; init; } = [];

    /// <summary>
    /// Widest vectors the data path may use, bits: 64 (scalar), 128, 256, 512, or 0 for no limit
    /// (<c>--force-max-simd-bitwidth</c>). Null: the runtime's choice. Only the start of the process can narrow it:
    /// where it is wider, the EAL warns and names the environment variable.
    /// </summary>
    public int? ForceMaxSimdBitwidth { get; init; }

    /// <summary>Print the version and end (<c>-v</c>).</summary>
    public bool Version { get; init; }

    /// <summary>Print the help and end (<c>-h</c>): the application's to do.</summary>
    public bool Help { get; init; }
}
