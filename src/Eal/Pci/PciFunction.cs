using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>How a device signals.</summary>
public enum InterruptKind
{
    /// <summary>Not at all.</summary>
    None,
    /// <summary>By a pin, level-triggered: the kernel masks it each time until it is unmasked.</summary>
    IntX,
    /// <summary>By message, a few vectors.</summary>
    Msi,
    /// <summary>By message, a table of vectors.</summary>
    MsiX,
}

/// <summary>
/// A PCI function opened for a driver: its configuration space, BARs, interrupts and reset. Its DMA goes through
/// <see cref="Container"/>. Control path, one thread at a time; owned by the port made on it.
/// </summary>
public abstract partial class PciFunction : IDisposable
{
    private long _faults;

    /// <summary>For backends.</summary>
    protected PciFunction(PciDevice device, DmaContainer container)
    {
        Device = device;
        Container = container;
    }

    /// <summary>What it is.</summary>
    public PciDevice Device { get; }

    /// <summary>The I/O address space it is attached to.</summary>
    public DmaContainer Container { get; }

    /// <summary>Reads configuration space.</summary>
    /// <param name="offset">Bytes from its start, 0 to 4095.</param>
    /// <param name="bytes">Filled; little-endian.</param>
    /// <exception cref="DataplaneException">The function does not answer, or has no such bytes.</exception>
    public abstract void ReadConfig(int offset, Span<byte> bytes);

    /// <summary>Writes configuration space; the kernel keeps some of it to itself.</summary>
    /// <param name="offset">Bytes from its start, 0 to 4095.</param>
    /// <param name="bytes">Little-endian.</param>
    /// <exception cref="DataplaneException">The function does not answer, or has no such bytes.</exception>
    public abstract void WriteConfig(int offset, ReadOnlySpan<byte> bytes);

    /// <summary>Bytes in a BAR, 0 where there is none.</summary>
    /// <param name="bar">0 to 5.</param>
    public abstract ulong BarSizeBytes(int bar);

    /// <summary>A memory BAR, mapped; mapped once, unmapped on dispose.</summary>
    /// <param name="bar">0 to 5.</param>
    /// <exception cref="DeviceException">There is none, it is an I/O BAR, or it cannot be mapped.</exception>
    public abstract Mmio MapBar(int bar);

    /// <summary>Reads a BAR by system call: I/O BARs, and parts that cannot be mapped.</summary>
    public abstract void ReadBar(int bar, ulong offset, Span<byte> bytes);

    /// <summary>Writes a BAR by system call: I/O BARs, and parts that cannot be mapped.</summary>
    public abstract void WriteBar(int bar, ulong offset, ReadOnlySpan<byte> bytes);

    /// <summary>Whether the function may read and write memory. Off when opened.</summary>
    public abstract void SetBusMaster(bool on);

    /// <summary>Function-level reset where the function can do it.</summary>
    /// <returns>False where it has no way to be reset alone.</returns>
    public abstract bool Reset();

    /// <summary>Most vectors of a kind, 0 where it has none, or may not use it (<c>--vfio-intr</c>).</summary>
    public abstract int MaxVectors(InterruptKind kind);

    /// <summary>Turns interrupts on: one eventfd per vector. Those on before are turned off first.</summary>
    /// <param name="kind">By pin or message; <see cref="InterruptKind.None"/> turns them off.</param>
    /// <param name="vectors">1 to <see cref="MaxVectors"/>.</param>
    /// <exception cref="DataplaneException">No such kind or count, or the kernel refuses.</exception>
    public abstract void SetInterrupts(InterruptKind kind, int vectors);

    /// <summary>The eventfd of a vector that is on; owned by this object.</summary>
    public abstract SafeFileHandle Vector(int index);

    /// <summary>Lets a pin's interrupt, which the kernel masked when it came, come again.</summary>
    public abstract void UnmaskIntX();

    /// <summary>Raised on the control thread for interrupts when the device is asked for back (hot-unplug) or has
    /// failed. The kernel asks again every 10 s until it has it.</summary>
    public event Action<PciFunction, PortLoss>? Lost;

    /// <summary>For backends.</summary>
    protected void RaiseLost(PortLoss why) => Lost?.Invoke(this, why);

    /// <summary>DMA of it that the IOMMU stopped: see <see cref="DmaContainer.Faults"/>. Any thread.</summary>
    public long Faults => Volatile.Read(ref _faults);

    internal void CountFault()
    {
        Interlocked.Increment(ref _faults);
        Container.CountFault();
    }

    /// <summary>Stops DMA, turns interrupts off, resets, detaches and closes. Any number of times.</summary>
    public abstract void Dispose();
}

/// <summary>Why a device is lost.</summary>
public enum PortLoss
{
    /// <summary>The kernel wants it back: unplugged, or unbound by somebody (VFIO's request interrupt).</summary>
    Requested,
    /// <summary>It reported an unrecoverable error (VFIO's error interrupt).</summary>
    Error,
}
