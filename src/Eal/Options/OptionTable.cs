namespace Dataplane;

/// <summary>One option of the command line and the configuration file.</summary>
/// <param name="Names">As typed, the first one shown in help: <c>-l</c>, <c>--lcores</c>.</param>
/// <param name="Value">What its value is called in help, null for a flag.</param>
/// <param name="Group">The heading it stands under in help.</param>
/// <param name="Help">Its help, wrapped when printed.</param>
/// <param name="Key">The property of <see cref="EalOptions"/> it sets, its name in a configuration file.</param>
/// <param name="Apply">Sets the property; gets the option as the user named it and its value.</param>
internal sealed record OptionDefinition(string[] Names, string? Value, string Group, string Help, string Key,
    Func<EalOptions, string, string, EalOptions> Apply)
{
    /// <summary>May be given several times; the values add up.</summary>
    internal bool IsRepeatable { get; init; }

    /// <summary>The options before the first use of a repeatable option: its list emptied.</summary>
    internal Func<EalOptions, EalOptions> Clear { get; init; } = options => options;
}

/// <summary>Every option there is, in the order help shows them.</summary>
internal static class OptionTable
{
    private const string Cores = "Cores", Memory = "Memory", Devices = "Devices", Log = "Log", Other = "Other";

    internal static IReadOnlyList<OptionDefinition> All { get; } =
    [
        new(["-l", "--lcores"], "LIST", Cores,
            "Lcores to run: 0-3,8 runs lcore N on CPU N. LSET@CSET maps freely: 1@4,(2,3)@(5-7) "
            + "runs lcore 1 on CPU 4, and lcores 2 and 3 each on any of 5 to 7. Default: every CPU "
            + "this process may run on.",
            nameof(EalOptions.Lcores), (o, name, v) => o with { Lcores = LcoreList.Parse(v, name) }),
        new(["--main-lcore"], "ID", Cores, "The lcore that leads. Default: the lowest that runs no services.",
            nameof(EalOptions.MainLcore),
            (o, name, v) => o with { MainLcore = OptionValue.Number(v, name, 0, Lcore.Max - 1) }),
        new(["-S", "--service-corelist"], "LIST", Cores, "Lcores that run services instead of workers.",
            nameof(EalOptions.ServiceLcores), (o, name, v) => o with { ServiceLcores = LcoreList.ParseIds(v, name) }),

        new(["-m", "--memory-size"], "MB", Memory, "Take this much memory at start, over all NUMA nodes.",
            nameof(EalOptions.MemoryMb),
            (o, name, v) => o with { MemoryMb = OptionValue.Number(v, name, 1, OptionValue.MaxMegabytes) }),
        new(["--numa-mem", "--socket-mem"], "MB,MB...", Memory,
            "The same for each NUMA node: 512,0 takes 512 MB on node 0.", nameof(EalOptions.NumaMemoryMb),
            (o, name, v) => o with { NumaMemoryMb = OptionValue.Megabytes(v, name) }),
        new(["--huge-dir"], "DIR", Memory, "Keep hugepages as files in this hugetlbfs mount. Default: no files "
            + "(memfd).", nameof(EalOptions.HugeDir), (o, name, v) => o with { HugeDir = v }),
        new(["--in-memory"], null, Memory, "Make no file anywhere.",
            nameof(EalOptions.InMemory), (o, name, v) => o with { InMemory = OptionValue.Flag(v, name) }),
        new(["--no-huge"], null, Memory, "Use ordinary pages: no privileges needed, slower.",
            nameof(EalOptions.NoHuge), (o, name, v) => o with { NoHuge = OptionValue.Flag(v, name) }),
        new(["--base-virtaddr"], "HEX", Memory, "Where in the address space to start.",
            nameof(EalOptions.BaseVirtAddr), (o, name, v) => o with { BaseVirtAddr = OptionValue.Hex(v, name) }),
        new(["--iova-mode"], "pa|va|auto", Memory,
            "What devices address memory by: physical or virtual addresses. Default: as each device needs it.",
            nameof(EalOptions.IovaMode), (o, name, v) => o with { IovaMode = OptionValue.Iova(v, name) }),
        new(["-n", "--memory-channels"], "N", Memory,
            "Memory channels of the machine, 1 to 16; pools spread over them.", nameof(EalOptions.MemoryChannels),
            (o, name, v) => o with { MemoryChannels = OptionValue.Number(v, name, 1, 16) }),
        new(["-r", "--memory-ranks"], "N", Memory, "Memory ranks of the machine, 1 to 16.",
            nameof(EalOptions.MemoryRanks), (o, name, v) =>
            o with { MemoryRanks = OptionValue.Number(v, name, 1, 16) }),

        new(["--vdev"], "NAME[,K=V...]", Devices,
            "Make a virtual device; may be repeated. The name is a driver's and a number: "
            + "net_null0,size=64. 'dpctl ports' lists the drivers and their arguments.",
            nameof(EalOptions.Vdevs), (o, name, v) => o with { Vdevs = [.. o.Vdevs, OptionValue.Device(v, name)] })
        { IsRepeatable = true, Clear = o => o with { Vdevs = [] } },
        new(["-a", "--allow"], "DEV[,K=V...]", Devices,
            "Use this bus device and none that is not named so; may be repeated.", nameof(EalOptions.Allow),
            (o, name, v) => o with { Allow = [.. o.Allow, OptionValue.Device(v, name)] })
        { IsRepeatable = true, Clear = o => o with { Allow = [] } },
        new(["-b", "--block"], "DEV", Devices, "Leave this bus device alone; may be repeated.",
            nameof(EalOptions.Block), (o, name, v) => o with { Block = [.. o.Block, OptionValue.Device(v, name)] })
        { IsRepeatable = true, Clear = o => o with { Block = [] } },
        new(["--no-pci"], null, Devices, "Leave the PCI bus alone altogether.",
            nameof(EalOptions.NoPci), (o, name, v) => o with { NoPci = OptionValue.Flag(v, name) }),
        new(["--iommu-backend"], "auto|iommufd|type1|noiommu", Devices,
            "How to use devices bound to vfio-pci. Default: iommufd where the kernel has it, else type1.",
            nameof(EalOptions.IommuBackend),
            (o, name, v) => o with { IommuBackend = OptionValue.Backend(v, name) }),
        new(["--unsafe-noiommu"], null, Devices,
            "Allow devices without an IOMMU. A bug or a bad packet can then overwrite any memory.",
            nameof(EalOptions.UnsafeNoIommu),
            (o, name, v) => o with { UnsafeNoIommu = OptionValue.Flag(v, name) }),
        new(["--vfio-vf-token"], "UUID", Devices, "The token that the holder of the physical function has set.",
            nameof(EalOptions.VfioVfToken), (o, name, v) => o with { VfioVfToken = OptionValue.Uuid(v, name) }),
        new(["--vfio-intr"], "legacy|msi|msix", Devices,
            "The kind of interrupt to use. Default: the best that a device has.",
            nameof(EalOptions.VfioIntr), (o, name, v) => o with { VfioIntr = OptionValue.Interrupt(v, name) }),
        new(["--iommu-fd"], "FD", Devices,
            "Use /dev/iommu as opened by the parent process. Devices come so too: -a DEV,vfio-fd=FD.",
            nameof(EalOptions.IommuFd),
            (o, name, v) => o with { IommuFd = OptionValue.Number(v, name, 0, int.MaxValue) }),

        new(["--log-level"], "[GLOB:]LEVEL", Log,
            "Log up to LEVEL: emerg, alert, critical, error, warning, notice, info, debug or 1 to 8. "
            + "With GLOB: the log types it matches ('lib.*:debug'; types stand at info). Without: the "
            + "bound on all types (debug). May be repeated, the last match counts.",
            nameof(EalOptions.LogLevel), OptionValue.ApplyLogLevel)
        { IsRepeatable = true, Clear = o => o with { LogRules = [] } },

        new(["--file-prefix"], "NAME", Other,
            "What this process's files are named by, so that two can run. Default: dataplane.",
            nameof(EalOptions.FilePrefix), (o, name, v) => o with { FilePrefix = OptionValue.Prefix(v, name) }),
        new(["--telemetry"], null, Other, "Fail where the telemetry socket cannot be had.",
            nameof(EalOptions.Telemetry), (o, name, v) => o with { Telemetry = OptionValue.Flag(v, name) }),
        new(["--no-telemetry"], null, Other, "No telemetry socket. Default: "
            + "<runtime directory>/dpdk/<file prefix>/dpdk_telemetry.v2, which dpdk-telemetry.py reads.",
            nameof(EalOptions.NoTelemetry), (o, name, v) => o with { NoTelemetry = OptionValue.Flag(v, name) }),
        new(["--force-max-simd-bitwidth"], "BITS", Other,
            "Widest vectors to use: 64 (none), 128, 256, 512; 0 for no limit. Warns, and says which "
            + "environment variable does it, where the runtime was started with wider ones.",
            nameof(EalOptions.ForceMaxSimdBitwidth),
            (o, name, v) => o with { ForceMaxSimdBitwidth = OptionValue.SimdBits(v, name) }),
        new(["-v", "--version"], null, Other, "Print the version and end.",
            nameof(EalOptions.Version), (o, name, v) => o with { Version = OptionValue.Flag(v, name) }),
        new(["-h", "--help"], null, Other, "Print this and end.",
            nameof(EalOptions.Help), (o, name, v) => o with { Help = OptionValue.Flag(v, name) }),
    ];

