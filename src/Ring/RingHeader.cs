using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Dataplane;

/// <summary>
/// A ring as it lies in memory: this header, then <see cref="Size"/> elements. Nothing in it is a managed reference or
/// an address, so any process that maps it can use it.
/// </summary>
/// <remarks>
/// Head and tail run freely over 2^32; slot = index &amp; mask. A side claims slots by moving its head, copies, and
/// publishes by moving its tail. Which of its words it uses for that is its <see cref="RingSync"/>'s affair: the
/// peer only ever reads <see cref="RingSide.Tail"/>.
/// </remarks>
[StructLayout(LayoutKind.Explicit, Size = SizeBytes)]
internal unsafe struct RingHeader
{
    /// <summary>Distance between two writers: a line and the one the adjacent-line prefetcher takes with it.</summary>
    internal const int Separation = 128;
    internal const int SizeBytes = 5 * Separation;
    internal const int MaxNameLength = 28;
    internal const uint MaxSize = 1u << 30;

    [FieldOffset(0)] internal fixed byte Name[MaxNameLength + 4];
    [FieldOffset(32)] internal uint ElementBytes;
    [FieldOffset(36)] internal uint Size;
    [FieldOffset(40)] internal uint Mask;
    [FieldOffset(44)] internal uint Capacity;
    [FieldOffset(48)] internal RingSync ProducerSync;
    [FieldOffset(52)] internal RingSync ConsumerSync;
    [FieldOffset(Separation)] internal RingSide Producer;
    [FieldOffset(3 * Separation)] internal RingSide Consumer;

    /// <summary>First element of a ring.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static byte* Slots(RingHeader* ring) => (byte*)ring + SizeBytes;

    /// <summary>Slots a ring for <paramref name="count"/> elements has: a power of two.</summary>
    /// <param name="count">Exact: the capacity, 1 to 2^30 - 1. Else a power of two from 2 to 2^30, one of them
    /// unused.</param>
    /// <param name="exactSize">See <paramref name="count"/>.</param>
    /// <exception cref="ConfigException">The count is out of range.</exception>
    internal static uint SlotsFor(int count, bool exactSize)
    {
        if (exactSize && count is >= 1 and < (int)MaxSize)
            return (uint)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)count + 1);
        if (!exactSize && count is >= 2 and <= (int)MaxSize && System.Numerics.BitOperations.IsPow2(count))
            return (uint)count;
        throw new ConfigException($"a ring of {count} elements cannot be made",
            exactSize ? "the exact size is 1 to 2^30 - 1"
            : "the size is a power of two from 2 to 2^30, capacity size - 1", exactSize ? null
            : "ask for an exact size to get any capacity");
    }

    /// <summary>Bytes a ring takes, header and elements, rounded so that what follows it shares no line with
    /// it.</summary>
    internal static nuint BytesFor(uint slots, int elementBytes) =>
        (SizeBytes + (nuint)slots * (nuint)elementBytes + Separation - 1) & ~(nuint)(Separation - 1);

    /// <summary>Makes an empty ring at <paramref name="ring"/>, which is <see cref="BytesFor"/> long and
    /// 128-aligned.</summary>
    internal static void Init(RingHeader* ring, string name, int count, int elementBytes,
        RingSync producerSync, RingSync consumerSync, bool exactSize)
    {
        *ring = default;
        Encoding.ASCII.GetBytes(name.AsSpan(0, Math.Min(name.Length, MaxNameLength)),
            new Span<byte>(ring->Name, MaxNameLength));
        ring->ElementBytes = (uint)elementBytes;
        ring->Size = SlotsFor(count, exactSize);
        ring->Mask = ring->Size - 1;
        ring->Capacity = exactSize ? (uint)count : ring->Size - 1;
        ring->ProducerSync = producerSync;
        ring->ConsumerSync = consumerSync;
        ring->Producer.MaxDistance = ring->Consumer.MaxDistance = Math.Max(1, ring->Capacity / 8);
    }

    /// <summary>Elements in it; exact while nobody is inside. Any thread.</summary>
    internal static uint Count(RingHeader* ring)
    {
        // Consumer first: its tail never passes the producer's, so a later producer tail cannot make this negative.
        uint consumed = Volatile.Read(ref ring->Consumer.Tail);
        return Math.Min(Volatile.Read(ref ring->Producer.Tail) - consumed, ring->Capacity);
    }

    /// <summary>Empties it. Nobody may be inside.</summary>
    internal static void Reset(RingHeader* ring)
    {
        ring->Producer.Reset();
        ring->Consumer.Reset();
    }
}

/// <summary>
/// One side of a ring: what its threads write, apart from the other side's. The tail has a line of its own, since the
/// other side polls it: claims then do not wait for that line to come back.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 2 * RingHeader.Separation)]
internal struct RingSide
{
    /// <summary>Published up to here. The only field the other side reads.</summary>
    [FieldOffset(0)] internal uint Tail;
    /// <summary>RTS: entries that left. HTS: the head.</summary>
    [FieldOffset(4)] internal uint TailCount;
    /// <summary>Tail and TailCount in one.</summary>
    [FieldOffset(0)] internal ulong TailWord;

    /// <summary>ST, MT, RTS: claimed up to here.</summary>
    [FieldOffset(RingHeader.Separation)] internal uint Head;
    /// <summary>ST, MT: the other side's tail as last seen, which spares its line. RTS: entries that came.</summary>
    [FieldOffset(RingHeader.Separation + 4)] internal uint PeerTail;
    /// <summary>Head and PeerTail in one.</summary>
    [FieldOffset(RingHeader.Separation)] internal ulong HeadWord;

    /// <summary>RTS: how far the head may run before the tail.</summary>
    [FieldOffset(RingHeader.Separation + 8)] internal uint MaxDistance;

    internal void Reset() => TailWord = HeadWord = 0;
}
