using System.Numerics;
using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>What a block must fulfil.</summary>
/// <param name="SizeBytes">At least 1.</param>
/// <param name="AlignBytes">A power of two, at least 64.</param>
/// <param name="BoundBytes">A power of two whose multiples it must not cross, or 0.</param>
/// <param name="IovaContiguous">Contiguous for a device too.</param>
internal readonly record struct BlockRequest(nuint SizeBytes, nuint AlignBytes, nuint BoundBytes = 0,
    bool IovaContiguous = false)
{
    /// <summary>Bytes that serve it wherever they begin.</summary>
    internal nuint WorstCaseBytes => Heap.RoundUp(SizeBytes, Heap.Unit) + Heap.Unit
        + (AlignBytes > Heap.Unit ? AlignBytes : 0) + (BoundBytes > 0 ? Heap.RoundUp(SizeBytes, Heap.Unit) : 0);
}

/// <summary>
/// The heap of one NUMA node: boundary-tagged elements in its memseg lists, free ones also in lists by size class.
/// Every block begins on a multiple of 64 bytes behind a 64-byte header. Not thread-safe: the <see cref="Memory"/>
/// locks.
/// </summary>
internal sealed unsafe partial class Heap
{
    /// <summary>Granularity and header size, bytes: one cache line, so no block shares one.</summary>
    internal const int Unit = 64;

    private readonly HeapHeader* _header;
    private readonly MemsegList[] _lists;   // all of the environment, by the index elements carry

    internal Heap(HeapHeader* header, MemsegList[] lists)
    {
        _header = header;
        _lists = lists;
    }

    internal int NumaNode => _header->NumaNode;

    internal HeapHeader* Header => _header;

    internal static nuint RoundUp(nuint value, nuint powerOfTwo) => (value + powerOfTwo - 1) & ~(powerOfTwo - 1);

    /// <summary>Takes a block from what the heap has.</summary>
    /// <param name="request">What it must fulfil.</param>
    /// <param name="zeroed">All its bytes shall be 0.</param>
    /// <returns>Null when nothing free serves.</returns>
    internal void* TryAllocate(BlockRequest request, bool zeroed)
    {
        nuint need = RoundUp(request.SizeBytes, Unit) + Unit;
        for (int bin = BinOf(need); bin < HeapHeader.BinCount; bin++)
        {
            for (var e = (HeapElement*)_header->Bins[bin]; e != null; e = e->NextFree)
            {
                nuint block = Place(e, need, request);
                if (block == 0)
                    continue;
                HeapElement* taken = Carve(e, block - Unit, need);
                taken->RequestedBytes = request.SizeBytes;
                _header->Allocations++;
                if (zeroed && taken->Dirty != 0)
                    NativeMemory.Clear((void*)block, taken->SizeBytes - Unit);
                taken->Dirty = 1;
                return (void*)block;
            }
        }
        return null;
    }

    /// <summary>Gives a block back and joins it with free neighbours.</summary>
    internal void Free(HeapElement* element)
    {
        Debit(element);
        _header->Frees++;
        Insert(element);
    }

    /// <summary>
    /// Makes a block larger or smaller where it is.
    /// </summary>
    /// <returns>False when what follows it is not free or not enough.</returns>
    internal bool TryResize(HeapElement* element, nuint sizeBytes)
    {
        nuint need = RoundUp(sizeBytes, Unit) + Unit;
        if (need > element->SizeBytes)
        {
            HeapElement* next = Next(element);
            if (next == null || !HeapElement.Is(next, HeapElement.FreeCookie)
                || element->SizeBytes + next->SizeBytes < need)
                return false;
            Unlink(next);
            Debit(element);
            Absorb(element, next);
            Credit(element);
        }
        element->RequestedBytes = sizeBytes;
        SplitTail(element, need);
        return true;
    }

    /// <summary>Adds memory at the end of one of the lists, just committed and all zero.</summary>
    internal void AddMemory(int list, byte* start, nuint sizeBytes)
    {
        var element = (HeapElement*)start;
        *element = new() { SizeBytes = sizeBytes, List = list, Previous = _lists[list].Header->LastElement };
        _lists[list].Header->LastElement = element;
        Insert(element);
    }

    /// <summary>The higher neighbour in memory, null at the end of the list.</summary>
    internal HeapElement* Next(HeapElement* element)
    {
        byte* next = (byte*)element + element->SizeBytes;
        return element == _lists[element->List].Header->LastElement ? null : (HeapElement*)next;
    }

    private static int BinOf(nuint sizeBytes) =>
        Math.Min(BitOperations.Log2(sizeBytes / Unit), HeapHeader.BinCount - 1);

