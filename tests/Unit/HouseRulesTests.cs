using System.Text.RegularExpressions;

namespace Dataplane.Tests;

/// <summary>Rules about the text of the tree that the compiler does not know.</summary>
public partial class HouseRulesTests
{
    private const int MaxLineLength = 120, MaxFileLines = 400;

    private static readonly string s_root = FindRoot();
    private static readonly string[] s_sources = Files("*.cs");
    private static readonly string[] s_libraries = [.. s_sources.Where(IsLibrary)];

    /// <summary>Libraries whose every file may run once per burst.</summary>
    private static readonly string[] s_dataPath = ["src/Ring/", "src/Mempool/", "src/Net/", "src/Ethdev/", "src/Pmd/"];

    /// <summary>Data path libraries' files that are control path alone and may use LINQ and locks.</summary>
    private static readonly string[] s_controlPath =
    [
        "src/Ethdev/PortList.cs", "src/Ethdev/PortList.Pci.cs", "src/Ethdev/PortRules.cs",
        "src/Ethdev/Port.Control.cs", "src/Ethdev/PortTelemetry.cs", "src/Ethdev/PortTelemetry.Tell.cs",
        "src/Ethdev/Capture/CaptureServer.cs",
        "src/Ethdev/PortMetrics.cs", "src/Ethdev/LatencyReport.cs",
        "src/Ethdev/PacketTrace.Control.cs",
        "src/Mempool/MbufDebug.cs", "src/Mempool/MempoolTelemetry.cs", "src/Ring/RingTelemetry.cs",
        "src/Pmd/Kernel/KernelInterface.cs", "src/Pmd/Pcap/PcapOptions.cs", "src/Pmd/Pcap/PcapPort.cs",
        "src/Pmd/Tap/TapPort.cs", "src/Pmd/Wire/WirePort.cs", "src/Pmd/Igb/IgbPort.cs", "src/Pmd/Intel/IntelPort.cs",
        "src/Pmd/Intel/IntelPort.Features.cs", "src/Pmd/Intel/IntelPort.Interrupts.cs", "src/Pmd/Intel/Stats.cs",
        "src/Pmd/Igbvf/IgbvfPort.cs", "src/Pmd/Igbvf/IgbvfPort.Filters.cs", "src/Pmd/Igbvf/Stats.cs",
        "src/Pmd/Vhost/VhostPort.cs", "src/Pmd/Vhost/VhostPort.Connect.cs", "src/Pmd/Virtio/VhostUserTransport.cs",
        "src/Pmd/Virtio/VirtioPort.Control.cs", "src/Pmd/Virtio/VirtioPort.Start.cs",
        "src/Pmd/AfXdp/Stats.cs",
        "src/Pmd/Bonding/BondingPort.cs", "src/Pmd/Bonding/BondingPort.Monitor.cs",
        "src/Pmd/Bonding/BondingPort.Control.cs", "src/Pmd/Bonding/Member.cs",
        "src/Pmd/Memif/MemifGate.cs", "src/Pmd/Memif/MemifListener.cs",
        "src/Pmd/AfPacket/RxQueue.cs",      // its lock orders closing and statistics; receiving does not take it
    ];

    [Fact]
    public void NativeImports_OutsideNative_AreNone() =>
        AssertNone(s_sources.Where(file => file.StartsWith("src/", StringComparison.Ordinal)
            && !file.StartsWith("src/Native/", StringComparison.Ordinal)),
            new Regex(@"^\s*\[Library" + "Import"), "P/Invoke belongs in src/Native");

    [Fact]
    public void OldImports_Anywhere_AreNone() =>
        AssertNone(s_sources, new Regex("Dll" + @"Import\b"), "LibraryImport makes its code at build time; use that");

    [Fact]
    public void Libraries_NeverWriteToTheConsoleExitOrSleep() =>
        AssertNone(s_libraries.Where(file => !file.EndsWith("/StderrLoggerProvider.cs", StringComparison.Ordinal)),
            ConsoleExitSleep(), "libraries report through results, exceptions and the log");

    [Fact]
    public void DataPathLibraries_UseNoLocksLinqAsyncOrDelegates() =>
        AssertNone(s_libraries.Where(file => s_dataPath.Any(folder => file.StartsWith(folder, StringComparison.Ordinal))
            && !s_controlPath.Contains(file)), LockLinqAsync(),
            "not on the data path; name the file in s_controlPath when all of it is control path");

    [Fact]
    public void ControlPathList_NamesFilesThatExist() => Assert.Empty(s_controlPath.Except(s_sources));

    [Fact]
    public void Net_SaysUnsafeNowhere() =>
        AssertNone(s_sources.Where(file => file.StartsWith("src/Net/", StringComparison.Ordinal)
            || file.StartsWith("src/Apps/", StringComparison.Ordinal)), new Regex(@"\bunsafe\b"),
            "use spans and refs here");

    [Fact]
    public void Sources_LeaveNothingForLater() =>
        AssertNone(s_sources, new Regex("\\b(TO" + "DO|FIX" + "ME|HA" + "CK|NotImplemented" + "Exception)\\b"),
            "finish it");

    [Fact]
    public void Lines_AreAtMost120Characters() =>
        AssertNone(s_sources, new Regex($"^.{{{MaxLineLength + 1},}}$"), $"longer than {MaxLineLength} characters");

