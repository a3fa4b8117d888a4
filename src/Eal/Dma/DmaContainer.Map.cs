using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Dataplane;

public abstract unsafe partial class DmaContainer
{
    private readonly List<DmaPiece> _pieces = [];     // mapped, in the order they were
    private readonly List<DmaPiece> _external = [];   // an application's, whether mapped now or not
    private DmaLimits _limits = DmaLimits.None;
    private Watcher? _watcher;
    private int _addressBits = 64;
    private bool _mapping;                            // a device is attached, so what comes is mapped

    /// <summary>
    /// In <see cref="IovaMode.Va"/>, what to add to a pointer to get its IOVA, modulo 2^64. 0 unless the device's
    /// address bits, the IOMMU's width or its reserved ranges need another. Fixed while a device is attached.
    /// </summary>
    public ulong IovaDelta { get; private set; }

    /// <summary>The I/O addresses that can be mapped with the devices attached now, ascending.</summary>
    public IReadOnlyList<IovaRange> Ranges
    {
        get
        {
            lock (_map)
                return _limits.Ranges;
        }
    }

    /// <summary>Page sizes of the IOMMU, a mask of powers of two, as far as its interface tells.</summary>
    public ulong PageSizes
    {
        get
        {
            lock (_map)
                return _limits.PageSizes;
        }
    }

    /// <summary>What is mapped now, in the order it was.</summary>
    public IReadOnlyList<DmaPiece> Pieces
    {
        get
        {
            lock (_map)
                return [.. _pieces];
        }
    }

    /// <summary>Bytes mapped now.</summary>
    public ulong MappedBytes
    {
        get
        {
            ulong bytes = 0;
            foreach (DmaPiece piece in Pieces)
                bytes += piece.SizeBytes;
            return bytes;
        }
    }

    /// <summary>Pieces mapped since the container was made.</summary>
    public long Maps { get; private set; }

    /// <summary>Where a device reaches a byte, or <see cref="Iova.Bad"/>. Control path.</summary>
    /// <param name="pointer">Into mapped memory.</param>
    public Iova ToIova(void* pointer)
    {
        if (IovaMode == IovaMode.Pa)
            return _memory.ToIova(pointer);
        lock (_map)
            foreach (DmaPiece piece in _pieces)
                if (piece.Overlaps((nuint)pointer, 1))
                    return new(unchecked((ulong)pointer + IovaDelta));
        return Iova.Bad;
    }

