using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Dataplane.Tests;

/// <summary>A process of its own that holds memory until it is killed: this same program, started with a variable
/// set.</summary>
internal sealed class MemoryChild : IDisposable
{
    private const string Variable = "DATAPLANE_TEST_HOLD_MEMORY";
    private readonly Process _process;

    /// <param name="hugeDir">Its --huge-dir, or empty for memfd.</param>
    /// <param name="prefix">Its --file-prefix.</param>
    internal MemoryChild(string hugeDir, string prefix)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "Dataplane.Tests.System");
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true, RedirectStandardInput = true };
        start.Environment[Variable] = $"{prefix}:{hugeDir}";
        _process = Process.Start(start)!;
        Assert.Equal("holding", _process.StandardOutput.ReadLine());
    }

    internal int Id => _process.Id;

    internal void Kill()
    {
        _process.Kill();   // SIGKILL
        _process.WaitForExit();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            Kill();
        _process.Dispose();
    }

    [ModuleInitializer]
    internal static void RunIfChild()
    {
        if (Environment.GetEnvironmentVariable(Variable)?.Split(':') is not [string prefix, string hugeDir])
            return;
        using Memory memory = Memory.Create(new EalOptions
        {
            MemoryMb = 8,
            FilePrefix = prefix,
            HugeDir = hugeDir.Length == 0 ? null : hugeDir,
        });
        Console.Out.WriteLine("holding");
        Console.Out.Flush();
        Console.In.ReadLine();   // until killed, or our parent is gone
        Environment.Exit(0);
    }
}
