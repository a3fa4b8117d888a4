using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Dataplane.Tests;

/// <summary>Asks the C compiler of this machine what its headers say: a program that prints integer
/// expressions.</summary>
internal static class CProbe
{
    private static readonly Lazy<bool> s_hasCompiler = new(() => Run("gcc", "--version").Code == 0);

    /// <summary>Values of C expressions with these headers included, in the same order.</summary>
    /// <param name="headers">Names for <c>#include &lt;...&gt;</c>, joined by blanks.</param>
    /// <param name="expressions">Integer constant expressions.</param>
    /// <param name="package">The Debian package the headers come from, for the skip's advice.</param>
    /// <param name="pkgConfig">A pkg-config module whose flags are needed, or null.</param>
    /// <param name="macro">A macro that headers too old for this do not define, or null.</param>
    public static long[] Evaluate(string headers, IReadOnlyList<string> expressions, string package,
        string? pkgConfig = null, string? macro = null)
    {
        Assert.SkipUnless(s_hasCompiler.Value, "gcc is missing: sudo apt-get install -y gcc libc6-dev");
        string flags = "";
        if (pkgConfig != null)
        {
            var (code, output) = Run("pkg-config", $"--cflags {pkgConfig}");
            Assert.SkipUnless(code == 0, $"{pkgConfig} is missing: sudo apt-get install -y pkg-config {package}");
            flags = output.Trim();
        }
        string directory = Directory.CreateTempSubdirectory("dataplane-abi-").FullName;
        try
        {
            return CompileAndRun(directory, headers, expressions, package, flags, macro);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static long[] CompileAndRun(string directory, string headers, IReadOnlyList<string> expressions,
        string package, string flags, string? macro)
    {
        var source = new StringBuilder("#define _GNU_SOURCE\n#include <stddef.h>\n#include <stdio.h>\n");
        foreach (string header in headers.Split(' '))
        {
            source.Append(CultureInfo.InvariantCulture,
                $"#if !__has_include(<{header}>)\n#error no-header\n#endif\n#include <{header}>\n");
        }
        if (macro != null)
            source.Append(CultureInfo.InvariantCulture, $"#ifndef {macro}\n#error no-header\n#endif\n");
        source.Append("int main(void)\n{\n");
        foreach (string expression in expressions)
            source.Append(CultureInfo.InvariantCulture, $"    printf(\"%lld\\n\", (long long)({expression}));\n");
        source.Append("    return 0;\n}\n");
        string file = Path.Combine(directory, "probe.c"), program = Path.Combine(directory, "probe");
        File.WriteAllText(file, source.ToString());

        var (code, output) = Run("gcc", $"-w {flags} -o {program} {file}");
        Assert.SkipWhen(output.Contains("#error no-header", StringComparison.Ordinal),
            $"the C headers {headers} are missing or too old: sudo apt-get install -y {package}");
        Assert.True(code == 0, $"the probe for {headers} does not compile:\n{output}");
        (code, output) = Run(program, "");
        Assert.Equal(0, code);
        return [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => long.Parse(line, CultureInfo.InvariantCulture))];
    }

    private static (int Code, string Output) Run(string program, string arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["LC_ALL"] = "C";
        try
        {
            using Process process = Process.Start(start)!;
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return (process.ExitCode, output + errors.Result);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return (-1, "");
        }
    }
}
