using System.Diagnostics;
using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>How one guest test ended: <c>Failure</c> and <c>Skip</c> are null when it passed.</summary>
internal sealed record GuestResult(string? Failure, string? Skip, string Output);

/// <summary>A machine in which all its guest tests run, in this same program. xUnit's JSON reporter tells of each as it
/// ends; whatever did not end has failed.</summary>
internal sealed class GuestRun
{
    private const int Boots = 4;
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(6);    // without a word, of any one test
    private static readonly Dictionary<Machines, GuestRun> s_runs = [];

    private readonly LabMachine _machine;
    private readonly Dictionary<string, TaskCompletionSource<GuestResult>> _results = [];
    private readonly Dictionary<string, string> _names = [];
    private readonly Dictionary<string, List<GuestResult>> _rows = [];
    private readonly List<string> _errors = [];
    private readonly HashSet<string> _done = [], _stuck = [];
    private readonly Dictionary<string, string> _failed = [];    // at first, and why
    private string _current = "before the first test", _again = "";
    private bool _ended, _complete;
    private long _lastWord;

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
        string end = "";
        try
        {
            // The emulator itself hangs or dies now and then. What did not run then gets another machine; what ran when
            // that happened gets one more try, and so does what failed: its output says so, and .ci/run prints it.
            bool second = false;
            for (int boot = 1; boot <= Boots; boot++)
            {
                string[] which = [.. second
                    ? _failed.Keys.Except(_done).SelectMany(test => new[] { "-method", test })
                    : _done.Concat(_failed.Keys).SelectMany(test => new[] { "-method-", test })];
                _complete = false;
                using LabRun run = await LabRun.StartAsync(_machine.Name, "guest",
                    [_machine.Name, "--timeout", "1800"], ["-reporter", "json", .. which], Receive);
                int exit = await EndAsync(run);
                File.WriteAllText(Path.Combine(run.Directory, "errors.log"), run.Errors);
                end = $"exit status {exit}; the last was {_current}; logs in {run.Directory}\n"
                    + string.Join('\n', run.Errors.Split('\n').Take(30));
                if (_complete && !second && _failed.Count > 0)
                {
                    second = true;
                    continue;
                }
                if (_complete || exit is not (124 or 125 or 130))
                    break;    // the program ended, if not the machine
                _again += $"machine {boot} ended with {exit} during {_current}\n";
                foreach (string test in _names.Values.Where(test => !_stuck.Add(test)))
                {
                    _done.Add(test);
                    Slot(test).TrySetResult(new($"the machine hung or died in it twice\n{end}", null, ""));
                }
                _names.Clear();
                _rows.Clear();
            }
            foreach ((string test, string failure) in _failed)
                Slot(test).TrySetResult(new(failure, null, ""));
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

    /// <summary>Waits for the end of a machine, and ends one that says nothing any more.</summary>
    private async Task<int> EndAsync(LabRun run)
    {
        Volatile.Write(ref _lastWord, Stopwatch.GetTimestamp());
        Task<int> end = run.EndAsync();
        while (await Task.WhenAny(end, Task.Delay(TimeSpan.FromSeconds(5))) != end)
            if (Stopwatch.GetElapsedTime(Volatile.Read(ref _lastWord)) > s_patience)
                run.Stop();
        return await end;
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
        Volatile.Write(ref _lastWord, Stopwatch.GetTimestamp());
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
                GuestResult result = Sum(_rows.GetValueOrDefault(method) ?? []);
                _rows.Remove(method);
                if (result.Failure != null && _failed.TryAdd(name, result.Failure))
                    break;
                _done.Add(name);
                string before = _failed.TryGetValue(name, out string? first)
                    ? $"FAILED AT FIRST {name}: {first}\n" : "";
                Slot(name).TrySetResult(result with { Output = _again + before + result.Output });
                break;
            case "test-assembly-finished":
                _complete = true;
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
