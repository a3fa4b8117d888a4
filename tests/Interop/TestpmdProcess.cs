using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

// Each testpmd polls both CPUs: with two of them, or one of our own tests beside it, rings overflow.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Dataplane.Tests;

/// <summary>DPDK's testpmd on virtual devices, in a mode of its own.</summary>
internal sealed class TestpmdProcess : IDisposable
{
    private static int s_started;

    private readonly string _prefix = $"test{Environment.ProcessId}-{Interlocked.Increment(ref s_started)}";
    private readonly Process _process;
    private readonly System.Text.StringBuilder _output = new();

    /// <summary>Starts it and returns when it forwards.</summary>
    /// <param name="device">Its port 0, e.g. <c>net_memif0,id=1</c>.</param>
    /// <param name="mode">What it does with packets, e.g. <c>io</c>.</param>
    /// <param name="eal">More options of its EAL.</param>
    /// <param name="own">More options of its own.</param>
    internal TestpmdProcess(string device, string mode, string[]? eal = null, params string[] own)
    {
        int[] cpus = AppProcess.Cpus;
        // Line by line: it says in the middle of a buffer that it is ready.
        _process = Process.Start(new ProcessStartInfo("stdbuf", ["-oL", "dpdk-testpmd", "--lcores",
            $"0@{cpus[0]},1@{cpus[^1]}",
            "--no-huge", "-m", "256", "--no-pci",
            $"--file-prefix={_prefix}", "--vdev", device,
            .. eal ?? [], "--", "-i", $"--forward-mode={mode}", "--total-num-mbufs=4096", "--no-flush-rx", .. own])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        Say("start");
        ReadUntil("packet forwarding -");
    }

    /// <summary>Waits until its counter of received or sent packets has come so far.</summary>
    internal bool WaitFor(string counter, long least)
    {
        for (long start = Environment.TickCount64; Environment.TickCount64 - start < 60_000;)
        {
            Say("show port stats 0");
            ReadUntil("TX-packets");
            if (Count(counter) >= least)
                return true;
        }
        return false;
    }

    /// <summary>Ends it; what its statistics say it received and sent.</summary>
    internal (long Received, long Sent) Stop()
    {
        Say("stop");
        Say("quit");
        _output.Append(_process.StandardOutput.ReadToEnd());
        _process.WaitForExit();
        // With memif ports DPDK 22.11 can crash in its interrupt thread when all is done: both ends closing at once.
        Assert.True(_process.ExitCode == 0 || (_process.ExitCode == 139
            && _output.ToString().Contains("Bye...", StringComparison.Ordinal)), _output.ToString());
        return (Count("RX-total"), Count("TX-packets"));
    }

    /// <summary>Ends it as a crash does.</summary>
    internal void KillNine()
    {
        _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            KillNine();
        _process.Dispose();
        // DPDK leaves its own there, also when it ends by itself.
        string folder = TelemetrySocket.RuntimeDirectory(_prefix);
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }

    private void Say(string command)
    {
        _process.StandardInput.WriteLine(command);
        _process.StandardInput.Flush();
    }

    private void ReadUntil(string words)
    {
        while (_process.StandardOutput.ReadLine() is { } line)
        {
            _output.AppendLine(line);
            if (line.Contains(words, StringComparison.Ordinal))
                return;
        }
        throw new InvalidOperationException($"testpmd ended early:\n{_output}");
    }

    private long Count(string name) =>
        long.Parse(Regex.Matches(_output.ToString(), name + @": +(\d+)")[^1].Groups[1].Value,
            CultureInfo.InvariantCulture);
}
