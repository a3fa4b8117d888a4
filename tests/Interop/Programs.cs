using System.Diagnostics;

namespace Dataplane.Tests;

/// <summary>Other people's programs.</summary>
internal static class Programs
{
    /// <summary>Skips the test where the program is not installed.</summary>
    internal static void Require(string program) =>
        Assert.SkipUnless(Find(program) != null, $"needs {program}: sudo apt install {Package(program)}");

    /// <summary>Starts a program, its input and output piped to us.</summary>
    internal static Process Start(string program, params string[] arguments) =>
        Process.Start(new ProcessStartInfo(Find(program) ?? program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;

    /// <summary>Runs a program to its end.</summary>
    /// <returns>Its standard output.</returns>
    internal static string Run(string program, params string[] arguments)
    {
        using Process process = Start(program, arguments);
        process.StandardInput.Close();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0,
            $"{program} {string.Join(' ', arguments)}: exit {process.ExitCode}\n{output}\n{errors.Result}");
        return output;
    }

    private static string? Find(string program) =>
        new[] { "/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin" }
            .Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);

    private static string Package(string program) => program switch
    {
        "editcap" or "text2pcap" => "wireshark-common",
        "dpdk-testpmd" => "dpdk-dev",
        _ => program,
    };
}
