using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>
/// The I/O address spaces of an environment: opens devices, each in a container that suits it, one container for all
/// that can share. Control path; any thread.
/// </summary>
public sealed partial class DmaManager : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Memory _memory;
    private readonly EalOptions _options;
    private readonly DmaBackends _backends;
    private readonly ILogger _logger;
    private readonly Func<IommuBackend, DmaContainer> _create;
    private readonly Interrupts? _interrupts;           // there unless somebody else creates
    private readonly List<DmaContainer> _shared = [];   // devices may be put in these
    private readonly List<DmaContainer> _own = [];      // the application's
    private IommufdContext? _iommufd;                   // opened with the first container that needs it
    private IommuFaultLog? _faults;                     // read from the first container behind an IOMMU on
    private bool _disposed;

    internal DmaManager(Memory memory, EalOptions options, ILogger logger, DmaBackends? backends = null,
        Func<IommuBackend, DmaContainer>? create = null, Interrupts? interrupts = null)
    {
        _memory = memory;
        _options = options;
        _logger = logger;
        _backends = backends ?? new(options);
        _interrupts = interrupts;
        _create = create ?? Create;
        LogMemoryMode(logger, memory.IovaMode, MemoryReason(options));
    }

    /// <summary>All containers there are, the application's too.</summary>
    public IReadOnlyList<DmaContainer> Containers
    {
        get
        {
            lock (_lock)
                return [.. _shared, .. _own];
        }
    }

    /// <summary>
    /// Memory of this process that the kernel holds in place for devices, bytes (<c>VmPin</c>). iommufd counts every
    /// page once however many containers map it; type1 does not count there.
    /// </summary>
    public static ulong PinnedBytes
    {
        get
        {
            foreach (string line in File.ReadLines("/proc/self/status"))
                if (line.StartsWith("VmPin:", StringComparison.Ordinal))
                    return ulong.Parse(line.AsSpan(6, line.Length - 8).Trim(), CultureInfo.InvariantCulture) << 10;
            return 0;
        }
    }

    /// <summary>Opens a function that is bound to vfio-pci, in a container that other devices may share.</summary>
    /// <param name="device">Which.</param>
    /// <param name="addressBits">Address bits it can put on the bus (<c>PciPortDriver.DmaAddressBits</c>).</param>
    /// <exception cref="DeviceException">It cannot be had; says why and what to do.</exception>
    public PciFunction Open(PciDevice device, int addressBits = 64)
    {
        ArgumentNullException.ThrowIfNull(device);
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            DmaChoice choice = _backends.Choose(device);
            string backend = DmaBackends.Name(choice.Backend);
            PciFunction function = TryOpenShared(device, addressBits, backend)
                ?? OpenInNew(device, addressBits, choice);
            DmaContainer container = function.Container;
            LogDecision(_logger, device, device.KernelDriver, backend, choice.Why, container.IovaMode,
                container.IovaDelta, string.Join(", ", container.Ranges));
            return function;
        }
    }

    /// <summary>
    /// Makes a container of the application's own: devices opened in it with <see cref="DmaContainer.Open"/> see only
    /// what is mapped in it. Disposed with the environment, or before.
    /// </summary>
    /// <param name="backend">Which kind.</param>
    /// <exception cref="DataplaneException">The kernel has no such interface, or it may not be used.</exception>
    public DmaContainer CreateContainer(IommuBackend backend)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (backend == IommuBackend.NoIommu && !_options.UnsafeNoIommu)
                throw new ConfigException("cannot make a container without an IOMMU",
                    "its devices could overwrite any memory of the machine", "accept that with --unsafe-noiommu",
                    DmaBackends.See);
            DmaContainer container = _create(backend == IommuBackend.Auto ? _backends.Default() : backend);
            _own.Add(container);
            return container;
        }
    }

    /// <summary>Closes every device still open and every container. Any number of times.</summary>
    public void Dispose()
    {
        lock (_lock)
            _disposed = true;
        _faults?.Dispose();   // without the lock: it may be looking for a function just now
        lock (_lock)
            try
            {
                DmaContainer.DisposeAll([.. _own, .. _shared]);
            }
            finally
            {
                _own.Clear();
                _shared.Clear();
                _iommufd?.Dispose();
            }
    }

    // A container whose mappings a device cannot live with is passed over: the device gets one of its own.
    private PciFunction? TryOpenShared(PciDevice device, int addressBits, string backend)
    {
        foreach (DmaContainer container in _shared)
            try
            {
                if (container.Backend == backend && container.Reaches(addressBits))
                    return container.Open(device, addressBits);
            }
            catch (DeviceException e) when (e.Errno is Errno.EADDRINUSE or Errno.ERANGE or Errno.EINVAL)
            {
                LogPassedOver(_logger, device, e.Message);
            }
        return null;
    }

    private PciFunction OpenInNew(PciDevice device, int addressBits, DmaChoice choice)
    {
        string backend = DmaBackends.Name(choice.Backend);
        if (_options.IommuBackend == IommuBackend.Auto && _shared.TrueForAll(known => known.Backend != backend))
            LogChoice(_logger, backend, device.Address, choice.Why);
        DmaContainer container = _create(choice.Backend);
        try
        {
            PciFunction function = container.Open(device, addressBits);
            _shared.Add(container);
            return function;
        }
        catch
        {
            container.Dispose();
            throw;
        }
    }

    private DmaContainer Create(IommuBackend backend)
    {
        if (backend == IommuBackend.NoIommu)
            return new NoIommuContainer(_memory, _interrupts!, _logger);
        DmaContainer container = backend == IommuBackend.Type1
            ? new VfioContainer(_memory, _interrupts!, _options.VfioVfToken, _logger)
            : new IommufdContainer(_memory, _iommufd ??= new(_options.IommuFd, _logger), _backends, _interrupts!,
                _options.VfioVfToken, _logger);
        if (_faults == null)
        {
            _faults = new(_logger, () => Containers.SelectMany(one => one.Functions));
            _faults.Start(_interrupts!);
        }
        return container;
    }

    private static string MemoryReason(EalOptions options) =>
        options.UnsafeNoIommu ? "--unsafe-noiommu: a device without an IOMMU needs them"
        : options.IovaMode == IovaMode.Auto ? "every device is behind an IOMMU, which maps them"
        : "--iova-mode says so";

    [LoggerMessage(LogLevel.Debug, "IOVA: memory keeps {Mode} addresses ({Why})")]
    private static partial void LogMemoryMode(ILogger logger, IovaMode mode, string why);

    [LoggerMessage(LogLevel.Information, "IOMMU backend {Backend} for {Device}: {Why}")]
    private static partial void LogChoice(ILogger logger, string backend, PciAddress device, string why);

    [LoggerMessage(LogLevel.Debug, "{Device} gets a container of its own: {Why}")]
    private static partial void LogPassedOver(ILogger logger, PciDevice device, string why);

    [LoggerMessage(LogLevel.Debug,
        "IOVA: {Device} bound to {Driver} | {Backend}: {Why} | {Mode} plus 0x{Delta:x} | usable {Ranges}")]
    private static partial void LogDecision(ILogger logger, PciDevice device, string? driver, string backend,
        string why, IovaMode mode, ulong delta, string ranges);
}
