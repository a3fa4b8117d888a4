namespace Dataplane;

public sealed unsafe partial class Memory
{
    /// <summary>All zones, by address.</summary>
    public IReadOnlyList<Memzone> Memzones
    {
        get
        {
            lock (_lock)
                return _zones.All;
        }
    }

    /// <summary>Reserves a zeroed zone, contiguous in virtual addresses.</summary>
    /// <param name="name">1 to 31 bytes of UTF-8, unique.</param>
    /// <param name="sizeBytes">At least 1.</param>
    /// <param name="numaNode">A node id or <see cref="AnyNode"/>.</param>
    /// <param name="alignBytes">A power of two; less than 64 counts as 64.</param>
    /// <param name="boundBytes">The zone crosses no multiple of this power of two; 0: it may.</param>
    /// <param name="iovaContiguous">Contiguous for devices too, also in <see cref="IovaMode.Pa"/>.</param>
    /// <exception cref="DataplaneException">The name is taken, or there is too little memory.</exception>
    public Memzone ReserveMemzone(string name, nuint sizeBytes, int numaNode = AnyNode, nuint alignBytes = 64,
        nuint boundBytes = 0, bool iovaContiguous = false)
    {
        ArgumentNullException.ThrowIfNull(name);
        BlockRequest request = Request(sizeBytes, alignBytes, boundBytes, iovaContiguous);
        lock (_lock)
        {
            ThrowIfDisposed();
            MemzoneEntry* line = _zones.FindLine(name);
            void* block = Allocate(request, numaNode, zeroed: true, $"{sizeBytes} bytes for memzone '{name}'");
            MemsegList list = Owner(block, "reserve");
            return _zones.Add(line, name, block, sizeBytes, list.ToIova(block), list);
        }
    }

    /// <summary>The zone of that name, or null; null too once the memory is disposed.</summary>
    public Memzone? LookupMemzone(string name)
    {
        lock (_lock)
            return _zones.Find(name);
    }

    /// <summary>Gives a zone back. Nothing may use it any more. Does nothing once the memory is disposed.</summary>
    /// <exception cref="DataplaneException">It is not reserved (any more).</exception>
    public void FreeMemzone(Memzone zone)
    {
        ArgumentNullException.ThrowIfNull(zone);
        lock (_lock)
        {
            if (_disposed)
                return;
            _zones.Remove(zone);
            Free(zone.Address);
        }
    }
}
