using System.Diagnostics;

namespace Dataplane.Tests;

/// <summary>The machine's programs, and what a test needs of the machine.</summary>
internal static class Host
{
    /// <summary>Skips the test where it has no root rights or lacks a program.</summary>
    internal static void Require(params string[] programs)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root: sudo dotnet test tests/System");
        foreach (string program in programs.Append("ip"))
            Assert.SkipUnless(Find(program) != null, $"needs {program}: sudo apt install {Package(program)}");
    }

    /// <summary>Runs a program to its end.</summary>
    /// <returns>Standard output and error.</returns>
    internal static string Run(string program, params string[] arguments)
    {
        (int exit, string output) = TryRun(program, arguments);
        return exit == 0 ? output
            : throw new InvalidOperationException($"{program} {string.Join(' ', arguments)}: exit {exit}\n{output}");
    }

    /// <summary>Runs a program to its end, whatever its exit code.</summary>
    internal static (int Exit, string Output) TryRun(string program, params string[] arguments)
    {
        using Process process = Start(program, arguments);
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd() + errors.Result;
        process.WaitForExit();
        return (process.ExitCode, output);
    }

    /// <summary>Starts a program, its output piped to us.</summary>
    internal static Process Start(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(Find(program) ?? program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        return Process.Start(start)!;
    }

    private static string? Find(string program) =>
        new[] { "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin" }
            .Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);

    private static string Package(string program) => program switch
    {
        "ip" or "tc" => "iproute2",
        "ping" => "iputils-ping",
        "dpdk-testpmd" => "dpdk",
        "stdbuf" => "coreutils",
        _ => program,
    };
}
