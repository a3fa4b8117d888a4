using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// A bounded FIFO of unmanaged elements in native memory, for any number of threads on either side. A handle: the ring
/// itself is in the memzone <c>RG_name</c>.
/// </summary>
/// <typeparam name="T">Its size is a multiple of 4 bytes.</typeparam>
/// <remarks>
/// Bulk moves all or nothing, burst as many as fit. Elements are copied; what they refer to changes owner with them.
/// Operations allocate nothing and never throw but for misuse of peek; create, lookup and dispose are control path.
/// Producers and consumers synchronise apart, each as their <see cref="RingSync"/> says; the barriers are in
/// docs/ordering.md.
/// </remarks>
public sealed unsafe partial class Ring<T> : IDisposable where T : unmanaged
{
    private readonly Memory? _owner;
    private readonly Memzone _zone;
    private RingHeader* _ring;

    private Ring(Memory? owner, Memzone zone)
    {
        _owner = owner;
        _zone = zone;
        _ring = (RingHeader*)zone.Address;
    }

    /// <summary>Its name, unique in its EAL.</summary>
    public string Name => _zone.Name[NamePrefix.Length..];

    /// <summary>Elements it holds when full.</summary>
    public int Capacity => (int)_ring->Capacity;

    /// <summary>Slots it has: a power of two above <see cref="Capacity"/>.</summary>
    public int Size => (int)_ring->Size;

    /// <summary>How producers order themselves.</summary>
    public RingSync ProducerSync => _ring->ProducerSync;

    /// <summary>How consumers order themselves.</summary>
    public RingSync ConsumerSync => _ring->ConsumerSync;

    /// <summary>The node its memory is on.</summary>
    public int NumaNode => _zone.NumaNode;

    /// <summary>Elements in it; exact while nobody is inside. Any thread.</summary>
    public int Count => (int)RingHeader.Count(_ring);

    /// <summary>Elements that still fit; exact while nobody is inside. Any thread.</summary>
    public int FreeCount => Capacity - Count;

    /// <summary>True when nothing fits; exact while nobody is inside. Any thread.</summary>
    public bool IsFull => Count == Capacity;

    /// <summary>True when there is nothing in it; exact while nobody is inside. Any thread.</summary>
    public bool IsEmpty => Count == 0;

    internal RingHeader* Header => _ring;

    private const string NamePrefix = "RG_";

    /// <summary>Makes an empty ring.</summary>
    /// <param name="memory">Where to take memory from.</param>
    /// <param name="name">1 to 28 characters, unique among rings.</param>
    /// <param name="count">A power of two from 2 to 2^30, capacity one less; with <paramref name="exactSize"/> the
    /// capacity itself, 1 to 2^30 - 1.</param>
    /// <param name="numaNode">A node id or <see cref="Memory.AnyNode"/>.</param>
    /// <param name="producerSync">How many threads enqueue.</param>
    /// <param name="consumerSync">How many threads dequeue.</param>
    /// <param name="exactSize">Hold exactly <paramref name="count"/> elements.</param>
    /// <exception cref="ConfigException">The name, the count or the size of <typeparamref name="T"/> cannot
    /// be.</exception>
    /// <exception cref="DataplaneException">The name is taken, or there is too little memory.</exception>
    public static Ring<T> Create(Memory memory, string name, int count, int numaNode = Memory.AnyNode,
        RingSync producerSync = RingSync.MultiThread, RingSync consumerSync = RingSync.MultiThread,
        bool exactSize = false)
    {
        if (name.Length is 0 or > RingHeader.MaxNameLength)
            throw new ConfigException($"a ring cannot be called '{name}'", "a name has 1 to 28 characters");
        if (sizeof(T) % 4 != 0)
            throw new ConfigException($"a ring of {typeof(T)} cannot be made",
                $"its size, {sizeof(T)} bytes, is no multiple of 4", "pad the type to a multiple of 4 bytes");
        RingTelemetry.Register(memory);
        nuint bytes = RingHeader.BytesFor(RingHeader.SlotsFor(count, exactSize), sizeof(T));
        Memzone zone = memory.ReserveMemzone(NamePrefix + name, bytes, numaNode, RingHeader.Separation);
        RingHeader.Init((RingHeader*)zone.Address, name, count, sizeof(T), producerSync, consumerSync, exactSize);
        return new Ring<T>(memory, zone);
    }

    /// <summary>A handle on the ring of that name, or null. Disposing it leaves the ring to its creator.</summary>
    /// <exception cref="ConfigException">Its elements have another size than <typeparamref name="T"/>.</exception>
    public static Ring<T>? Lookup(Memory memory, string name)
    {
        Memzone? zone = memory.LookupMemzone(NamePrefix + name);
        if (zone == null)
            return null;
        uint elementBytes = ((RingHeader*)zone.Address)->ElementBytes;
        if (elementBytes != sizeof(T))
            throw new ConfigException($"ring '{name}' cannot be used as one of {typeof(T)}",
                $"its elements have {elementBytes} bytes, {typeof(T)} has {sizeof(T)}");
        return new Ring<T>(null, zone);
    }

    /// <summary>Empties it. Nobody may be inside.</summary>
    public void Reset() => RingHeader.Reset(_ring);

    /// <summary>Writes its state, for people. Any thread; the figures are each true at some moment.</summary>
    public void Dump(TextWriter writer)
    {
        writer.WriteLine($"ring {Name}");
        writer.WriteLine($"  size={Size} capacity={Capacity} element_bytes={sizeof(T)} numa_node={NumaNode}");
        writer.WriteLine($"  count={Count} free={FreeCount}");
        Dump(writer, "producer", ProducerSync, &_ring->Producer);
        Dump(writer, "consumer", ConsumerSync, &_ring->Consumer);
    }

    private static void Dump(TextWriter writer, string name, RingSync sync, RingSide* side)
    {
        uint head = sync == RingSync.HeadTail ? side->TailCount : side->Head;
        writer.WriteLine($"  {name} sync={sync} head={head} tail={side->Tail}");
    }

    /// <summary>
    /// Gives the memory back, if this handle came from <see cref="Create"/>. Nobody may use the ring any more; this
    /// handle throws <see cref="NullReferenceException"/> from now on.
    /// </summary>
    public void Dispose()
    {
        if (_ring == null)
            return;
        _ring = null;
        _owner?.FreeMemzone(_zone);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ref T First(ReadOnlySpan<T> items) =>
        ref System.Runtime.InteropServices.MemoryMarshal.GetReference(items);
}
