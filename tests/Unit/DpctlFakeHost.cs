using Dataplane.Dpctl;
using Spectre.Console;

namespace Dataplane.Tests;

/// <summary>A machine made of a few files in a temporary directory.</summary>
internal sealed class FakeHost : Host, IDisposable
{
    private readonly string _root;

    private FakeHost(string root) : base(root) => _root = root;

    internal FakeHost() : this(Directory.CreateTempSubdirectory("dpctl-test-").FullName) { }

    /// <summary>Paths this user may not use.</summary>
    internal HashSet<string> Closed { get; } = [];

    /// <summary>What the kernel makes of a number written to a file: fewer hugepages than asked for, say.</summary>
    internal Func<string, string, string> Kernel { get; set; } = (_, text) => text;

    internal FakeHost With(string path, string text)
    {
        string full = Path.Join(_root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllText(full, text + "\n");
        return this;
    }

    internal FakeHost WithLink(string path, string target)
    {
        string full = Path.Join(_root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.CreateSymbolicLink(full, target);
        return this;
    }

    internal FakeHost WithPages(string directory, int total, int free) =>
        With($"{directory}/nr_hugepages", $"{total}").With($"{directory}/free_hugepages", $"{free}");

    internal override void Write(string path, string text) => base.Write(path, Kernel(path, text));

    internal override bool MayReadWrite(string path) => !Closed.Contains(path);

    /// <summary>Runs a command line; gives its exit code and what it wrote.</summary>
    internal (int Code, string Output, string Error) Run(params string[] args)
    {
        var output = new StringWriter();
        var error = new StringWriter();
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = AnsiSupport.No,
            Interactive = InteractionSupport.No,
            Out = new AnsiConsoleOutput(output),
        });
        int code = CommandLine.Run(args, this, console, output, error);
        return (code, output.ToString(), error.ToString());
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);
}
