using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// One open <c>/dev/iommu</c>, shared by the containers of an environment, so that memory which several of them map is
/// pinned once: the second and later copy it from the first. Any thread.
/// </summary>
internal sealed unsafe class IommufdContext : IDisposable
{
    private readonly Lock _lock = new();   // the last to be taken: containers come in under theirs
    private readonly List<(uint Ioas, DmaPiece Piece)> _mapped = [];
    private readonly ILogger? _log;
    private bool _noMapFile;

    /// <summary>Opens it.</summary>
    /// <param name="handedIn">A descriptor of the caller's to use instead, or null.</param>
    /// <param name="log">For what is worth knowing; may be null.</param>
    /// <exception cref="DataplaneException">The kernel has none, or it may not be opened.</exception>
    internal IommufdContext(int? handedIn, ILogger? log)
    {
        _log = log;
        if (handedIn is { } fd)
        {
            if (new FileInfo($"/proc/self/fd/{fd}").LinkTarget is var link and not DmaBackends.IommuNode)
                throw new ConfigException($"--iommu-fd={fd} is not {DmaBackends.IommuNode}",
                    link == null ? "no such descriptor is open" : $"it is {link}",
                    $"open {DmaBackends.IommuNode} for reading and writing, without close-on-exec, before the start");
            Fd = new(fd, ownsHandle: false);
            return;
        }
        Fd = Fcntl.open(DmaBackends.IommuNode, Fcntl.O_RDWR | Fcntl.O_CLOEXEC, 0);
        if (Fd.IsInvalid)
            throw IommufdErrors.Node(NativeException.FromErrno(DmaBackends.IommuNode).Errno);
    }

    /// <summary>The descriptor.</summary>
    internal SafeFileHandle Fd { get; }

    /// <summary>Maps a piece: from another address space that has it, else from its file, else from its address.
    /// </summary>
    /// <returns>How it was.</returns>
    /// <exception cref="NativeException">The kernel refuses; nothing is mapped.</exception>
    internal IommufdMapping Map(uint ioas, DmaPiece piece)
    {
        IommufdMapping how = TryCopy(ioas, piece) ? IommufdMapping.Copied
            : TryMapFile(ioas, piece) ? IommufdMapping.File : IommufdMapping.Address;
        if (how == IommufdMapping.Address)
            Iommufd.Map(Fd, ioas, (void*)piece.Address, piece.SizeBytes, piece.Iova.Value);
        lock (_lock)
            _mapped.Add((ioas, piece));
        return how;
    }

    /// <summary>Unmaps what <see cref="Map"/> mapped. Others that copied it keep theirs.</summary>
    /// <exception cref="NativeException">The kernel refuses.</exception>
    internal void Unmap(uint ioas, DmaPiece piece)
    {
        lock (_lock)
            _mapped.Remove((ioas, piece));
        ulong unmapped = Iommufd.Unmap(Fd, ioas, piece.Iova.Value, piece.SizeBytes);
        if (unmapped != piece.SizeBytes)
            throw new NativeException($"IOMMU_IOAS_UNMAP of {piece.SizeBytes} bytes at IOVA {piece.Iova}", Errno.EIO,
                $"{unmapped} of them were mapped");
    }

    /// <inheritdoc/>
    public void Dispose() => Fd.Dispose();

    // The source may go between looking and copying: then the kernel says so, and the next one is tried.
    private bool TryCopy(uint ioas, DmaPiece piece)
    {
        foreach ((uint from, ulong iova) in Sources(ioas, piece))
            try
            {
                Iommufd.Copy(Fd, from, iova, ioas, piece.Iova.Value, piece.SizeBytes);
                return true;
            }
            catch (NativeException e) when (e.Errno == Errno.ENOENT)
            {
                _log?.LogDebug("{Message}", e.Message);
            }
        return false;
    }

    // Where the beginning of a piece is mapped. Its rest lies behind it there, unless memory has grown differently.
    private List<(uint Ioas, ulong Iova)> Sources(uint ioas, DmaPiece piece)
    {
        lock (_lock)
            return [.. _mapped.Where(m => m.Ioas != ioas && m.Piece.Overlaps(piece.Address, 1))
                .Select(m => (m.Ioas, m.Piece.Iova.Value + (piece.Address - m.Piece.Address)))];
    }

    private bool TryMapFile(uint ioas, DmaPiece piece)
    {
        if (_noMapFile || piece.Fd < 0)
            return false;
        try
        {
            Iommufd.MapFile(Fd, ioas, piece.Fd, (ulong)piece.FdOffset, piece.SizeBytes, piece.Iova.Value);
            return true;
        }
        // Before 6.13; or a file that is no memfd to it.
        catch (NativeException e) when (e.Errno is Errno.ENOTTY or Errno.EBADFD or Errno.EINVAL or Errno.EOPNOTSUPP)
        {
            _noMapFile |= e.Errno == Errno.ENOTTY;
            _log?.LogDebug("mapping by address: {Message}", e.Message);
            return false;
        }
    }
}

/// <summary>How iommufd mapped a piece.</summary>
internal enum IommufdMapping
{
    /// <summary>From this process's address (IOMMU_IOAS_MAP).</summary>
    Address,
    /// <summary>From its memfd (IOMMU_IOAS_MAP_FILE).</summary>
    File,
    /// <summary>From another address space, pinned already (IOMMU_IOAS_COPY).</summary>
    Copied,
}
