using System.Numerics;

namespace Dataplane;

public sealed unsafe partial class Memory
{
    /// <summary>Allocates memory, contents undefined. Never returns null.</summary>
    /// <param name="sizeBytes">0 counts as 1.</param>
    /// <param name="alignBytes">A power of two; less than 64 counts as 64.</param>
    /// <param name="numaNode">A node id, which is then the only one to serve, or <see cref="AnyNode"/>.</param>
    /// <exception cref="DataplaneException">Too little memory.</exception>
    public void* Malloc(nuint sizeBytes, nuint alignBytes = 64, int numaNode = AnyNode) =>
        Allocate(Request(sizeBytes, alignBytes), numaNode, zeroed: false, $"{sizeBytes} bytes");

    /// <summary>Allocates zeroed memory. Never returns null.</summary>
    /// <param name="sizeBytes">0 counts as 1.</param>
    /// <param name="alignBytes">A power of two; less than 64 counts as 64.</param>
    /// <param name="numaNode">A node id, which is then the only one to serve, or <see cref="AnyNode"/>.</param>
    /// <exception cref="DataplaneException">Too little memory.</exception>
    public void* Zmalloc(nuint sizeBytes, nuint alignBytes = 64, int numaNode = AnyNode) =>
        Allocate(Request(sizeBytes, alignBytes), numaNode, zeroed: true, $"{sizeBytes} bytes");

    /// <summary>
    /// Changes a block's size, in place where that is possible. The contents are kept up to the smaller size, the
    /// rest is undefined; the node stays. Null allocates; size 0 frees and returns null.
    /// </summary>
    /// <returns>The block; <paramref name="pointer"/> is invalid unless this is the same.</returns>
    /// <exception cref="DataplaneException">
    /// Too little memory (the block is then as it was), or <paramref name="pointer"/> is no block of ours.
    /// </exception>
    public void* Realloc(void* pointer, nuint sizeBytes, nuint alignBytes = 64)
    {
        if (pointer == null)
            return Malloc(sizeBytes, alignBytes);
        if (sizeBytes == 0)
        {
            Free(pointer);
            return null;
        }
        BlockRequest request = Request(sizeBytes, alignBytes);
        lock (_lock)
        {
            MemsegList list = Owner(pointer, "realloc");
            HeapElement* element = Heap.ElementOf(list, pointer, "realloc");
            if (((nuint)pointer & (request.AlignBytes - 1)) == 0
                && HeapOf(list.NumaNode)!.TryResize(element, sizeBytes))
                return pointer;
            void* moved = Allocate(request, list.NumaNode, zeroed: false, $"{sizeBytes} bytes");
            nuint kept = Math.Min(sizeBytes, element->RequestedBytes);
            Buffer.MemoryCopy(pointer, moved, kept, kept);
            HeapOf(list.NumaNode)!.Free(element);
            return moved;
        }
    }

    /// <summary>Frees what an allocation returned. Null does nothing, nor does any call after <see
    /// cref="Dispose"/>.</summary>
    /// <exception cref="DataplaneException">It is no block of ours, or it was freed before.</exception>
    public void Free(void* pointer)
    {
        if (pointer == null)
            return;
        lock (_lock)
        {
            if (_disposed)
                return;
            MemsegList list = Owner(pointer, "free");
            HeapOf(list.NumaNode)!.Free(Heap.ElementOf(list, pointer, "free"));
        }
    }

    /// <summary>How many bytes were asked for at this block.</summary>
    /// <exception cref="DataplaneException">It is no block of ours.</exception>
    public nuint SizeOf(void* pointer)
    {
        lock (_lock)
        {
            ThrowIfDisposed();
            return Heap.ElementOf(Owner(pointer, "tell the size of"), pointer, "tell the size of")->RequestedBytes;
        }
    }

    private static BlockRequest Request(nuint sizeBytes, nuint alignBytes, nuint boundBytes = 0,
        bool contiguous = false)
    {
        if (!BitOperations.IsPow2(alignBytes))
            throw new DataplaneException($"alignment {alignBytes} is not a power of two", errno: Errno.EINVAL);
        if (boundBytes != 0 && (!BitOperations.IsPow2(boundBytes) || boundBytes < sizeBytes))
            throw new DataplaneException($"bound {boundBytes} is not a power of two of at least {sizeBytes}",
                errno: Errno.EINVAL);
        if (sizeBytes > nuint.MaxValue >> 8)
            throw new DataplaneException($"cannot allocate {sizeBytes} bytes", errno: Errno.ENOMEM);
        return new(Math.Max(sizeBytes, 1), Math.Max(alignBytes, Heap.Unit), boundBytes, contiguous);
    }

    private void* Allocate(BlockRequest request, int numaNode, bool zeroed, string what)
    {
        lock (_lock)
        {
            ThrowIfDisposed();
            int[] nodes = NodesToTry(numaNode);
            foreach (int node in nodes)
                if (HeapOf(node)!.TryAllocate(request, zeroed) is var block && block != null)
                    return block;
            foreach (bool huge in (ReadOnlySpan<bool>)[true, false])
                foreach (int node in nodes)
                    if (_grower.TryGrow(node, request, huge)
                        && HeapOf(node)!.TryAllocate(request, zeroed) is var block && block != null)
                        return block;
            throw TooLittle(request, nodes, what);
        }
    }

    private int[] NodesToTry(int numaNode)
    {
        if (_nodes.Length == 1 && (numaNode == AnyNode || numaNode == _nodes[0]))
            return _nodes;
        if (numaNode == AnyNode)
        {
            int here = MemoryNodes.OfCallingThread(_nodes);
            return [here, .. _nodes.Where(node => node != here)];
        }
        if (HeapOf(numaNode) == null)
            throw new DataplaneException($"cannot allocate on NUMA node {numaNode}",
                why: "there is memory on node " + string.Join(", ", _nodes), errno: Errno.EINVAL);
        return [numaNode];
    }

    private DataplaneException TooLittle(BlockRequest request, int[] nodes, string what)
    {
        List<HugepagePool> pools = HugepagePool.ReadAll(_sys);
        var why = nodes.Select(node => $"node {node}: largest free block {HeapOf(node)!.LargestFreeBytes() >> 10} KB, "
            + string.Join(", ", pools.Where(pool => pool.NumaNode == node)
                .Select(pool => $"{pool.Free} free {HugepagePool.SizeName(pool.PageSizeBytes)} pages")));
        bool huge = _layout.Lists.Any(list => list.IsHuge);
        return new($"cannot allocate {what}", string.Join("\n       ", why),
            huge && MemoryPlan.Smallest(nodes[0], pools) is { } pool
                ? MemoryPlan.Command(pool, request.WorstCaseBytes)
                : $"free {request.WorstCaseBytes >> 20} MB of memory ({OrdinaryMemory.AvailableBytes() >> 20} MB "
                + $"available)",
            "docs/setup/hugepages.md", Errno.ENOMEM);
    }

    private Heap? HeapOf(int node)
    {
        foreach (Heap heap in _layout.Heaps)
            if (heap.NumaNode == node)
                return heap;
        return null;
    }

    private MemsegList Owner(void* pointer, string operation) =>
        ListOf(pointer) ?? throw new DataplaneException($"cannot {operation} 0x{(nuint)pointer:x}",
            "it is not in memory of this environment", errno: Errno.EINVAL);
}