    /// <summary>
    /// Makes an application's own memory reachable, at <see cref="IovaDelta"/> like all else. It must stay where it is
    /// until <see cref="Unmap"/>. Without a device attached it is mapped with the first.
    /// </summary>
    /// <param name="address">First byte, a multiple of the ordinary page.</param>
    /// <param name="sizeBytes">Length, a multiple of the ordinary page.</param>
    /// <exception cref="DataplaneException">Not aligned, mapped already, or out of reach.</exception>
    public void Map(void* address, nuint sizeBytes)
    {
        var piece = new DmaPiece((nuint)address, sizeBytes, Iova.Bad);
        string what = string.Create(CultureInfo.InvariantCulture,
            $"cannot map {sizeBytes} bytes at 0x{(nuint)address:x}");
        if (address == null || sizeBytes == 0 || (piece.Address | sizeBytes) % PageSource.OrdinaryPageSize != 0
            || piece.End < piece.Address)
            throw new DataplaneException(what, "address and length are whole pages",
                $"take it from mmap, in multiples of {PageSource.OrdinaryPageSize} bytes", errno: Errno.EINVAL);
        if (IovaMode == IovaMode.Pa)
            throw new DataplaneException(what, "without an IOMMU nothing holds its pages in place",
                "take the memory from eal.Memory, or use an IOMMU", errno: Errno.EOPNOTSUPP);
        IReadOnlyList<Memseg> memsegs = _memory.Memsegs;
        lock (_map)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_external.Any(other => other.Overlaps(piece.Address, sizeBytes))
                || memsegs.Any(other => piece.Overlaps(other.Address, other.SizeBytes)))
                throw new DataplaneException(what, "some of it is mapped already", errno: Errno.EEXIST);
            if (_mapping)
                MapPiece(piece);
            _external.Add(piece);
        }
    }

    /// <summary>Takes an application's memory away from devices; they must not use it any more.</summary>
    /// <param name="address">As mapped.</param>
    /// <param name="sizeBytes">As mapped: a piece goes as a whole.</param>
    /// <exception cref="DataplaneException">It is no piece that <see cref="Map"/> mapped.</exception>
    public void Unmap(void* address, nuint sizeBytes)
    {
        lock (_map)
        {
            int index = _external.FindIndex(p => p.Address == (nuint)address && p.SizeBytes == sizeBytes);
            if (index < 0)
                throw new DataplaneException(string.Create(CultureInfo.InvariantCulture,
                    $"cannot unmap {sizeBytes} bytes at 0x{(nuint)address:x}"),
                    "no piece of the application's was mapped there with that length", errno: Errno.ENOENT);
            int mapped = _pieces.FindIndex(p => p.Address == (nuint)address && p.Fd < 0);
            if (mapped >= 0)
            {
                UnmapCore(_pieces[mapped]);
                _pieces.RemoveAt(mapped);
            }
            _external.RemoveAt(index);
        }
    }

    /// <summary>Whether a device with so many address bits reaches all that is mapped here.</summary>
    internal bool Reaches(int addressBits)
    {
        lock (_map)
        {
            DmaLimits within = DmaLimits.None.Clip(addressBits);
            return !_mapping || (IovaMode == IovaMode.Pa ? addressBits >= _addressBits
                : _pieces.TrueForAll(piece => within.Contains(piece.Iova.Value, piece.SizeBytes)));
        }
    }

    // The first device has everything mapped for it; a later one must get along with that.
    private void Attached(PciFunction function, int addressBits)
    {
        DmaLimits limits = ReadLimits().Clip(Math.Min(addressBits, _functions.Count == 1 ? 64 : _addressBits));
        if (IovaMode == IovaMode.Pa)
            CheckPhysical(function.Device, _memory.Memsegs, limits);
        if (_functions.Count > 1)
        {
            lock (_map)
            {
                DmaPiece outside = _pieces.Find(piece => !limits.Contains(piece.Iova.Value, piece.SizeBytes));
                if (outside.SizeBytes != 0)
                    throw OutOfReach($"cannot use {function.Device} in a container with "
                        + $"{_functions[0].Device}", outside.Iova.Value, outside.SizeBytes, limits,
                        "open it in a container of its own");
                _limits = limits;
                _addressBits = Math.Min(_addressBits, addressBits);
            }
            return;
        }
        List<DmaPiece> pieces = DmaPiece.Merge(_memory.Memsegs);
        lock (_map)
        {
            _limits = limits;
            _addressBits = addressBits;
            IovaDelta = IovaMode == IovaMode.Pa ? 0 : FindDelta(function.Device, [.. pieces, .. _external]);
            _mapping = true;
            foreach (DmaPiece piece in (DmaPiece[])[.. pieces, .. _external])
                MapPiece(piece);
        }
        KeepUsable(RoomToGrow());
        _watcher = new Watcher(this);
        _memory.Watch(_watcher);
    }

    private ulong FindDelta(PciDevice device, IReadOnlyList<DmaPiece> pieces)
    {
        if (pieces.Count == 0)
            return 0;
        if (!IovaPlacement.TryFind(pieces, _limits, out ulong delta))
        {
            nuint low = pieces.Min(piece => piece.Address);
            throw OutOfReach($"cannot give {device} its memory", low, pieces.Max(piece => piece.End) - low, _limits,
                "take less memory (-m), on one NUMA node and of one page size: as it lies it has to fit there");
        }
        if (delta != 0)
            Logger?.LogInformation("{Device} reaches {Ranges}: its I/O addresses are addresses plus 0x{Delta:x}",
                device, _limits.ToString(), delta);
        return delta;
    }

    // Where memory may grow to, as far as it can be mapped now.
    private IovaRange[] RoomToGrow()
    {
        (nuint first, nuint sizeBytes) = _memory.Reserved;
        ulong start = unchecked(first + IovaDelta), last = unchecked(start + sizeBytes - 1);
        return start > last ? []
            : [.. _limits.Ranges
                .Select(range => new IovaRange(Math.Max(range.First, start), Math.Min(range.Last, last)))
                .Where(range => range.First < range.Last)];
    }

    // Under _map.
    private void MapPiece(DmaPiece piece)
    {
        if (IovaMode == IovaMode.Pa)
            return;
        piece = piece with { Iova = new(unchecked(piece.Address + IovaDelta)) };
        if (!_limits.Contains(piece.Iova.Value, piece.SizeBytes))
            throw OutOfReach("cannot map memory for devices", piece.Iova.Value, piece.SizeBytes, _limits,
                "take what is needed at start with -m, so that it is placed as a whole");
        MapCore(piece);
        _pieces.Add(piece);
        Maps++;
    }

    private void UnmapAll()
    {
        if (_watcher != null)
        {
            _memory.Unwatch(_watcher);
            Quietly(() => KeepUsable([]));
        }
        _watcher = null;
        lock (_map)
        {
            _mapping = false;
            if (_pieces.Count == 0 || !UnmapAllCore())
                for (int i = _pieces.Count - 1; i >= 0; i--)
                {
                    DmaPiece piece = _pieces[i];
                    Quietly(() => UnmapCore(piece));
                }
            _pieces.Clear();
        }
    }

    // On the way out: the descriptors are closed next, which takes the rest along.
    private void Quietly(Action step)
    {
        try
        {
            step();
        }
        catch (DataplaneException e)
        {
            Logger?.LogWarning("{Message}", e.Message);
        }
    }

    private void Added(Memseg memseg)
    {
        if (IovaMode == IovaMode.Pa)
            CheckPhysical(null, [memseg], _limits);
        lock (_map)
            if (_mapping && !_pieces.Exists(piece => piece.Overlaps(memseg.Address, memseg.SizeBytes)))
                MapPiece(new(memseg.Address, memseg.SizeBytes, Iova.Bad, memseg.Fd, memseg.FdOffset));
    }

    // Refused by another watcher, or all of the memory ends. Pieces go as a whole, with the first memseg in them.
    private void Removed(Memseg memseg)
    {
        lock (_map)
            for (int i = _pieces.Count - 1; i >= 0; i--)
                if (_pieces[i] is var piece && piece.Overlaps(memseg.Address, memseg.SizeBytes))
                {
                    Quietly(() => UnmapCore(piece));
                    _pieces.RemoveAt(i);
                }
    }

    // Without an IOMMU memory is where it is: all that can be done is to look.
    private void CheckPhysical(PciDevice? device, IReadOnlyList<Memseg> memsegs, DmaLimits limits)
    {
        if (_memory.IovaMode != IovaMode.Pa)
            throw new ConfigException($"cannot use {device} without an IOMMU",
                why: "memory was taken without its physical addresses", fix: "start with --unsafe-noiommu",
                see: "docs/setup/iommu.md");
        foreach (Memseg memseg in memsegs)
            for (nuint at = memseg.Address; at < memseg.Address + memseg.SizeBytes; at += memseg.PageSizeBytes)
                if (_memory.ToIovaOfNew((void*)at) is var iova && !limits.Contains(iova.Value, memseg.PageSizeBytes))
                    throw OutOfReach($"cannot use memory for {device?.ToString() ?? "devices"}", iova.Value,
                        memseg.PageSizeBytes, limits, "use an IOMMU, which places memory where the device reaches it");
    }

    private static DeviceException OutOfReach(string what, ulong start, ulong sizeBytes, DmaLimits limits,
        string fix) => new(what, string.Create(CultureInfo.InvariantCulture,
            $"{sizeBytes >> 10} KB at 0x{start:x} are outside the I/O addresses it can use: {limits}"), fix,
            "docs/setup/iommu.md", Errno.ERANGE);

    private sealed class Watcher(DmaContainer container) : IMemsegWatcher
    {
        public void MemsegAdded(Memseg memseg) => container.Added(memseg);

        public void MemsegRemoved(Memseg memseg) => container.Removed(memseg);
    }
}