    // Where in a free element the block may begin (header before it), 0 for nowhere.
    private nuint Place(HeapElement* element, nuint need, BlockRequest request)
    {
        nuint end = (nuint)element + element->SizeBytes;
        nuint block = RoundUp((nuint)element + Unit, request.AlignBytes);
        while (block + need - Unit <= end)
        {
            nuint moved = block;
            nuint bound = request.BoundBytes;
            if (bound > 0 && ((moved ^ (moved + request.SizeBytes - 1)) & ~(bound - 1)) != 0)
                moved = RoundUp(moved, bound);
            if (request.IovaContiguous)
                moved = _lists[element->List].FindIovaContiguous(moved, request.SizeBytes);
            moved = RoundUp(moved, request.AlignBytes);
            if (moved == block)
                return block;
            block = moved;
        }
        return 0;
    }

    // Takes [start, start + need) out of a free element; what is left before and after stays free.
    private HeapElement* Carve(HeapElement* element, nuint start, nuint need)
    {
        Unlink(element);
        if (start != (nuint)element)
        {
            HeapElement* upper = Cut(element, start - (nuint)element);
            Link(element);
            element = upper;
        }
        HeapElement.Mark(element, HeapElement.BusyCookie);
        Credit(element);
        SplitTail(element, need);
        return element;
    }

    private void SplitTail(HeapElement* element, nuint need)
    {
        if (element->SizeBytes - need < 2 * Unit)
            return;   // a header with nothing behind it serves nobody
        Debit(element);
        HeapElement* tail = Cut(element, need);
        Credit(element);
        Insert(tail);
    }

    // Splits an element in two; the upper one is returned, in no free list yet.
    private HeapElement* Cut(HeapElement* element, nuint lowerBytes)
    {
        var upper = (HeapElement*)((byte*)element + lowerBytes);
        *upper = new()
        {
            SizeBytes = element->SizeBytes - lowerBytes,
            Previous = element,
            List = element->List,
            Dirty = element->Dirty,
        };
        HeapElement* next = Next(element);
        if (next != null)
            next->Previous = upper;
        else
            _lists[element->List].Header->LastElement = upper;
        element->SizeBytes = lowerBytes;
        return upper;
    }

    // Joins the higher neighbour, which is in no free list.
    private void Absorb(HeapElement* element, HeapElement* next)
    {
        HeapElement* after = Next(next);
        element->SizeBytes += next->SizeBytes;
        if (after != null)
            after->Previous = element;
        else
            _lists[element->List].Header->LastElement = element;
        if (element->Dirty != 0 || next->Dirty != 0)
        {
            element->Dirty = 1;
            HeapElement.Mark(next, HeapElement.GoneCookie);   // so that a second free of it is recognised
        }
        else
        {
            *next = default;
        }
    }

    // Makes an element free, joined with its free neighbours.
    private void Insert(HeapElement* element)
    {
        HeapElement* next = Next(element);
        if (next != null && HeapElement.Is(next, HeapElement.FreeCookie))
        {
            Unlink(next);
            Absorb(element, next);
        }
        HeapElement* previous = element->Previous;
        if (previous != null && HeapElement.Is(previous, HeapElement.FreeCookie))
        {
            Unlink(previous);
            Absorb(previous, element);
            element = previous;
        }
        Link(element);
    }

    private void Link(HeapElement* element)
    {
        ref ulong bin = ref _header->Bins[BinOf(element->SizeBytes)];
        HeapElement.Mark(element, HeapElement.FreeCookie);
        element->PreviousFree = null;
        element->NextFree = (HeapElement*)bin;
        if (element->NextFree != null)
            element->NextFree->PreviousFree = element;
        bin = (ulong)element;
        _header->FreeBytes += element->SizeBytes;
        _header->FreeCount++;
    }

    private void Unlink(HeapElement* element)
    {
        if (element->NextFree != null)
            element->NextFree->PreviousFree = element->PreviousFree;
        if (element->PreviousFree != null)
            element->PreviousFree->NextFree = element->NextFree;
        else
            _header->Bins[BinOf(element->SizeBytes)] = (ulong)element->NextFree;
        _header->FreeBytes -= element->SizeBytes;
        _header->FreeCount--;
    }

    private void Credit(HeapElement* element)
    {
        _header->BusyBytes += element->SizeBytes;
        _header->BusyCount++;
    }

    private void Debit(HeapElement* element)
    {
        _header->BusyBytes -= element->SizeBytes;
        _header->BusyCount--;
    }
}
