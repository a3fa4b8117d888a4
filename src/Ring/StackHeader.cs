using System.Runtime.InteropServices;
using System.Text;

namespace Dataplane;

/// <summary>
/// A stack of 8-byte elements as it lies in memory: this header, then per slot a link (lock-free only) and a value.
/// No managed reference and no address in it. A slot's index is its number plus 1; 0 is the end of a list.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = SizeBytes)]
internal unsafe struct StackHeader
{
    internal const int SizeBytes = 3 * RingHeader.Separation;
    internal const int ElementBytes = 8;
    internal const int MaxNameLength = 27;

    /// <summary>Bits of a list head that hold an index; the others count changes.</summary>
    internal const int IndexBits = 26;
    internal const uint IndexMask = (1u << IndexBits) - 1;

    /// <summary>Readable links or values after the last, so that eight at a time can be looked at.</summary>
    internal const int Overread = 16;

    [FieldOffset(0)] internal fixed byte Name[MaxNameLength + 5];
    [FieldOffset(32)] internal uint Capacity;
    [FieldOffset(36)] internal StackKind Kind;
    [FieldOffset(40)] internal nuint ValuesOffset;

    /// <summary>Lock-free: list of slots in use. Locked: unused.</summary>
    [FieldOffset(RingHeader.Separation)] internal ulong Used;
    /// <summary>Elements in it: written under the lock, or added up behind the lists and then for
    /// information.</summary>
    [FieldOffset(RingHeader.Separation + 8)] internal int Count;
    /// <summary>Locked: 1 while a thread is inside.</summary>
    [FieldOffset(RingHeader.Separation + 12)] internal int Lock;

    /// <summary>Lock-free: list of slots not in use.</summary>
    [FieldOffset(2 * RingHeader.Separation)] internal ulong Free;

    /// <summary>Link of each slot, by index.</summary>
    internal static uint* Links(StackHeader* stack) => (uint*)((byte*)stack + SizeBytes);

    /// <summary>Value of each slot; lock-free by index, locked from 0.</summary>
    internal static ulong* Values(StackHeader* stack) => (ulong*)((byte*)stack + stack->ValuesOffset);

    /// <summary>Bytes a stack takes, rounded so that what follows it shares no line with it.</summary>
    /// <exception cref="ConfigException">The capacity is out of range.</exception>
    internal static nuint BytesFor(StackKind kind, int capacity)
    {
        if (capacity < 1 || (uint)capacity > IndexMask - Overread)
            throw new ConfigException($"a stack for {capacity} elements cannot be made",
                $"the capacity is 1 to {IndexMask - Overread}");
        nuint bytes = ValuesAt(kind, (uint)capacity) + ((nuint)capacity + Overread) * ElementBytes;
        return RoundUp(bytes);
    }

    /// <summary>Makes an empty stack at <paramref name="stack"/>, which is <see cref="BytesFor"/> long,
    /// 128-aligned.</summary>
    internal static void Init(StackHeader* stack, string name, StackKind kind, int capacity)
    {
        *stack = default;
        Encoding.ASCII.GetBytes(name.AsSpan(0, Math.Min(name.Length, MaxNameLength)),
            new Span<byte>(stack->Name, MaxNameLength));
        stack->Capacity = (uint)capacity;
        stack->Kind = kind;
        stack->ValuesOffset = ValuesAt(kind, (uint)capacity);
        if (kind != StackKind.LockFree)
            return;
        uint* links = Links(stack);
        for (uint index = 0; index < capacity; index++)
            links[index] = index + 1;                                       // links[0] is nobody's
        links[capacity] = 0;
        stack->Free = 1;
    }

    private static nuint ValuesAt(StackKind kind, uint capacity) =>
        kind == StackKind.Locked ? SizeBytes : RoundUp(SizeBytes + ((nuint)capacity + Overread) * sizeof(uint));

    private static nuint RoundUp(nuint bytes) =>
        (bytes + RingHeader.Separation - 1) & ~(nuint)(RingHeader.Separation - 1);
}

/// <summary>How a stack orders its threads.</summary>
internal enum StackKind
{
    /// <summary>One spinlock.</summary>
    Locked = 0,

    /// <summary>Two lock-free lists.</summary>
    LockFree = 1,
}
