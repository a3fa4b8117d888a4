using System.Reflection;
using System.Text.RegularExpressions;

namespace Dataplane.Tests;

/// <summary>docs/drivers/matrix.md has a row for every case of the matrix, and every row is a case that
/// passed.</summary>
public sealed partial class AcceptanceTableTests
{
    [Fact]
    public void Table_Committed_HasTheMatrixsRowsAndAllPassed()
    {
        string file = Path.Combine(LabRun.Tree, "docs", "drivers", "matrix.md");
        string[] rows = [.. File.ReadLines(file)
            .Where(line => line.StartsWith("| ", StringComparison.Ordinal)).Skip(1)];
        Assert.Equal(Cases().Order(StringComparer.Ordinal),
            rows.Select(row => string.Join('|', row.Split('|')[1..4])).Order(StringComparer.Ordinal));
        foreach (string row in rows)
        {
            Match counts = Counts().Match(row);
            Assert.True(counts.Success && counts.Groups[1].Value == counts.Groups[2].Value,
                $"not all passed: {row}\nrun lab/matrix, which writes {file}");
        }
    }

    private static IEnumerable<string> Cases()
    {
        foreach (Type type in typeof(NicContract).Assembly.GetTypes()
            .Where(type => type.IsSubclassOf(typeof(NicContract)) && !type.IsAbstract))
        {
            var nic = (NicContract)Activator.CreateInstance(type)!;
            Machines machines = type.GetCustomAttribute<GuestAttribute>()!.Machines;
            foreach (LabMachine machine in LabMachine.All.Where(machine =>
                (machine.Id & machines & Machines.Matrix) != 0))
                yield return $" {nic.Backend.ToString().ToLowerInvariant()} | {NameOf(nic.Model)} | {machine.Kernel} ";
        }
    }

    private static string NameOf(string model) => model switch
    {
        "virtio" => "virtio split",
        "virtio-packed" => "virtio packed",
        _ => model,
    };

    [GeneratedRegex(@"\| ([0-9]+) of ([0-9]+) \|$")]
    private static partial Regex Counts();
}
