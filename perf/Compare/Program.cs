using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Serialization;
using Dataplane;
using Dataplane.Perf.Compare;
using Spectre.Console;

var only = new Option<string>("--only") { Description = "Only comparisons whose rows contain this text.",
    DefaultValueFactory = _ => "" };
var runs = new Option<int>("--runs") { Description = "Runs of each side, taken in turn.",
    DefaultValueFactory = _ => 5 };
var json = new Option<FileInfo?>("--json") { Description = "Write results and the machine's facts to this file." };
var root = new RootCommand("Measures DPDK's programs and ours in turn on the same work. Installs nothing; needs "
    + "Debian's dpdk-dev, libdpdk-dev and gcc for the whole table, and 1,024 hugepages of 2 MB.") { only, runs, json };
root.SetAction(result => Compare(result.GetValue(only)!, result.GetValue(runs), result.GetValue(json)));
return root.Parse(args).Invoke();

static int Compare(string only, int runs, FileInfo? json)
{
    try
    {
        var results = new List<Result>();
        foreach (IComparison comparison in Comparisons.All)
        {
            if (!comparison.Rows.Any(row => row.Name.Contains(only, StringComparison.OrdinalIgnoreCase)))
                continue;
            if (comparison.Missing is { } missing)
            {
                Console.Error.WriteLine($"left out: {comparison.Rows[0].Name} ...: needs {missing}");
                continue;
            }
            results.AddRange(Measure(comparison, runs));
        }
        Print(results);
        if (json != null)
            File.WriteAllText(json.FullName, JsonSerializer.Serialize(
                new Report(Machine.Facts(), runs, results), CompareJson.Default.Report) + "\n");
        return 0;
    }
    catch (Exception e) when ((e is AggregateException ? e.InnerException : e) is DataplaneException)
    {
        Console.Error.WriteLine((e.InnerException ?? e).Message);
        return 1;
    }
}

static IEnumerable<Result> Measure(IComparison comparison, int runs)
{
    var ours = new List<double[]>();
    var theirs = new List<double[]>();
    for (int run = 0; run < runs; run++)
    {
        Console.Error.WriteLine($"run {run + 1} of {runs}: {comparison.Rows[0].Name} ...");
        theirs.Add(comparison.Theirs());
        ours.Add(comparison.Ours());
    }
    return comparison.Rows.Select((row, i) =>
        Result.Of(row, [.. ours.Select(run => run[i])], [.. theirs.Select(run => run[i])]));
}

static void Print(List<Result> results)
{
    Table table = new Table().Border(TableBorder.Simple)
        .AddColumns("name", "unit", "ours", "theirs", "ratio", "at least", "aim", "");
    foreach (Result r in results)
        table.AddRow(Markup.Escape(r.Name), r.Unit, Result.Show(r.Ours), Result.Show(r.Theirs), $"{r.Ratio:F2}",
            r.AtLeast > 0 ? $"{r.AtLeast:F1}" : "", r.Aim > 0 ? $"{r.Aim:F1}" : "", r.Verdict);
    AnsiConsole.Profile.Width = Math.Max(AnsiConsole.Profile.Width, 120);
    AnsiConsole.Write(table);
}

/// <summary>What is kept of a comparison.</summary>
internal sealed record Report(Machine Machine, int Runs, IReadOnlyList<Result> Rows);

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(Report))]
internal sealed partial class CompareJson : JsonSerializerContext;
