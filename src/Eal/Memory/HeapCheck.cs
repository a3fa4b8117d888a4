namespace Dataplane;

internal sealed unsafe partial class Heap
{
    /// <summary>The header of the block at a pointer the user gives.</summary>
    /// <exception cref="DataplaneException">No block of ours begins there, it is free already, or its header is
    /// broken.</exception>
    internal static HeapElement* ElementOf(MemsegList list, void* pointer, string operation)
    {
        var element = (HeapElement*)((byte*)pointer - Unit);
        if (((nuint)pointer & (Unit - 1)) != 0 || (byte*)element < list.Base)
            throw Bad(operation, pointer, "no block begins there");
        if (HeapElement.Is(element, HeapElement.BusyCookie))
            return element;
        if (HeapElement.Is(element, HeapElement.FreeCookie) || HeapElement.Is(element, HeapElement.GoneCookie))
            throw Bad(operation, pointer, "it was freed before");
        throw Bad(operation, pointer, "no block begins there, or the block before it was overrun");
    }

    /// <summary>Walks everything and checks every cookie, size, link and counter.</summary>
    /// <exception cref="DataplaneException">The first thing found wrong, with its address.</exception>
    internal void Validate()
    {
        nuint busyBytes = 0, busyCount = 0, freeBytes = 0, freeCount = 0;
        for (int i = 0; i < _lists.Length; i++)
        {
            if (_lists[i].NumaNode != NumaNode)
                continue;
            HeapElement* previous = null;
            bool previousFree = false;
            for (byte* at = _lists[i].Base; at < _lists[i].End;)
            {
                var element = (HeapElement*)at;
                bool free = HeapElement.Is(element, HeapElement.FreeCookie);
                CheckElement(element, previous, i, free);
                if (free && previousFree)
                    throw Broken(element, "it and the one before are both free");
                (free ? ref freeBytes : ref busyBytes) += element->SizeBytes;
                (free ? ref freeCount : ref busyCount)++;
                previous = element;
                previousFree = free;
                at += element->SizeBytes;
            }
            if (_lists[i].Header->LastElement != previous)
                throw Broken(previous, "it should be the last of its range");
        }
        CheckFreeLists(freeCount);
        if (busyBytes != _header->BusyBytes || busyCount != _header->BusyCount
            || freeBytes != _header->FreeBytes || freeCount != _header->FreeCount)
            throw new DataplaneException($"heap of node {NumaNode} is corrupt",
                why: "its counters do not match its elements");
    }

    /// <summary>The largest block (without alignment) it could give now, bytes.</summary>
    internal nuint LargestFreeBytes()
    {
        nuint largest = Unit;
        for (int bin = HeapHeader.BinCount - 1; bin >= 0 && largest == Unit; bin--)
            for (var e = (HeapElement*)_header->Bins[bin]; e != null; e = e->NextFree)
                largest = Math.Max(largest, e->SizeBytes);
        return largest - Unit;
    }

    /// <summary>What was taken from the kernel for this heap, bytes.</summary>
    internal nuint CommittedBytes(bool huge)
    {
        nuint bytes = 0;
        foreach (MemsegList list in _lists)
            if (list.NumaNode == NumaNode && list.IsHuge == huge)
                bytes += list.Committed;
        return bytes;
    }

    private void CheckElement(HeapElement* element, HeapElement* previous, int list, bool free)
    {
        if (!free && !HeapElement.Is(element, HeapElement.BusyCookie))
            throw Broken(element, previous == null ? "its cookie is gone"
                : $"its cookie is gone: the block at 0x{(nuint)previous + Unit:x} was probably overrun");
        nuint room = (nuint)_lists[list].End - (nuint)element;
        if (element->SizeBytes < Unit || element->SizeBytes % Unit != 0 || element->SizeBytes > room)
            throw Broken(element, $"its size is {element->SizeBytes}");
        if (element->Previous != previous)
            throw Broken(element, "its link to the lower neighbour is wrong");
        if (element->List != list)
            throw Broken(element, "it names another memseg list");
        if (!free && element->RequestedBytes > element->SizeBytes - Unit)
            throw Broken(element, "it is smaller than was asked for");
    }

    private void CheckFreeLists(nuint expected)
    {
        nuint count = 0;
        for (int bin = 0; bin < HeapHeader.BinCount; bin++)
        {
            HeapElement* previous = null;
            for (var e = (HeapElement*)_header->Bins[bin]; e != null; previous = e, e = e->NextFree)
            {
                if (++count > expected || !IsOurs(e))
                    throw Broken(e, "it is in a free list and should not be");
                if (!HeapElement.Is(e, HeapElement.FreeCookie) || BinOf(e->SizeBytes) != bin
                    || e->PreviousFree != previous)
                    throw Broken(e, "its links in the free list are wrong");
            }
        }
        if (count != expected)
            throw new DataplaneException($"heap of node {NumaNode} is corrupt",
                why: "a free element is in no free list");
    }

    private bool IsOurs(void* element)
    {
        foreach (MemsegList list in _lists)
            if (list.NumaNode == NumaNode && list.Contains(element))
                return true;
        return false;
    }

    private DataplaneException Broken(HeapElement* element, string why) =>
        new($"heap of node {NumaNode} is corrupt: element 0x{(nuint)element:x}", why);

    private static DataplaneException Bad(string operation, void* pointer, string why) =>
        new($"cannot {operation} 0x{(nuint)pointer:x}", why, errno: Errno.EINVAL);
}
