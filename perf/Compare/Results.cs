using System.Text.Json;
using System.Text.Json.Serialization;

namespace Dataplane.Perf.Compare;

/// <summary>The rows measured so far, and the file that keeps them: written after every run, so that a machine that
/// dies takes no result with it.</summary>
internal sealed class Results
{
    private readonly List<Result> _rows = [];
    private readonly HashSet<string> _current = [];
    private readonly string? _path;
    private readonly Lazy<Machine> _machine = new(Machine.Facts);

    /// <param name="path">The file, or null for none.</param>
    /// <param name="resume">What the file has counts as measured now.</param>
    public Results(string? path, bool resume)
    {
        _path = path;
        if (path != null && File.Exists(path))
            _rows.AddRange(JsonSerializer.Deserialize(File.ReadAllText(path), CompareJson.Default.Report)!.Rows);
        if (resume)
            _current.UnionWith(_rows.Select(row => row.Name));
    }

    /// <summary>What was measured now, or before where that counts.</summary>
    public IEnumerable<Result> Measured => _rows.Where(row => _current.Contains(row.Name));

    /// <summary>How many runs of a comparison there are.</summary>
    public int RunsOf(IComparison comparison) =>
        comparison.Rows.Min(row => Measured.FirstOrDefault(result => result.Name == row.Name)?.OurRuns.Length ?? 0);

    /// <summary>Adds a run of both sides and writes the file.</summary>
    public void Add(IComparison comparison, double[] ours, double[] theirs)
    {
        for (int i = 0; i < comparison.Rows.Count; i++)
        {
            Row row = comparison.Rows[i];
            int old = _rows.FindIndex(result => result.Name == row.Name);
            bool counts = !_current.Add(row.Name);
            Result result = Result.Of(row, [.. counts ? _rows[old].OurRuns : [], ours[i]],
                [.. counts ? _rows[old].TheirRuns : [], theirs[i]]);
            if (old >= 0)
                _rows[old] = result;
            else
                _rows.Add(result);
        }
        if (_path == null)
            return;
        string text = JsonSerializer.Serialize(new Report(_machine.Value, _rows), CompareJson.Default.Report);
        File.WriteAllText(_path + ".new", text + "\n");
        File.Move(_path + ".new", _path, overwrite: true);
    }
}

/// <summary>What is kept of a comparison.</summary>
internal sealed record Report(Machine Machine, IReadOnlyList<Result> Rows);

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(Report))]
internal sealed partial class CompareJson : JsonSerializerContext;
