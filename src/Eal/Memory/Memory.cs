using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>
/// All memory a device may touch: named zones and a heap per NUMA node, on hugepages. Any thread, control path only
/// (<see cref="ToIova"/> takes no lock and allocates nothing). Grows by whole pages as needed; what was taken from the
/// kernel is kept until <see cref="Dispose"/>, so that device mappings stay valid.
/// </summary>
public sealed unsafe partial class Memory : IDisposable
{
    private readonly Lock _lock = new();
    private readonly PageSource _source;
    private readonly MemoryLayout _layout;
    private readonly MemoryGrower _grower;
    private readonly MemzoneTable _zones;
    private readonly int[] _nodes;
    private readonly string _sys;
    private bool _disposed;

    private Memory(PageSource source, MemoryLayout layout, MemoryConfig config, ILogger? log)
    {
        _source = source;
        _layout = layout;
        _grower = new(layout, config, log);
        _zones = new(layout.Tables);
        _nodes = [.. layout.Heaps.Select(heap => heap.NumaNode)];
        _sys = config.Sys;
        Channels = config.Channels;
        Ranks = config.Ranks;
        IovaMode = config.PhysicalAddresses ? IovaMode.Pa : IovaMode.Va;
    }

    /// <summary>Any NUMA node will do: the calling thread's first.</summary>
    public const int AnyNode = -1;

    /// <summary>The NUMA nodes that have memory here, ascending.</summary>
    public IReadOnlyList<int> NumaNodes => _nodes;

    /// <summary>What <see cref="ToIova"/> gives: virtual or physical addresses. Never
    /// <see cref="IovaMode.Auto"/>.</summary>
    public IovaMode IovaMode { get; }

    /// <summary>All memory taken from the kernel up to now.</summary>
    public IReadOnlyList<Memseg> Memsegs
    {
        get
        {
            lock (_lock)
                return [.. _layout.Lists.SelectMany(list => list.Memsegs)];
        }
    }

    /// <summary>Memory channels as <c>-n</c> says, 0 when it does not; pools spread their objects over them.</summary>
    internal int Channels { get; }

    /// <summary>Memory ranks as <c>-r</c> says, 0 when it does not.</summary>
    internal int Ranks { get; }

    /// <summary>Whether it was disposed: whoever is disposed later must not touch its memory.</summary>
    internal bool IsDisposed => Volatile.Read(ref _disposed);

    /// <summary>Where pools and rings, which are made of memory alone, put their commands; null without an
    /// environment.</summary>
    internal Telemetry? Telemetry { get; set; }

    /// <summary>First address of the range everything lies in.</summary>
    internal nuint BaseAddress => _layout.Base;

    /// <summary>The range everything lies in and grows into.</summary>
    internal (nuint First, nuint SizeBytes) Reserved
    {
        get
        {
            lock (_lock)
            {
                ThrowIfDisposed();
                return (_layout.Base, _layout.Tables->SizeBytes);
            }
        }
    }

    /// <summary>Takes what the options ask for.</summary>
    /// <param name="options">Its memory options count.</param>
    /// <param name="log">For warnings; may be null.</param>
    /// <param name="lcoresByNode">Lcores per node, which shares <c>-m</c> out; null: all on the first node.</param>
    /// <exception cref="DataplaneException">Too little memory; nothing is kept.</exception>
    internal static Memory Create(EalOptions options, ILogger? log = null,
        IReadOnlyDictionary<int, int>? lcoresByNode = null)
    {
        MemoryConfig config = MemoryConfig.From(options, lcoresByNode);
        PageSource source = config.HugeDir == null ? new PageSource(config.Prefix)
            : new HugeDirSource(config.HugeDir, config.Prefix);
        return Create(config, source, log);
    }

