using System.CommandLine;
using Dataplane;
using Dataplane.Perf.Compare;
using Spectre.Console;

var only = new Option<string>("--only") { Description = "Only comparisons whose rows contain this text.",
    DefaultValueFactory = _ => "" };
var runs = new Option<int>("--runs") { Description = "Runs of each side, taken in turn.",
    DefaultValueFactory = _ => 5 };
var json = new Option<FileInfo?>("--json") { Description = "Write results and the machine's facts to this file, run by "
    + "run. Rows of it that are not measured now stay." };
var resume = new Option<bool>("--resume") { Description = "Runs that the file of --json has already count." };
var root = new RootCommand("Measures DPDK's programs and ours in turn on the same work. Installs nothing; needs "
    + "Debian's dpdk-dev, libdpdk-dev and gcc for the whole table, and 1,024 hugepages of 2 MB.")
    { only, runs, json, resume };
root.SetAction(result => Compare(result.GetValue(only)!, result.GetValue(runs), result.GetValue(json),
    result.GetValue(resume)));
return root.Parse(args).Invoke();

static int Compare(string only, int runs, FileInfo? json, bool resume)
{
    try
    {
        var results = new Results(json?.FullName, resume);
        foreach (IComparison comparison in Comparisons.All)
        {
            if (!comparison.Rows.Any(row => row.Name.Contains(only, StringComparison.OrdinalIgnoreCase)))
                continue;
            if (comparison.Missing is { } missing)
            {
                Console.Error.WriteLine($"left out: {comparison.Rows[0].Name} ...: needs {missing}");
                continue;
            }
            for (int run = results.RunsOf(comparison); run < runs; run++)
            {
                Console.Error.WriteLine($"run {run + 1} of {runs}: {comparison.Rows[0].Name} ...");
                results.Add(comparison, comparison.Ours(), comparison.Theirs());
            }
        }
        Print(results.Measured);
        return 0;
    }
    catch (Exception e) when ((e is AggregateException ? e.InnerException : e) is DataplaneException)
    {
        Console.Error.WriteLine((e.InnerException ?? e).Message);
        return 1;
    }
}

static void Print(IEnumerable<Result> results)
{
    Table table = new Table()
        .Border(Console.IsOutputRedirected ? TableBorder.Markdown : TableBorder.Simple)
        .AddColumns("name", "unit", "ours", "theirs", "ratio", "at least", "aim", "");
    foreach (Result r in results)
        table.AddRow(Markup.Escape(r.Name), r.Unit, Result.Show(r.Ours), Result.Show(r.Theirs), $"{r.Ratio:F2}",
            r.AtLeast > 0 ? $"{r.AtLeast:F1}" : "", r.Aim > 0 ? $"{r.Aim:F1}" : "", r.Verdict);
    AnsiConsole.Profile.Width = Math.Max(AnsiConsole.Profile.Width, 120);
    AnsiConsole.Write(table);
}