    /// <summary>Options of DPDK that are not here, with what to do instead.</summary>
    internal static IReadOnlyDictionary<string, string> Elsewhere { get; } = new Dictionary<string, string>
    {
        ["-c"] = "coremasks are gone: use -l", ["--coremask"] = "coremasks are gone: use -l",
        ["-s"] = "coremasks are gone: use -S", ["--service-coremask"] = "coremasks are gone: use -S",
        ["-R"] = "map ids with -l ID@CPU", ["--remap-lcore-ids"] = "map ids with -l ID@CPU",
        ["-d"] = "drivers are built in: leave it out", ["--driver-path"] = "drivers are built in: leave it out",
        ["--proc-type"] = "every process is a primary so far: leave it out",
        ["--no-shconf"] = "nothing is shared so far: leave it out",
        ["--legacy-mem"] = "memory is taken at start as it is: leave it out",
        ["--single-file-segments"] = "it is so by default: leave it out",
        ["--match-allocations"] = "memory stays until the end: leave it out",
        ["--huge-unlink"] = "hugepages have no files unless --huge-dir is given: leave it out",
        ["--huge-worker-stack"] = "not offered: leave it out",
        ["--numa-limit"] = "memory is taken at start: use --numa-mem",
        ["--socket-limit"] = "memory is taken at start: use --numa-mem",
        ["--pagesz-mem"] = "memory is taken at start: use -m or --numa-mem",
        ["--trace"] = "not offered yet: leave it out", ["--trace-dir"] = "not offered yet: leave it out",
        ["--trace-bufsz"] = "not offered yet: leave it out", ["--trace-mode"] = "not offered yet: leave it out",
        ["--syslog"] = "hand an ILoggerFactory to Eal.Initialize", ["--log-color"] = "not offered: leave it out",
        ["--log-timestamp"] = "not offered: pipe stderr through 'ts'",
        ["--no-hpet"] = "the TSC is the clock: leave it out", ["--create-uio-dev"] = "UIO is not used: leave it out",
        ["--vmware-tsc-map"] = "not offered: leave it out",
        ["-A"] = "not offered: name devices with -a", ["--no-auto-probing"] = "not offered: name devices with -a",
        ["--auto-probing"] = "it is so by default: leave it out",
        ["--mbuf-pool-ops-name"] = "the application chooses: leave it out",
    };

    /// <summary>The option of that name, or null.</summary>
    internal static OptionDefinition? Find(string name) => All.FirstOrDefault(option => option.Names.Contains(name));
}