    /// <summary>The same from parts. Owns <paramref name="source"/>, also when it throws.</summary>
    internal static Memory Create(MemoryConfig config, PageSource source, ILogger? log = null)
    {
        MemoryLayout? layout = null;
        try
        {
            MemoryNeed need = MemoryNeed.Compute(config, source);
            layout = MemoryLayout.Create(source, config, need.Kinds, need.LargestListBytes);
            var memory = new Memory(source, layout, config, log);
            if (need.OnlyOrdinaryFree)
                memory._grower.WarnOrdinary(huge: false, "no free hugepages");
            if (config.BaseAddressGiven && layout.Base != Heap.RoundUp((nuint)config.BaseAddress, 16 << 20))
                log?.LogWarning("--base-virtaddr=0x{Asked:x} is taken, memory is at 0x{Got:x}", config.BaseAddress,
                    layout.Base);
            memory._grower.TakeAtStart(need.AtStart);
            return memory;
        }
        catch
        {
            layout?.Dispose();
            source.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Has a watcher told of all memory there is and all that comes. When it throws it is not added; undo what it did.
    /// </summary>
    public void Watch(IMemsegWatcher watcher)
    {
        lock (_lock)
        {
            ThrowIfDisposed();
            _grower.Watch(watcher);
        }
    }

    /// <summary>Tells a watcher nothing any more.</summary>
    public void Unwatch(IMemsegWatcher watcher)
    {
        lock (_lock)
            _grower.Unwatch(watcher);
    }

    /// <summary>
    /// The address a device uses to reach <paramref name="pointer"/>, <see cref="Iova.Bad"/> outside our memory. Any
    /// thread, no lock.
    /// </summary>
    public Iova ToIova(void* pointer) => ListOf(pointer)?.ToIova(pointer) ?? Iova.Bad;

    /// <summary>The same for a memseg that a watcher is told of, which nobody else sees yet.</summary>
    internal Iova ToIovaOfNew(void* pointer)
    {
        foreach (MemsegList list in _layout.Lists)
            if ((nuint)pointer - (nuint)list.Base < list.Header->ReservedBytes)
                return list.ToIova(pointer);
        return Iova.Bad;
    }

    /// <summary>State of every node's heap.</summary>
    public IReadOnlyList<HeapStats> GetHeapStats()
    {
        lock (_lock)
        {
            ThrowIfDisposed();
            return [.. _layout.Heaps.Select(StatsOf)];
        }
    }

    /// <summary>Walks every heap and checks every cookie, size, link and counter.</summary>
    /// <exception cref="DataplaneException">Something overran its block; says which element was hit.</exception>
    public void Validate()
    {
        lock (_lock)
        {
            ThrowIfDisposed();
            foreach (Heap heap in _layout.Heaps)
                heap.Validate();
        }
    }

    /// <summary>Writes memsegs, heaps and zones as text, a line each.</summary>
    public void Dump(TextWriter writer)
    {
        lock (_lock)
        {
            ThrowIfDisposed();
            foreach (MemsegList list in _layout.Lists)
                foreach (Memseg m in list.Memsegs)
                    writer.WriteLine(string.Create(CultureInfo.InvariantCulture,
                        $"memseg 0x{m.Address:x} {m.SizeBytes >> 10} KB of {HugepagePool.SizeName(m.PageSizeBytes)} "
                        + $"pages, node {m.NumaNode}, fd {m.Fd} at 0x{m.FdOffset:x}, iova {m.Iova}"));
            foreach (HeapStats s in _layout.Heaps.Select(StatsOf))
                writer.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"heap of node {s.NumaNode}: {s.BusyBytes} B busy in {s.BusyCount}, {s.FreeBytes} B free in "
                    + $"{s.FreeCount}, largest {s.LargestFreeBytes} B, {s.Allocations} allocations, {s.Frees} frees"));
            foreach (Memzone z in _zones.All)
                writer.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"memzone {z.Name} 0x{(nuint)z.Address:x} {z.SizeBytes} B, node {z.NumaNode}, iova {z.Iova}"));
        }
    }

    /// <summary>Gives everything back to the kernel. All zones and blocks become invalid.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_disposed)
                return;
            _disposed = true;
            _zones.Clear();
            try
            {
                _grower.AnnounceEnd();
            }
            finally
            {
                _layout.Dispose();
                _source.Dispose();
            }
        }
    }

    private static HeapStats StatsOf(Heap heap)
    {
        HeapHeader* h = heap.Header;
        return new(h->NumaNode, heap.CommittedBytes(huge: true), heap.CommittedBytes(huge: false), h->BusyBytes,
            h->BusyCount, h->FreeBytes, h->FreeCount, heap.LargestFreeBytes(), h->Allocations, h->Frees);
    }

    private MemsegList? ListOf(void* pointer)
    {
        foreach (MemsegList list in _layout.Lists)
            if (list.Contains(pointer))
                return list;
        return null;
    }

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_disposed, this);
}
