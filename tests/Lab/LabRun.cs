using System.Diagnostics;
using System.Text;

namespace Dataplane.Tests;

/// <summary>One run of lab/run, from the host. Machines wait for each other: as many at once as CPUs, for each is
/// emulated by one thread, but no more than four.</summary>
internal sealed class LabRun : IDisposable
{
    private static readonly SemaphoreSlim s_slots = new(Math.Clamp(Environment.ProcessorCount, 1, 4));
    private static readonly Dictionary<string, string?> s_lacks = [];

    private readonly Process _process;
    private readonly StringBuilder _output = new(), _errors = new();
    private readonly TaskCompletionSource _outputEnd = new(), _errorsEnd = new();
    private int _ended;

    private LabRun(string script, string directory, string[] arguments, Action<string>? onLine)
    {
        Directory = directory;
        _process = new Process
        {
            StartInfo = new(Path.Combine(Tree, "lab", script), arguments)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                WorkingDirectory = Tree,
            },
        };
        _process.OutputDataReceived += (_, e) => Receive(e.Data, _output, _outputEnd, onLine);
        _process.ErrorDataReceived += (_, e) => Receive(e.Data, _errors, _errorsEnd, null);
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    internal static string Tree { get; } = FindTree();

    /// <summary>The run's directory, LAB_OUT inside: kernel.log, dmesg.log, qemu.log, the socket monitor.</summary>
    internal string Directory { get; }

    internal string Output { get { lock (_output) return _output.ToString(); } }
    internal string Errors { get { lock (_errors) return _errors.ToString(); } }

    /// <summary>Skips the test where QEMU or the kernel is missing, with what to install.</summary>
    internal static void Require(string kernel)
    {
        lock (s_lacks)
        {
            if (!s_lacks.TryGetValue(kernel, out string? lack))
            {
                using Process check = Process.Start(new ProcessStartInfo(Path.Combine(Tree, "lab", "run"),
                    ["--kernel", kernel, "--check"])
                    { RedirectStandardError = true })!;
                string message = check.StandardError.ReadToEnd().Trim();
                check.WaitForExit();
                s_lacks[kernel] = lack = check.ExitCode == 0 ? null : message;
            }
            Assert.SkipUnless(lack == null, lack ?? "");
        }
    }

    /// <summary>Waits for a free slot and starts a machine.</summary>
    /// <param name="name">The run's directory is artifacts/lab/NAME.</param>
    /// <param name="script">lab/run, or lab/guest with the machine as first option.</param>
    /// <param name="options">Options of lab/run.</param>
    /// <param name="command">What runs inside.</param>
    /// <param name="onLine">Gets each line of standard output as it comes.</param>
    internal static async Task<LabRun> StartAsync(string name, string script, string[] options, string[] command,
        Action<string>? onLine = null)
    {
        await s_slots.WaitAsync();
        string directory = Path.Combine(Tree, "artifacts", "lab", name);
        return new LabRun(script, directory, [.. options, "--out", directory, "--", .. command], onLine);
    }

    /// <summary>Waits for the end.</summary>
    /// <returns>Exit status: the command's, 124 after a timeout, 125 when the machine failed.</returns>
    internal async Task<int> EndAsync()
    {
        await _process.WaitForExitAsync();
        await Task.WhenAll(_outputEnd.Task, _errorsEnd.Task);
        Release();
        return _process.ExitCode;
    }

    /// <summary>Ends the machine, whatever it does.</summary>
    internal void Stop()
    {
        if (!_process.HasExited)
            AppProcess.Signal(_process, AppProcess.SigTerm);    // the script ends QEMU
    }

    public void Dispose()
    {
        Stop();
        _process.WaitForExit();
        Release();
        _process.Dispose();
    }

    private static void Receive(string? line, StringBuilder text, TaskCompletionSource end, Action<string>? onLine)
    {
        if (line == null)
        {
            end.TrySetResult();
            return;
        }
        lock (text)
            text.AppendLine(line);
        onLine?.Invoke(line);
    }

    private void Release()
    {
        if (Interlocked.Exchange(ref _ended, 1) == 0)
            s_slots.Release();
    }

    private static string FindTree()
    {
        DirectoryInfo? directory = new(AppContext.BaseDirectory);
        while (directory != null && !File.Exists(Path.Combine(directory.FullName, "Dataplane.sln")))
            directory = directory.Parent;
        return directory?.FullName
            ?? throw new InvalidOperationException("these tests run from inside the source tree");
    }
}
