using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>Forward as a user runs it, in a process of its own, its summary read when it has ended.</summary>
internal sealed partial class ForwardProcess : IDisposable
{
    private readonly string _json = Path.GetTempFileName();
    private readonly Process _process;
    private readonly Task<string> _errors;
    private readonly System.Text.StringBuilder _output = new();
    private readonly ManualResetEventSlim _running = new();

    /// <summary>Starts it and returns when packets flow (its first line of rates).</summary>
    internal ForwardProcess(string[] eal, params string[] own)
    {
        _process = Start([.. eal, "--", "--stats-period", "0.2", "--json", _json, .. own]);
        _process.OutputDataReceived += (_, line) =>
        {
            if (line.Data == null)
                return;
            lock (_output)
                _output.AppendLine(line.Data);
            if (line.Data.Contains("pps", StringComparison.Ordinal))
                _running.Set();
        };
        _process.BeginOutputReadLine();
        _errors = _process.StandardError.ReadToEndAsync();
        if (_running.Wait(TimeSpan.FromMinutes(2)) && !_process.HasExited)
            return;
        _process.Kill();
        throw new InvalidOperationException($"Forward did not start:\n{Output}{_errors.Result}");
    }

    internal int Id => _process.Id;

    /// <summary>What it has printed.</summary>
    internal string Output
    {
        get
        {
            lock (_output)
                return _output.ToString();
        }
    }

    /// <summary>Starts Forward with all its arguments, for tests of how it ends by itself.</summary>
    internal static Process Start(params string[] arguments) =>
        Host.Start("dotnet", [Path.Combine(AppContext.BaseDirectory, "Forward.dll"), .. arguments]);

    /// <summary>Asks it to stop as Ctrl-C does; its summary. Every packet must be accounted for and every mbuf
    /// back.</summary>
    internal JsonElement Stop()
    {
        Assert.Equal(0, Kill(_process.Id, 2));
        Assert.True(_process.WaitForExit(60_000), "Forward did not stop");
        _process.WaitForExit();
        Assert.True(_process.ExitCode == 0, $"exit code {_process.ExitCode}\n{Output}{_errors.Result}");
        Assert.Contains("every packet accounted for", Output, StringComparison.Ordinal);
        return JsonDocument.Parse(File.ReadAllText(_json)).RootElement;
    }

    /// <summary>Ends it as a crash does.</summary>
    internal void KillNine()
    {
        Assert.Equal(0, Kill(_process.Id, 9));
        _process.WaitForExit();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill();
        _process.Dispose();
        _running.Dispose();
        File.Delete(_json);
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);
}
