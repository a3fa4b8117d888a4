using System.Diagnostics;
using System.Text;

namespace Dataplane.Tests;

/// <summary>Forward on a pair of bound NICs that are joined, in a process of its own: a few bursts go round and
/// round.</summary>
internal sealed class GuestForward : IDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly Task<string> _errors;

    /// <param name="model">Which pair.</param>
    /// <param name="through">A command that runs the rest of the line, e.g. as another user.</param>
    /// <param name="more">More EAL options.</param>
    internal GuestForward(string model, string[]? through = null, params string[] more)
        : this(Guest.Pair(model), through, more)
    {
    }

    /// <param name="nics">Two addresses, with arguments where there are some.</param>
    /// <param name="through">A command that runs the rest of the line, e.g. as another user.</param>
    /// <param name="more">More EAL options.</param>
    internal GuestForward((string First, string Second) nics, string[]? through = null, params string[] more)
    {
        string[] bare = (Guest.Machine!.Id & Machines.Bare) != 0 ? ["--unsafe-noiommu"] : [];
        _process = AppProcess.StartAs(through ?? [], "Forward", ["-l", "1", "-m", "64", "-a", nics.First, "-a",
            nics.Second, .. bare, .. more, "--",
            "--tx-first", "1", "--stats-period", "0.2", "--total-num-mbufs", "4095"]);
        _errors = _process.StandardError.ReadToEndAsync();
    }

    /// <summary>All it has said.</summary>
    internal string Said => $"{_output}{(_errors.IsCompleted ? _errors.Result : "")}";

    /// <summary>Waits until packets go round.</summary>
    internal GuestForward WaitForTraffic()
    {
        // "  0.4 s  0000:01:00.0   rx 123.4 kpps ..."
        ReadUntil(line => line.Contains(" rx ", StringComparison.Ordinal)
            && !line.Contains(" rx 0.000 pps", StringComparison.Ordinal));
        return this;
    }

    /// <summary>Reads on until a line is as wanted.</summary>
    internal void ReadUntil(Func<string, bool> wanted)
    {
        while (_process.StandardOutput.ReadLine() is { } line)
        {
            _output.AppendLine(line);
            if (wanted(line))
                return;
        }
        _errors.Wait();
        Assert.Fail($"Forward ended early:\n{Said}");
    }

    /// <summary>Waits for its end.</summary>
    /// <returns>Its exit code.</returns>
    internal int End()
    {
        _output.Append(_process.StandardOutput.ReadToEnd());
        _errors.Wait();
        _process.WaitForExit();
        return _process.ExitCode;
    }

    /// <summary>Asks it to stop; every packet must be accounted for.</summary>
    internal void Stop()
    {
        AppProcess.Signal(_process, AppProcess.SigInt);
        Assert.True(End() == 0, Said);
        Assert.Contains("every packet accounted for", Said, StringComparison.Ordinal);
    }

    /// <summary>Ends it as a crash does.</summary>
    internal void KillNine()
    {
        AppProcess.Signal(_process, AppProcess.SigKill);
        _process.WaitForExit();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
        _process.Dispose();
    }
}
