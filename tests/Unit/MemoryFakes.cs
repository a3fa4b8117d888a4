using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>A directory that looks like the part of sysfs that counts hugepages.</summary>
internal sealed class FakeSys : IDisposable
{
    private int _nodes;

    internal string Root { get; } = Directory.CreateTempSubdirectory("sys").FullName;

    internal void Node(int node, params (int Kb, int Total, int Free)[] pools)
    {
        _nodes = Math.Max(_nodes, node + 1);
        Write("devices/system/node/has_memory", $"0-{_nodes - 1}\n");
        foreach ((int kb, int total, int free) in pools)
        {
            string pool = $"devices/system/node/node{node}/hugepages/hugepages-{kb}kB";
            Write($"{pool}/nr_hugepages", $"{total}\n");
            Write($"{pool}/free_hugepages", $"{free}\n");
        }
    }

    internal void Write(string file, string text)
    {
        string path = Path.Combine(Root, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}

/// <summary>Keeps what is logged.</summary>
internal sealed class ListLogger : ILogger
{
    internal List<string> Messages { get; } = [];

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception,
        Func<TState, Exception?, string> formatter) => Messages.Add(formatter(state, exception));
}

/// <summary>Fails the n-th step of taking memory and all after it until healed, and keeps count of what is
/// out.</summary>
internal sealed unsafe class FailingSource(string prefix, int failAt) : PageSource(prefix)
{
    private readonly List<SafeFileHandle> _files = [];
    private int _steps;

    internal int Reserved { get; private set; }

    internal bool Disposed { get; private set; }

    internal bool AllFilesClosed => _files.TrueForAll(file => file.IsClosed);

    internal bool Healed { get; set; }

    internal bool Failed => _steps >= failAt;

    internal override SafeFileHandle Open(int node, nuint pageSizeBytes)
    {
        Step();
        _files.Add(base.Open(node, pageSizeBytes));
        return _files[^1];
    }

    internal override void* Reserve(nuint hint, nuint sizeBytes)
    {
        Step();
        Reserved++;
        return base.Reserve(hint, sizeBytes);
    }

    internal override void Map(void* address, nuint sizeBytes, SafeFileHandle fd, long offset)
    {
        Step();
        base.Map(address, sizeBytes, fd, offset);
        Step();
    }

    internal override void Allocate(void* address, nuint sizeBytes, nuint pageSizeBytes, SafeFileHandle fd, long offset)
    {
        Step();
        base.Allocate(address, sizeBytes, pageSizeBytes, fd, offset);
        Step();
    }

    internal override void Release(void* address, nuint sizeBytes)
    {
        Reserved--;
        base.Release(address, sizeBytes);
    }

    public override void Dispose()
    {
        Disposed = true;
        base.Dispose();
    }

    private void Step()
    {
        if (++_steps >= failAt && !Healed)
            throw new NativeException("planted", Errno.ENOMEM);
    }
}

/// <summary>Pages whose physical addresses run backwards, each run of <c>runPages</c> contiguous.</summary>
internal sealed unsafe class ScatteredSource(string prefix, int runPages) : PageSource(prefix)
{
    private int _page;

    internal override void ReadPhysical(byte* address, nuint pageSizeBytes, Span<ulong> physical)
    {
        foreach (ref ulong page in physical)
        {
            ulong run = (ulong)(_page / runPages), inRun = (ulong)(_page++ % runPages);
            page = (1UL << 40) - run * 1024 * pageSizeBytes + inRun * pageSizeBytes;
        }
    }
}
