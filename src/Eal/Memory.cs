using Dataplane.Native;

namespace Dataplane;

/// <summary>All memory a device may touch: named zones and a heap on hugepages. Any thread, control path only.</summary>
public sealed unsafe class Memory : IDisposable
{
    private readonly Dictionary<string, Memzone> _zones = [];
    private readonly Dictionary<nint, nuint> _blocks = [];
    private readonly Lock _lock = new();

    internal Memory() { }

    /// <summary>Any NUMA node will do.</summary>
    public const int AnyNode = -1;

    /// <summary>Reserves a zeroed zone.</summary>
    /// <param name="name">1 to 31 characters, unique.</param>
    /// <param name="sizeBytes">At least 1.</param>
    /// <param name="numaNode">A node id or <see cref="AnyNode"/>.</param>
    /// <param name="alignBytes">A power of two, at least 64.</param>
    /// <exception cref="DataplaneException">The name is taken, or there is too little memory.</exception>
    public Memzone ReserveMemzone(string name, nuint sizeBytes, int numaNode = AnyNode, nuint alignBytes = 64)
    {
        lock (_lock)
        {
            if (_zones.ContainsKey(name))
                throw new DataplaneException($"memzone '{name}' exists already", errno: Errno.EEXIST);
            void* address = Zmalloc(sizeBytes, alignBytes, numaNode);
            var zone = new Memzone(name, address, sizeBytes, ToIova(address), 0);
            _zones.Add(name, zone);
            return zone;
        }
    }

    /// <summary>The zone of that name, or null.</summary>
    public Memzone? LookupMemzone(string name)
    {
        lock (_lock)
            return _zones.GetValueOrDefault(name);
    }

    /// <summary>Gives a zone back. Nothing may use it any more.</summary>
    public void FreeMemzone(Memzone zone)
    {
        lock (_lock)
        {
            if (!_zones.Remove(zone.Name))
                throw new DataplaneException($"memzone '{zone.Name}' is not reserved", errno: Errno.ENOENT);
            Free(zone.Address);
        }
    }

    /// <summary>Allocates memory, contents undefined. Never returns null.</summary>
    /// <exception cref="DataplaneException">Too little memory.</exception>
    public void* Malloc(nuint sizeBytes, nuint alignBytes = 64, int numaNode = AnyNode) =>
        Zmalloc(sizeBytes, alignBytes, numaNode);

    /// <summary>Allocates zeroed memory. Never returns null.</summary>
    /// <exception cref="DataplaneException">Too little memory.</exception>
    public void* Zmalloc(nuint sizeBytes, nuint alignBytes = 64, int numaNode = AnyNode)
    {
        lock (_lock)
        {
            nuint length = (sizeBytes + alignBytes + 4095) & ~(nuint)4095;
            void* map = Mman.mmap(null, length, Mman.PROT_READ | Mman.PROT_WRITE,
                Mman.MAP_PRIVATE | Mman.MAP_ANONYMOUS | Mman.MAP_POPULATE, -1, 0);
            if (map == Mman.MAP_FAILED)
                throw NativeException.FromErrno($"mmap of {length} bytes");
            void* aligned = (void*)(((nuint)map + alignBytes - 1) & ~(alignBytes - 1));
            _blocks[(nint)aligned] = length;
            return aligned;
        }
    }

    /// <summary>Frees what <see cref="Malloc"/> or <see cref="Zmalloc"/> returned; null does nothing.</summary>
    public void Free(void* pointer)
    {
        lock (_lock)
        {
            if (pointer != null && _blocks.Remove((nint)pointer, out nuint length))
                _ = Mman.munmap((void*)((nuint)pointer & ~(nuint)4095), length);
        }
    }

    /// <summary>The address a device uses to reach <paramref name="pointer"/>, <see cref="Iova.Bad"/> outside our memory.</summary>
    public Iova ToIova(void* pointer) => new((ulong)pointer);

    /// <summary>Gives everything back to the kernel.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            foreach (nint block in _blocks.Keys.ToArray())
                Free((void*)block);
            _zones.Clear();
        }
    }
}
