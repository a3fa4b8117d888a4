using System.Net;
using Dataplane.Dpctl;
using Spectre.Console;

namespace Dataplane.Tests;

/// <summary>A machine made of a few files in a temporary directory.</summary>
internal sealed class FakeHost : Host, IDisposable
{
    private readonly string _root;

    /// <summary>What the kernel does after a write.</summary>
    internal Action<string, string>? Written { get; set; }

    /// <summary>Every write, program and change of owner, in order.</summary>
    internal List<string> Log { get; } = [];

    /// <summary>The IP addresses of interfaces.</summary>
    internal Dictionary<string, string[]> Addresses { get; } = [];

    /// <summary>What programs do: their exit code.</summary>
    internal Func<string, int> Programs { get; set; } = _ => 0;

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

    /// <summary>A path on the machine that runs the test.</summary>
    internal string Real(string path) => Path.Join(_root, path);

    internal override void Write(string path, string text)
    {
        Log.Add($"{text.Trim()} > {path}");
        base.Write(path, Kernel(path, text));
        Written?.Invoke(path, text.Trim());
    }

    internal override IReadOnlyList<IPAddress> AddressesOf(string netdev) =>
        [.. Addresses.GetValueOrDefault(netdev, []).Select(IPAddress.Parse)];

    internal override (int Code, string Text) Run(string program, params string[] arguments)
    {
        string line = string.Join(' ', [program, .. arguments]);
        Log.Add(line);
        return (Programs(line), "");
    }

    internal override void SetOwner(string path, uint? uid, UnixFileMode mode) =>
        Log.Add($"{uid} {Convert.ToString((int)mode, 8)} {path}");

    internal override bool MayReadWrite(string path) => !Closed.Contains(path);

    /// <summary>Runs a command line; gives its exit code and what it wrote.</summary>
    internal (int Code, string Output, string Error) Dpctl(params string[] args)
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
