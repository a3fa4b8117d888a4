using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// One I/O address space (IOAS) of iommufd: Linux 6.6 and later. Several share one <c>/dev/iommu</c> and pin memory
/// once. linux/iommufd.h, linux/vfio.h.
/// </summary>
public sealed partial class IommufdContainer : DmaContainer
{
    private readonly IommufdContext _context;
    private readonly DmaBackends _backends;
    private readonly Interrupts _interrupts;
    private readonly Guid? _vfToken;
    private readonly Dictionary<PciFunction, uint> _ids = [];   // what iommufd knows them by
    private readonly uint _ioas;

    /// <summary>Makes the address space.</summary>
    /// <param name="memory">What to map.</param>
    /// <param name="context">The descriptor; stays the caller's.</param>
    /// <param name="backends">Knows of descriptors that were handed in.</param>
    /// <param name="interrupts">Where devices report that they are lost.</param>
    /// <param name="vfToken">For virtual functions of a physical one that VFIO drives, or null.</param>
    /// <param name="log">For warnings; may be null.</param>
    internal IommufdContainer(Memory memory, IommufdContext context, DmaBackends backends, Interrupts interrupts,
        Guid? vfToken, ILogger? log) : base(memory, log)
    {
        _context = context;
        _backends = backends;
        _interrupts = interrupts;
        _vfToken = vfToken;
        _ioas = Iommufd.AllocIoas(context.Fd);
    }

    /// <inheritdoc/>
    public override string Backend => "iommufd";

    /// <inheritdoc/>
    public override IovaMode IovaMode => IovaMode.Va;

    /// <summary>Pieces mapped by copying another container's mapping, so pinned only once.</summary>
    public long CopiedMaps { get; private set; }

    /// <summary>Pieces mapped from their file rather than their address (Linux 6.13).</summary>
    public long FileMaps { get; private set; }

    /// <summary>
    /// Whether the IOMMU's large pages are used. On by default; to be turned off, for measuring, before a device is
    /// attached.
    /// </summary>
    /// <exception cref="NativeException">A device is attached.</exception>
    public bool LargePages
    {
        get => Iommufd.GetOption(_context.Fd, Iommufd.IOMMU_OPTION_HUGE_PAGES, _ioas) != 0;
        set => Iommufd.SetOption(_context.Fd, Iommufd.IOMMU_OPTION_HUGE_PAGES, _ioas, value ? 1u : 0);
    }

    private protected override PciFunction OpenCore(PciDevice device)
    {
        SafeFileHandle fd = OpenDevice(device);
        uint id;
        try
        {
            id = Bind(device, fd);
            Attach(device, fd, id);
        }
        catch
        {
            fd.Dispose();   // which detaches and unbinds
            throw;
        }
        var function = new VfioPciFunction(device, this, fd, _interrupts, Logger, HotReset);
        lock (_ids)
            _ids.Add(function, id);
        return function;
    }

    private protected override void CloseCore(PciFunction function)
    {
        lock (_ids)
            _ids.Remove(function);
        using SafeFileHandle fd = ((VfioPciFunction)function).Fd;
        try
        {
            VfioCdev.Detach(fd);   // a parent process that handed the descriptor in may keep it open
        }
        catch (NativeException e)
        {
            Logger?.LogDebug("closing {Device}: {Message}", function.Device, e.Message);   // gone, with its attachment
        }
    }

    private protected override DmaLimits ReadLimits()
    {
        iommu_iova_range[] ranges = Iommufd.GetIovaRanges(_context.Fd, _ioas, out ulong alignment);
        return new([.. ranges.OrderBy(range => range.start).Select(range => new IovaRange(range.start, range.last))],
            Math.Max(alignment, PageSource.OrdinaryPageSize));
    }

    private protected override void MapCore(DmaPiece piece)
    {
        try
        {
            IommufdMapping how = _context.Map(_ioas, piece);
            CopiedMaps += how == IommufdMapping.Copied ? 1 : 0;
            FileMaps += how == IommufdMapping.File ? 1 : 0;
        }
        catch (NativeException e) when (IommufdErrors.Map(e, piece, MappedBytes) is { } better)
        {
            throw better;
        }
    }

    private protected override void UnmapCore(DmaPiece piece) => _context.Unmap(_ioas, piece);

    private protected override void KeepUsable(IReadOnlyList<IovaRange> ranges) =>
        Iommufd.AllowIovas(_context.Fd, _ioas,
            [.. ranges.Select(range => new iommu_iova_range { start = range.First, last = range.Last })]);

    private protected override void DisposeCore()
    {
        EndTracking();
        Iommufd.Destroy(_context.Fd, _ioas);
    }

    private SafeFileHandle OpenDevice(PciDevice device)
    {
        if (_backends.DeviceFd(device) is { } handedIn)
        {
            string? link = new FileInfo($"/proc/self/fd/{handedIn}").LinkTarget;
            if (link == null || Path.GetFileName(link) != device.VfioDevice)
                throw new ConfigException($"{device.Address},vfio-fd={handedIn} is not the device",
                    link == null ? "no such descriptor is open" : $"it is {link}",
                    $"open {DmaBackends.CdevNode(device)} for reading and writing, without close-on-exec, before the "
                    + "start; it is closed with the device");
            return new(handedIn, ownsHandle: true);
        }
        if (device.VfioDevice == null)
            throw IommufdErrors.NoCdev(device);
        string node = DmaBackends.CdevNode(device);
        SafeFileHandle fd = Fcntl.open(node, Fcntl.O_RDWR | Fcntl.O_CLOEXEC, 0);
        return !fd.IsInvalid ? fd
            : throw IommufdErrors.Cdev(device, node, NativeException.FromErrno(node).Errno);
    }

    // A token is for virtual functions whose physical one has one set; the kernel refuses it for all others, and knows
    // it from 6.17 on (before, it asked for none).
    private uint Bind(PciDevice device, SafeFileHandle fd)
    {
        if (_vfToken != null)
            try
            {
                return VfioCdev.Bind(fd, _context.Fd, _vfToken);
            }
            catch (NativeException e) when (e.Errno is Errno.EINVAL or Errno.EACCES)
            {
                Logger?.LogDebug("{Device} without its token: {Message}", device, e.Message);
            }
        try
        {
            return VfioCdev.Bind(fd, _context.Fd);
        }
        catch (NativeException e)
        {
            throw IommufdErrors.Bind(device, e, _vfToken != null);
        }
    }

    private bool HotReset(VfioPciFunction function) =>
        VfioHotReset.TryReset(function, Functions, static _ => null, Logger);
}
