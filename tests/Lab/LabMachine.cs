namespace Dataplane.Tests;

/// <summary>One configuration of a lab machine.</summary>
/// <param name="Id">Its bit.</param>
/// <param name="Kernel">Kernel version.</param>
/// <param name="Options">Options of lab/run.</param>
/// <param name="Pairs">The NICs, a pair of each: the words of lab/run's --nic.</param>
public sealed record LabMachine(Machines Id, string Kernel, string[] Options, string[] Pairs)
{
    private static readonly string[] s_nics = ["igb", "e1000e", "virtio", "virtio-packed"];

    public static IReadOnlyList<LabMachine> All { get; } =
    [
        new(Machines.Intel612, "6.12", ["--iommu", "intel"], s_nics),
        new(Machines.Intel72, "7.2", ["--iommu", "intel"], s_nics),
        new(Machines.Bare612, "6.12", ["--iommu", "none"], s_nics),
        new(Machines.Bare72, "7.2", ["--iommu", "none"], s_nics),
        new(Machines.NoRemapping, "6.12", ["--iommu", "virtio"], ["igb", "virtio"]),
        new(Machines.MultiQueue, "6.12", ["--iommu", "intel"],
            ["virtio,queues=4,rss=on,hash=on", "virtio-packed,queues=4,rss=on,hash=on"]),
    ];

    /// <summary>Its name in test names, and LAB_MACHINE inside it.</summary>
    public string Name => Id.ToString();

    public static LabMachine ByName(string name) => All.Single(machine => machine.Name == name);

    /// <summary>The command line of lab/run up to the command.</summary>
    public string[] Arguments() =>
        ["--kernel", Kernel, .. Options, .. Pairs.SelectMany(nic => (string[])["--nic", nic, "--nic", nic]),
            "--env", $"LAB_MACHINE={Name}"];
}
