using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>
/// A bounded LIFO of 8-byte elements in native memory under a spinlock: the fastest while threads are few.
/// A handle: the stack itself is in the memzone <c>STK_name</c>.
/// </summary>
/// <typeparam name="T">8 bytes: a pointer, an <c>Mbuf</c>, a number.</typeparam>
/// <remarks>
/// Operations move all or nothing, from any thread, allocate nothing and never throw; create, lookup and dispose are
/// control path. A thread that sleeps inside stops the others.
/// </remarks>
public sealed unsafe class LockedStack<T> : IDisposable where T : unmanaged
{
    private readonly Memory? _owner;
    private readonly Memzone _zone;
    private StackHeader* _stack;

    private LockedStack(Memory? owner, Memzone zone)
    {
        _owner = owner;
        _zone = zone;
        _stack = (StackHeader*)zone.Address;
    }

    /// <summary>Its name, unique among stacks in its EAL.</summary>
    public string Name => _zone.Name[StackZone.NamePrefix.Length..];

    /// <summary>Elements it holds when full.</summary>
    public int Capacity => (int)_stack->Capacity;

    /// <summary>The node its memory is on.</summary>
    public int NumaNode => _zone.NumaNode;

    /// <summary>Elements in it; exact while nobody is inside. Any thread.</summary>
    public int Count => Math.Clamp(Volatile.Read(ref _stack->Count), 0, Capacity);

    /// <summary>Elements that still fit; exact while nobody is inside. Any thread.</summary>
    public int FreeCount => Capacity - Count;

    /// <summary>Makes an empty stack.</summary>
    /// <param name="memory">Where to take memory from.</param>
    /// <param name="name">1 to 27 characters, unique among stacks.</param>
    /// <param name="capacity">Elements, 1 to 67,108,847.</param>
    /// <param name="numaNode">A node id or <see cref="Memory.AnyNode"/>.</param>
    /// <exception cref="ConfigException">The name, the capacity or the size of <typeparamref name="T"/> cannot
    /// be.</exception>
    /// <exception cref="DataplaneException">The name is taken, or there is too little memory.</exception>
    public static LockedStack<T> Create(Memory memory, string name, int capacity, int numaNode = Memory.AnyNode) =>
        new(memory, StackZone.Create<T>(memory, name, capacity, numaNode, StackKind.Locked));

    /// <summary>A handle on the stack of that name, or null. Disposing it leaves the stack to its creator.</summary>
    /// <exception cref="ConfigException">It is of the other kind, or <typeparamref name="T"/> of another
    /// size.</exception>
    public static LockedStack<T>? Lookup(Memory memory, string name) =>
        StackZone.Lookup<T>(memory, name, StackKind.Locked) is { } zone ? new LockedStack<T>(null, zone) : null;

    /// <summary>Pushes one element.</summary>
    /// <returns>False when it is full.</returns>
    public bool TryPush(T item) => LockedStackCore.TryPushBulk(_stack, ref Unsafe.As<T, ulong>(ref item), 1);

    /// <summary>Pops the top element.</summary>
    /// <returns>False when it is empty; <paramref name="item"/> is then default.</returns>
    public bool TryPop(out T item)
    {
        ulong value = 0;
        bool popped = LockedStackCore.TryPopBulk(_stack, ref value, 1);
        item = popped ? Unsafe.As<ulong, T>(ref value) : default;
        return popped;
    }

    /// <summary>Pushes all of <paramref name="items"/> or none; the last one ends on top.</summary>
    /// <returns>False when they do not fit; none was taken.</returns>
    public bool TryPushBulk(ReadOnlySpan<T> items) => LockedStackCore.TryPushBulk(
        _stack, ref Unsafe.As<T, ulong>(ref MemoryMarshal.GetReference(items)), (uint)items.Length);

    /// <summary>Pops as many as <paramref name="items"/> holds, the top first, or none.</summary>
    /// <returns>False when there are fewer; <paramref name="items"/> is then left alone.</returns>
    public bool TryPopBulk(Span<T> items) => LockedStackCore.TryPopBulk(
        _stack, ref Unsafe.As<T, ulong>(ref MemoryMarshal.GetReference(items)), (uint)items.Length);

    /// <summary>
    /// Gives the memory back, if this handle came from <see cref="Create"/>. Nobody may use the stack any more; this
    /// handle throws <see cref="NullReferenceException"/> from now on.
    /// </summary>
    public void Dispose()
    {
        if (_stack == null)
            return;
        _stack = null;
        _owner?.FreeMemzone(_zone);
    }
}
