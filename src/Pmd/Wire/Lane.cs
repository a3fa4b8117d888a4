using System.Runtime.InteropServices;

namespace Dataplane.Pmd;

/// <summary>
/// The packets under way to one receive queue: a bounded FIFO in native memory, many senders, one receiver.
/// </summary>
/// <remarks>
/// R0 Volatile.Write(Tail) in Send publishes slots; pairs with A0 Volatile.Read(Tail) in Receive.
/// R1 Volatile.Write(Head) in Receive returns slots; pairs with A1 Volatile.Read(Head) in Send.
/// Senders take turns by the Busy word (compare-exchange in Send, released by a volatile write).
/// </remarks>
internal sealed unsafe class Lane
{
    private readonly Memory _memory;
    private readonly Indexes* _indexes;
    private readonly Mbuf* _slots;
    private readonly uint _mask;

    internal Lane(Memory memory, int slots)
    {
        _memory = memory;
        _mask = System.Numerics.BitOperations.RoundUpToPowerOf2((uint)slots) - 1;
        _indexes = (Indexes*)memory.Zmalloc((nuint)sizeof(Indexes) + (nuint)(_mask + 1) * (nuint)sizeof(Mbuf), 128);
        _slots = (Mbuf*)(_indexes + 1);
    }

    /// <summary>Puts the first packets in, as many as fit.</summary>
    internal int Send(ReadOnlySpan<Mbuf> packets)
    {
        while (Interlocked.CompareExchange(ref _indexes->Busy, 1, 0) != 0)
            Thread.SpinWait(1);
        uint tail = _indexes->Tail;
        uint free = _mask + 1 - (tail - Volatile.Read(ref _indexes->Head)); // A1
        int count = (int)Math.Min(free, (uint)packets.Length);
        for (int i = 0; i < count; i++)
            _slots[tail++ & _mask] = packets[i];
        Volatile.Write(ref _indexes->Tail, tail); // R0
        Volatile.Write(ref _indexes->Busy, 0);
        return count;
    }

    /// <summary>Takes packets out, as many as there are and fit.</summary>
    internal int Receive(Span<Mbuf> packets)
    {
        uint head = _indexes->Head;
        uint used = Volatile.Read(ref _indexes->Tail) - head; // A0
        int count = (int)Math.Min(used, (uint)packets.Length);
        for (int i = 0; i < count; i++)
            packets[i] = _slots[head++ & _mask];
        Volatile.Write(ref _indexes->Head, head); // R1
        return count;
    }

    internal void Dispose() => _memory.Free(_indexes);

    [StructLayout(LayoutKind.Explicit, Size = 384)]
    private struct Indexes
    {
        [FieldOffset(0)] public uint Tail;
        [FieldOffset(4)] public int Busy;
        [FieldOffset(128)] public uint Head;
    }
}
