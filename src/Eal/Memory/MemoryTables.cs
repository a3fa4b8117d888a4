using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>
/// The start of an environment's address range: every table of its memory, native and free of managed references, so
/// that a second process can map it at the same address.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal unsafe struct MemoryTables
{
    internal const ulong MagicValue = 0x314d454d4c504144;   // "DAPLMEM1"
    internal const int MaxLists = 64, MaxHeaps = 32, MaxMemzones = 2560;   // memzones: DPDK's default

    [FieldOffset(0)] internal ulong Magic;
    [FieldOffset(8)] internal void* Base;
    [FieldOffset(16)] internal nuint SizeBytes;        // of the whole range
    [FieldOffset(24)] internal int ListCount;
    [FieldOffset(28)] internal int HeapCount;
    [FieldOffset(32)] internal MemsegListHeader* Lists;
    [FieldOffset(40)] internal HeapHeader* Heaps;
    [FieldOffset(48)] internal MemzoneEntry* Memzones;
    [FieldOffset(56)] internal int MemzoneCount;

    /// <summary>Bytes of all tables, a multiple of the ordinary page.</summary>
    internal static nuint TotalBytes
    {
        get
        {
            nuint bytes = (nuint)(sizeof(MemoryTables) + MaxLists * sizeof(MemsegListHeader)
                + MaxHeaps * sizeof(HeapHeader) + MaxMemzones * sizeof(MemzoneEntry));
            return (bytes + PageSource.OrdinaryPageSize - 1) & ~(PageSource.OrdinaryPageSize - 1);
        }
    }

    /// <summary>Lays the tables out at the start of zeroed memory.</summary>
    internal static MemoryTables* Format(void* at, nuint rangeBytes)
    {
        var tables = (MemoryTables*)at;
        tables->Base = at;
        tables->SizeBytes = rangeBytes;
        tables->Lists = (MemsegListHeader*)(tables + 1);
        tables->Heaps = (HeapHeader*)(tables->Lists + MaxLists);
        tables->Memzones = (MemzoneEntry*)(tables->Heaps + MaxHeaps);
        tables->Magic = MagicValue;
        return tables;
    }
}

/// <summary>One memseg list as other processes see it.</summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal unsafe struct MemsegListHeader
{
    [FieldOffset(0)] internal byte* Base;
    [FieldOffset(8)] internal nuint ReservedBytes;
    [FieldOffset(16)] internal nuint CommittedBytes;
    [FieldOffset(24)] internal nuint PageSizeBytes;
    [FieldOffset(32)] internal HeapElement* LastElement;   // highest in this range, null while it is empty
    [FieldOffset(40)] internal int NumaNode;
}

/// <summary>The heap of one node: its free elements by size, and counters.</summary>
[StructLayout(LayoutKind.Explicit, Size = 384)]
internal unsafe struct HeapHeader
{
    internal const int BinCount = 32;   // bin n holds elements of 2^n to 2^(n+1) - 1 units of 64 bytes

    [FieldOffset(0)] internal int NumaNode;
    [FieldOffset(8)] internal ulong Allocations;
    [FieldOffset(16)] internal ulong Frees;
    [FieldOffset(24)] internal nuint BusyBytes;     // headers included
    [FieldOffset(32)] internal nuint FreeBytes;
    [FieldOffset(40)] internal nuint BusyCount;
    [FieldOffset(48)] internal nuint FreeCount;
    [FieldOffset(64)] internal fixed ulong Bins[BinCount];   // HeapElement*
}

/// <summary>What lies before every block: busy or free, linked to its neighbours in memory and to others of its
/// size.</summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal unsafe struct HeapElement
{
    internal const ulong BusyCookie = 0x4b434f4c42595355, FreeCookie = 0x4b434f4c42455246,
        GoneCookie = 0x4b434f4c42454e4f;

    [FieldOffset(0)] internal ulong Cookie;              // one of the above ^ this address: catches overruns and copies
    [FieldOffset(8)] internal nuint SizeBytes;           // header included; the next element lies so far on
    [FieldOffset(16)] internal HeapElement* Previous;    // next lower in memory, null for a list's first
    [FieldOffset(24)] internal HeapElement* NextFree;
    [FieldOffset(32)] internal HeapElement* PreviousFree;
    [FieldOffset(40)] internal nuint RequestedBytes;     // busy ones
    [FieldOffset(48)] internal int List;                 // index of its memseg list
    [FieldOffset(52)] internal int Dirty;                // not 0: somebody had it, so it is not all zero

    internal static bool Is(HeapElement* element, ulong cookie) => element->Cookie == (cookie ^ (ulong)element);

    internal static void Mark(HeapElement* element, ulong cookie) => element->Cookie = cookie ^ (ulong)element;
}

/// <summary>One memzone as other processes see it.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal unsafe struct MemzoneEntry
{
    internal const int NameBytes = 32;   // UTF-8, the last one 0

    [FieldOffset(0)] internal fixed byte Name[NameBytes];
    [FieldOffset(32)] internal void* Address;   // null: the entry is free
    [FieldOffset(40)] internal nuint SizeBytes;
    [FieldOffset(48)] internal ulong Iova;
    [FieldOffset(56)] internal nuint PageSizeBytes;
    [FieldOffset(64)] internal int NumaNode;
}
