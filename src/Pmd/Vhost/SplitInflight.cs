using System.Runtime.InteropServices;

namespace Dataplane.Pmd;

/// <summary>What a back end notes of each buffer of a split ring. vhost-user.rst, "Inflight I/O tracking".</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct VhostInflightEntry
{
    [FieldOffset(0)] internal byte InFlight;
    [FieldOffset(6)] internal ushort Next;
    [FieldOffset(8)] internal ulong Counter;
}

/// <summary>What stands before the entries. vhost-user.rst, QueueRegionSplit.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct VhostInflightHeader
{
    [FieldOffset(0)] internal ulong Features;
    [FieldOffset(8)] internal ushort Version;
    [FieldOffset(10)] internal ushort Entries;
    [FieldOffset(12)] internal ushort LastBatchHead;
    [FieldOffset(14)] internal ushort UsedIndex;
}

/// <summary>
/// Notes which buffers of a split ring are in our hands, in memory that outlives us: who comes after us does them
/// again.
/// </summary>
/// <remarks>The memory went through the peer's hands and is believed no more than a ring is.</remarks>
internal sealed unsafe class SplitInflight
{
    private readonly VhostInflightHeader* _header;
    private readonly VhostInflightEntry* _entries;
    private readonly uint _mask;
    private readonly List<ushort> _again = [];
    private int _next;
    private ulong _counter;

    internal SplitInflight(byte* memory, int size, ulong features, ushort usedIndex)
    {
        _header = (VhostInflightHeader*)memory;
        _entries = (VhostInflightEntry*)(_header + 1);
        _mask = (uint)size - 1;
        if (_header->Version == 0)
            *_header = new() { Features = features, Version = 1, Entries = (ushort)size, UsedIndex = usedIndex };
        ForgetLastBatch(usedIndex);
        Collect();
    }

    /// <summary>Bytes for a ring.</summary>
    internal static ulong Bytes(int size) => ((ulong)sizeof(VhostInflightHeader)
        + (ulong)size * (ulong)sizeof(VhostInflightEntry) + VhostUser.InflightAlignment - 1)
        & ~(ulong)(VhostUser.InflightAlignment - 1);

    /// <summary>Buffers left to be done again.</summary>
    internal int AgainCount => _again.Count - _next;

    /// <summary>The first of them.</summary>
    internal int Again(VhostSlot* slots, int most)
    {
        int count = Math.Min(most, AgainCount);
        for (int i = 0; i < count; i++)
            slots[i].Id = _again[_next + i];
        return count;
    }

    /// <summary>Buffers were taken.</summary>
    internal void Take(VhostSlot* slots, int count)
    {
        for (int i = 0; i < count; i++)
        {
            VhostInflightEntry* entry = _entries + (slots[i].Id & _mask);
            entry->Counter = _counter++;
            Volatile.Write(ref entry->InFlight, 1);
        }
    }

    /// <summary>They are in the used ring, which does not count them yet.</summary>
    internal void Use(VhostSlot* slots, int count, int again)
    {
        _next += again;
        for (int i = 0; i < count; i++)
        {
            _entries[slots[i].Id & _mask].Next = _header->LastBatchHead;
            _header->LastBatchHead = (ushort)(slots[i].Id & _mask);
        }
    }

    /// <summary>It counts them now.</summary>
    internal void Done(VhostSlot* slots, int count, ushort usedIndex)
    {
        for (int i = 0; i < count; i++)
            Volatile.Write(ref _entries[slots[i].Id & _mask].InFlight, 0);
        Volatile.Write(ref _header->UsedIndex, usedIndex);
    }

    /// <summary>Whoever was here before us may have ended between counting a batch and noting that.</summary>
    private void ForgetLastBatch(ushort usedIndex)
    {
        uint batch = (ushort)(usedIndex - _header->UsedIndex), at = _header->LastBatchHead;
        for (uint i = 0; i < batch && i <= _mask; i++)
        {
            VhostInflightEntry* entry = _entries + (at & _mask);
            entry->InFlight = 0;
            at = entry->Next;
        }
        _header->UsedIndex = usedIndex;
    }

    private void Collect()
    {
        var found = new List<(ulong Counter, ushort Id)>();
        for (uint id = 0; id <= _mask; id++)
        {
            ulong counter = _entries[id].Counter;
            _counter = Math.Max(_counter, counter + 1);
            if (_entries[id].InFlight != 0)
                found.Add((counter, (ushort)id));
        }
        found.Sort();
        foreach ((_, ushort id) in found)
            _again.Add(id);
    }
}
