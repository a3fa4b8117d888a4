using System.Globalization;

namespace Dataplane;

public sealed partial record EalOptions
{
    /// <summary>What <c>-h</c> prints: every option by group, lines of at most 100 characters.</summary>
    public static string HelpText => OptionHelp.Text;

    /// <summary>Reads a command line: DPDK's options up to <c>--</c>, the application's after it.</summary>
    /// <param name="args">The arguments of <c>Main</c>.</param>
    /// <param name="applicationArgs">Those after the first <c>--</c>; empty without one.</param>
    /// <param name="defaults">What options left out mean, e.g. a configuration file's; an option given replaces its
    /// value, lists too. Null: a new <see cref="EalOptions"/>.</param>
    /// <exception cref="ConfigException">An unknown, malformed or contradictory option; the message names it, what
    /// it wanted and the nearest right one.</exception>
    public static EalOptions Parse(string[] args, out string[] applicationArgs, EalOptions? defaults = null)
    {
        EalOptions options = new OptionParser(args, defaults ?? new EalOptions()).Parse(out applicationArgs);
        if (!options.Help)
            options.Validate();
        return options;
    }

    /// <summary>Refuses options that contradict each other. <see cref="Eal"/> calls it at its start.</summary>
    /// <exception cref="ConfigException">Names both options.</exception>
    public void Validate()
    {
        Exclude(Allow.Count > 0, "--allow (-a)", Block.Count > 0, "--block (-b)",
            "one says which devices to use, the other which not: give one");
        Exclude(MemoryMb != null, "-m", NumaMemoryMb != null, "--numa-mem", "give the total or the parts");
        Exclude(NoHuge, "--no-huge", NumaMemoryMb != null, "--numa-mem", "ordinary pages take -m");
        Exclude(NoHuge, "--no-huge", HugeDir != null, "--huge-dir", "leave one out");
        Exclude(InMemory, "--in-memory", HugeDir != null, "--huge-dir", "leave one out");
        Exclude(Telemetry, "--telemetry", NoTelemetry, "--no-telemetry", "give one");
        Exclude(UnsafeNoIommu, "--unsafe-noiommu", NoHuge, "--no-huge",
            "the kernel may move ordinary pages under a device: leave --no-huge out");
        Exclude(UnsafeNoIommu, "--unsafe-noiommu", IovaMode == IovaMode.Va, "--iova-mode=va",
            "without an IOMMU there are only physical addresses");
        if (IommuBackend == IommuBackend.NoIommu && !UnsafeNoIommu)
            throw new ConfigException("--iommu-backend=noiommu is not safe",
                "a device without an IOMMU can overwrite any memory of the machine",
                "use an IOMMU, or add --unsafe-noiommu to accept that", "docs/setup/iommu.md");
        ValidateLcores();
        ValidateRanges();
        string? twice = Vdevs.Select(vdev => DevArgs.Parse(vdev).Name).GroupBy(name => name)
            .FirstOrDefault(group => group.Count() > 1)?.Key;
        if (twice != null)
            throw new ConfigException($"--vdev: two devices are named '{twice}'",
                fix: "number them: net_null0, net_null1");
    }

    private void ValidateLcores()
    {
        if (Lcores != null)
        {
            if (Lcores.Count == 0)
                throw new ConfigException("-l: no lcore is given", fix: "give at least one, or leave -l out");
            int twice = Lcores.GroupBy(lcore => lcore.Id).FirstOrDefault(group => group.Count() > 1)?.Key ?? -1;
            if (twice >= 0)
                throw new ConfigException($"-l: lcore {twice} is given twice");
            if (MainLcore is { } main && Lcores.All(lcore => lcore.Id != main))
                throw new ConfigException($"--main-lcore: lcore {main} is not one of those given by -l",
                    fix: "choose one of " + string.Join(", ", Lcores.Select(lcore => lcore.Id)));
            if (Lcores.All(lcore => ServiceLcores.Contains(lcore.Id)))
                throw new ConfigException("-S: every lcore is a service lcore",
                    fix: "one must be left to be the main lcore");
        }
        if (MainLcore is { } leader && ServiceLcores.Contains(leader))
            throw new ConfigException($"--main-lcore and -S both name lcore {leader}",
                fix: "the main lcore runs no services");
    }

    // What was parsed is in range; what was set by code may not be.
    private void ValidateRanges()
    {
        InRange("-m", MemoryMb, 1, OptionValue.MaxMegabytes);
        foreach (int megabytes in NumaMemoryMb ?? [])
            InRange("--numa-mem", megabytes, 0, OptionValue.MaxMegabytes);
        InRange("-n", MemoryChannels, 1, 16);
        InRange("-r", MemoryRanks, 1, 16);
        _ = OptionValue.Prefix(FilePrefix, "--file-prefix");
        if (ForceMaxSimdBitwidth is { } bits)
            _ = OptionValue.SimdBits(string.Create(CultureInfo.InvariantCulture, $"{bits}"),
                "--force-max-simd-bitwidth");
    }

    private static void InRange(string option, int? value, int min, int max)
    {
        if (value is { } number && (number < min || number > max))
            throw new ConfigException($"{option}: {number} is not a number from {min} to {max}");
    }

    private static void Exclude(bool first, string firstName, bool second, string secondName, string fix)
    {
        if (first && second)
            throw new ConfigException($"{firstName} and {secondName} exclude each other", fix: fix);
    }
}
