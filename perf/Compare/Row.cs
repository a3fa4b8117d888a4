using System.Globalization;
using System.Text.Json.Serialization;

namespace Dataplane.Perf.Compare;

/// <summary>One thing measured on both sides. Every call of a side is one run and gives one figure per row.</summary>
/// <param name="Name">What is measured.</param>
/// <param name="Unit">Of the figures.</param>
/// <param name="LowerIsBetter">True for cycles and milliseconds.</param>
/// <param name="AtLeast">The ratio the project wants, 0 for none.</param>
/// <param name="Aim">The ratio it hopes for, 0 for none.</param>
internal sealed record Row(string Name, string Unit, bool LowerIsBetter, double AtLeast, double Aim);

/// <summary>Rows that one run of each side measures together.</summary>
internal interface IComparison
{
    /// <summary>What it measures.</summary>
    IReadOnlyList<Row> Rows { get; }

    /// <summary>Why it cannot run here, or null.</summary>
    string? Missing { get; }

    /// <summary>Runs DPDK's side; one figure per row.</summary>
    double[] Theirs();

    /// <summary>Runs our side; one figure per row.</summary>
    double[] Ours();
}

/// <summary>A row with its medians.</summary>
internal sealed record Result(string Name, string Unit, double Ours, double Theirs, double Ratio, double AtLeast,
    double Aim, double[] OurRuns, double[] TheirRuns)
{
    /// <summary>Medians of the runs; the ratio is above 1 where ours is better.</summary>
    public static Result Of(Row row, double[] ours, double[] theirs)
    {
        double our = Median(ours), their = Median(theirs);
        double ratio = row.LowerIsBetter ? their / our : our / their;
        return new Result(row.Name, row.Unit, our, their, Math.Round(ratio, 3), row.AtLeast, row.Aim, ours, theirs);
    }

    /// <summary>What the project's goal says of the ratio.</summary>
    [JsonIgnore]
    public string Verdict => AtLeast == 0 ? "" : Ratio >= Aim && Aim > 0 ? "aim" : Ratio >= AtLeast ? "ok" : "short";

    public static double Median(double[] runs)
    {
        double[] sorted = [.. runs.Order()];
        int middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /// <summary>A figure with four digits that count.</summary>
    public static string Show(double figure) => figure.ToString(
        figure >= 1e6 ? "0.000e0" : figure >= 100 ? "F1" : figure >= 10 ? "F2" : "F3", CultureInfo.InvariantCulture);
}
