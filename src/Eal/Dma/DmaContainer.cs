using System.Runtime.ExceptionServices;
using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>
/// One I/O address space: what devices attached to it can reach, and at which address. All memory of the
/// <see cref="Memory"/> is mapped into it when its first device is attached, memory that comes later before anybody
/// uses it, and nothing on the data path. Control path; any thread.
/// </summary>
/// <remarks>
/// A backend fills in the abstract members. <see cref="OpenCore"/> makes a function whose <c>Dispose</c>, when
/// the device is quiet, calls <see cref="Close"/> and leaves closing its descriptors to <see cref="CloseCore"/>: what
/// is mapped is unmapped in between, while the kernel still knows the container by an attached device.
/// </remarks>
public abstract unsafe partial class DmaContainer : IDisposable
{
    // _open is taken before the memory's lock, _map after it: growth comes in under the memory's lock.
    private readonly Lock _open = new(), _map = new();
    private readonly Memory _memory;
    private readonly List<PciFunction> _functions = [];
    private bool _disposed;

    /// <summary>For backends.</summary>
    /// <param name="memory">What to map.</param>
    /// <param name="log">For warnings; may be null.</param>
    private protected DmaContainer(Memory memory, ILogger? log)
    {
        _memory = memory;
        Logger = log;
    }

    /// <summary>Its backend: <c>iommufd</c>, <c>type1</c> or <c>noiommu</c>.</summary>
    public abstract string Backend { get; }

    /// <summary>Where its addresses come from: <see cref="IovaMode.Va"/> behind an IOMMU, <see cref="IovaMode.Pa"/>
    /// without.</summary>
    public abstract IovaMode IovaMode { get; }

    /// <summary>The functions attached now.</summary>
    public IReadOnlyList<PciFunction> Functions
    {
        get
        {
            lock (_open)
                return [.. _functions];
        }
    }

    private protected ILogger? Logger { get; }

    /// <summary>Opens a function and attaches it here.</summary>
    /// <param name="device">Bound to vfio-pci.</param>
    /// <param name="addressBits">Address bits it can put on the bus, 32 to 64.</param>
    /// <exception cref="DeviceException">It cannot be had; says why and what to do.</exception>
    public PciFunction Open(PciDevice device, int addressBits = 64)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentOutOfRangeException.ThrowIfLessThan(addressBits, 12);
        lock (_open)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            PciFunction function = OpenCore(device);
            _functions.Add(function);
            try
            {
                Attached(function, addressBits);
                return function;
            }
            catch
            {
                function.Dispose();
                throw;
            }
        }
    }

    /// <summary>A function is done with: the last one takes all mappings along. Called from its <c>Dispose</c>, once it
    /// does no more DMA.</summary>
    internal void Close(PciFunction function)
    {
        lock (_open)
        {
            if (!_functions.Remove(function))
                return;
            try
            {
                if (_functions.Count == 0)
                    UnmapAll();
            }
            finally
            {
                CloseCore(function);
            }
        }
    }

    /// <summary>Closes what is attached still, unmaps everything and closes. Any number of times.</summary>
    public void Dispose()
    {
        lock (_open)
        {
            if (_disposed)
                return;
            _disposed = true;
            try
            {
                DisposeAll(Functions);
            }
            finally
            {
                try
                {
                    UnmapAll();
                }
                finally
                {
                    DisposeCore();
                }
            }
        }
        GC.SuppressFinalize(this);
    }

    /// <summary>Disposes each, whatever the others do, then throws what the first that failed threw.</summary>
    internal static void DisposeAll(IEnumerable<IDisposable> all)
    {
        ExceptionDispatchInfo? first = null;
        foreach (IDisposable one in all)
            try
            {
                one.Dispose();
            }
            catch (Exception e)
            {
                first ??= ExceptionDispatchInfo.Capture(e);
            }
        first?.Throw();
    }

    /// <summary>Opens a function, and attaches it so that <see cref="MapCore"/> can map for it.</summary>
    /// <exception cref="DataplaneException">Nothing is kept.</exception>
    private protected abstract PciFunction OpenCore(PciDevice device);

    /// <summary>Detaches what <see cref="OpenCore"/> made and closes its descriptors.</summary>
    private protected abstract void CloseCore(PciFunction function);

    /// <summary>What can be mapped, with the devices attached now. Asked after every attach.</summary>
    private protected virtual DmaLimits ReadLimits() => DmaLimits.None;

    /// <summary>Makes a piece reachable, for reading and writing.</summary>
    /// <exception cref="DataplaneException">The kernel refuses; nothing is mapped.</exception>
    private protected abstract void MapCore(DmaPiece piece);

    /// <summary>Takes a piece away that <see cref="MapCore"/> mapped.</summary>
    /// <exception cref="DataplaneException">The kernel refuses.</exception>
    private protected abstract void UnmapCore(DmaPiece piece);

    /// <summary>Takes away all that is mapped in one go.</summary>
    /// <returns>False where the kernel cannot, or did not: then piece by piece.</returns>
    private protected virtual bool UnmapAllCore() => false;

    /// <summary>Has the kernel refuse devices that would leave less to map than these. None: no such promise.</summary>
    private protected virtual void KeepUsable(IReadOnlyList<IovaRange> ranges)
    {
    }

    /// <summary>Closes the container's own descriptors.</summary>
    private protected abstract void DisposeCore();
}