    [Fact]
    public void Files_AreAtMost400Lines()
    {
        string[] long_ = [.. s_sources.Where(file => Path.GetFileName(file) is not ("Regs.cs" or "Desc.cs"))
            .Select(file => (file, lines: File.ReadLines(Path.Combine(s_root, file)).Count()))
            .Where(item => item.lines > MaxFileLines).Select(item => $"{item.file}: {item.lines} lines")];
        Assert.True(long_.Length == 0, $"split these:\n{string.Join('\n', long_)}");
    }

    [Fact]
    public void Namespaces_CollideWithNoType() => AssertNone(s_sources,
        new Regex(@"^namespace Dataplane\.(Ring|Mempool|Eal|Port|Memory|System)\b"), "a type or the BCL has that name");

    [Fact]
    public void Documents_LinkToFilesThatExist()
    {
        var dead = new List<string>();
        foreach (string file in Files("*.md"))
            foreach (Match link in MarkdownLink().Matches(File.ReadAllText(Path.Combine(s_root, file))))
            {
                string target = Path.Combine(s_root, Path.GetDirectoryName(file)!, link.Groups[1].Value);
                if (!File.Exists(target) && !Directory.Exists(target))
                    dead.Add($"{file}: {link.Groups[1].Value}");
            }
        Assert.True(dead.Count == 0, $"dead links:\n{string.Join('\n', dead)}");
    }

    /// <summary>The detectors themselves: each must see what it is for.</summary>
    [Theory]
    [InlineData("        Console.WriteLine(x);", true, false)]
    [InlineData("        Environment.Exit(1);", true, false)]
    [InlineData("        Thread.Sleep(1);", true, false)]
    [InlineData("    // Console.WriteLine is for applications", false, false)]
    [InlineData("        lock (this)", false, true)]
    [InlineData("        return xs.Where(x => x > 0);", false, true)]
    [InlineData("        await task;", false, true)]
    [InlineData("        uint count = RingHeader.Count(ring);", false, false)]
    [InlineData("        delegate*<void*, void> free = f;", false, false)]
    public void Detectors_KnownLines_AreSeen(string line, bool console, bool dataPath)
    {
        Assert.Equal(console, ConsoleExitSleep().IsMatch(Code(line)));
        Assert.Equal(dataPath, LockLinqAsync().IsMatch(Code(line)));
    }

    private static void AssertNone(IEnumerable<string> files, Regex pattern, string why)
    {
        var found = new List<string>();
        foreach (string file in files)
        {
            int number = 0;
            foreach (string line in File.ReadLines(Path.Combine(s_root, file)))
            {
                number++;
                if (pattern.IsMatch(pattern.ToString().StartsWith("^.{", StringComparison.Ordinal) ? line : Code(line)))
                    found.Add($"{file}:{number}: {line.Trim()}");
            }
        }
        Assert.True(found.Count == 0, $"{why}:\n{string.Join('\n', found)}");
    }

    /// <summary>A line without its comment.</summary>
    private static string Code(string line)
    {
        int comment = line.IndexOf("//", StringComparison.Ordinal);
        return comment >= 0 && !line[..comment].Contains('"') ? line[..comment] : line;
    }

    private static bool IsLibrary(string file) =>
        file.StartsWith("src/", StringComparison.Ordinal) && !file.StartsWith("src/Apps/", StringComparison.Ordinal);

    private static string[] Files(string pattern) =>
        [.. ((string[])["src", "tests", "perf", "docs", "lab"]).Select(folder => Path.Combine(s_root, folder))
            .Where(Directory.Exists)
            .SelectMany(folder => Directory.EnumerateFiles(folder, pattern, SearchOption.AllDirectories))
            .Concat(Directory.EnumerateFiles(s_root, pattern))
            .Select(path => Path.GetRelativePath(s_root, path))
            .Where(path => !BuildOutput().IsMatch(path))
            .Order(StringComparer.Ordinal)];

    private static string FindRoot()
    {
        DirectoryInfo? directory = new(AppContext.BaseDirectory);
        while (directory != null && !File.Exists(Path.Combine(directory.FullName, "Dataplane.sln")))
            directory = directory.Parent;
        return directory?.FullName
            ?? throw new InvalidOperationException("these tests run from inside the source tree");
    }

    [GeneratedRegex(@"\bConsole\.|\bEnvironment\.(Exit|FailFast)\b|\bThread\.Sleep\b")]
    private static partial Regex ConsoleExitSleep();

    [GeneratedRegex(@"\block \(|\.(Select|SelectMany|Where|Any|All|First|FirstOrDefault|Single|OrderBy|ToList|OfType)\("
        + @"|\basync\b|\bawait\b|\bMonitor\.|\bLock \w+ =|^using System\.Linq")]
    private static partial Regex LockLinqAsync();

    [GeneratedRegex(@"(^|/)(bin|obj|artifacts|BenchmarkDotNet\.Artifacts)/")]
    private static partial Regex BuildOutput();

    [GeneratedRegex(@"\]\((?!\w+:|#)([^)#\s]+)(?:#[^)]*)?\)")]
    private static partial Regex MarkdownLink();
}
