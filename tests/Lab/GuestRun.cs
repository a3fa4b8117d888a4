using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>How one guest test ended: <c>Failure</c> and <c>Skip</c> are null when it passed.</summary>
internal sealed record GuestResult(string? Failure, string? Skip, string Output);

/// <summary>One boot of a machine in which all its guest tests run, in this same program. xUnit's JSON reporter tells
/// of each as it ends; whatever did not end has failed.</summary>
internal sealed class GuestRun
{
    private static readonly Dictionary<Machines, GuestRun> s_runs = [];

    private readonly LabMachine _machine;
    private readonly Dictionary<string, TaskCompletionSource<GuestResult>> _results = [];
    private readonly Dictionary<string, string> _names = [];
    private readonly Dictionary<string, List<GuestResult>> _rows = [];
    private readonly List<string> _errors = [];
    private string _current = "before the first test";
    private bool _ended;

    private GuestRun(LabMachine machine)
    {
        _machine = machine;
        _ = RunAsync();
    }

    /// <summary>The result of one test, booting the machine if nobody did yet.</summary>
    internal static Task<GuestResult> ResultAsync(LabMachine machine, string test)
    {
        GuestRun? run;
        lock (s_runs)
        {
            if (!s_runs.TryGetValue(machine.Id, out run))
                s_runs.Add(machine.Id, run = new GuestRun(machine));
        }
        return run.Slot(test).Task;
    }

    private async Task RunAsync()
    {
        string end;
        try
        {
            using LabRun run = await LabRun.StartAsync(_machine.Name, "guest",
                [_machine.Name, "--timeout", "1800"], ["-reporter", "json"], Receive);
            int exit = await run.EndAsync();
            File.WriteAllText(Path.Combine(run.Directory, "errors.log"), run.Errors);
            end = $"exit status {exit}; the last was {_current}; logs in {run.Directory}\n"
                + string.Join('\n', run.Errors.Split('\n').Take(30));
        }
        catch (Exception failure)
        {
            end = failure.ToString();
        }
        lock (_results)
        {
            (_current, _ended) = (end, true);
            foreach (TaskCompletionSource<GuestResult> result in _results.Values)
                result.TrySetResult(NotRun());
        }
    }

    private GuestResult NotRun() =>
        new($"did not run in {_machine.Name}: {_current}\n{string.Join('\n', _errors)}", null, "");

    private TaskCompletionSource<GuestResult> Slot(string test)
    {
        lock (_results)
        {
            if (!_results.TryGetValue(test, out TaskCompletionSource<GuestResult>? slot))
            {
                _results.Add(test, slot = new(TaskCreationOptions.RunContinuationsAsynchronously));
                if (_ended)
                    slot.SetResult(NotRun());
            }
            return slot;
        }
    }

    private void Receive(string line)
    {
        if (!line.StartsWith("{\"$type\":", StringComparison.Ordinal))
            return;
        using JsonDocument document = JsonDocument.Parse(line);
        JsonElement message = document.RootElement;
        string type = message.GetProperty("$type").GetString()!;
        string method = Text(message, "TestMethodUniqueID");
        switch (type)
        {
            case "test-case-starting":
                _names[method] = $"{Text(message, "TestClassName")}.{Text(message, "TestMethodName")}";
                _current = Text(message, "TestCaseDisplayName");
                break;
            case "test-passed" or "test-failed" or "test-skipped" or "test-not-run":
                if (!_rows.TryGetValue(method, out List<GuestResult>? rows))
                    _rows.Add(method, rows = []);
                rows.Add(Result(type, message));
                break;
            case "test-method-finished" when _names.Remove(method, out string? name):
                Slot(name).TrySetResult(Sum(_rows.GetValueOrDefault(method) ?? []));
                break;
            case var _ when message.TryGetProperty("ExceptionTypes", out JsonElement _):    // an error outside any test
                _errors.Add(Failure(message));
                break;
        }
    }

    private GuestResult Result(string type, JsonElement message) => type switch
    {
        "test-passed" => new(null, null, Text(message, "Output")),
        "test-failed" => new($"{_current}: {Failure(message)}", null, Text(message, "Output")),
        _ => new(null, Text(message, "Reason"), Text(message, "Output")),
    };

    /// <summary>A theory's rows as one: failed if one failed, skipped if all were.</summary>
    private static GuestResult Sum(List<GuestResult> rows)
    {
        string output = string.Concat(rows.Select(row => row.Output));
        string failures = string.Join("\n\n", rows.Where(row => row.Failure != null).Select(row => row.Failure));
        return rows.Count == 0 ? new("ended without a result", null, "")
            : new(failures.Length > 0 ? failures : null,
                rows.All(row => row.Skip != null) ? rows[0].Skip : null, output);
    }

    private static string Failure(JsonElement message) => string.Join('\n',
        Texts(message, "Messages").Zip(Texts(message, "StackTraces"), (what, where) => $"{what}\n{where}"));

    private static IEnumerable<string> Texts(JsonElement message, string name) =>
        message.TryGetProperty(name, out JsonElement texts)
            ? texts.EnumerateArray().Select(text => text.GetString() ?? "") : [];

    private static string Text(JsonElement message, string name) =>
        message.TryGetProperty(name, out JsonElement text) ? text.GetString() ?? "" : "";
}
