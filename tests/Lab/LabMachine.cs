namespace Dataplane.Tests;

/// <summary>One configuration of a lab machine: a line of machines.txt.</summary>
/// <param name="Id">Its bit.</param>
/// <param name="Kernel">Kernel version.</param>
/// <param name="Iommu">lab/run's --iommu.</param>
/// <param name="Pairs">The NICs, a pair of each: lab/run's --nic.</param>
public sealed record LabMachine(Machines Id, string Kernel, string Iommu, string[] Pairs)
{
    public static IReadOnlyList<LabMachine> All { get; } =
        [.. File.ReadLines(Path.Combine(AppContext.BaseDirectory, "machines.txt"))
            .Where(line => !line.StartsWith('#')).Select(Parse)];

    /// <summary>Its name in test names, and LAB_MACHINE inside it.</summary>
    public string Name => Id.ToString();

    public static LabMachine ById(Machines id) => All.Single(machine => machine.Id == id);

    private static LabMachine Parse(string line)
    {
        string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return new(Enum.Parse<Machines>(words[0]), words[1], words[2], words[3..]);
    }
}
