using System.Buffers.Binary;
using System.Diagnostics;
using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// A function opened through VFIO, whichever way its descriptor was come by: a group's or a character device's.
/// Reset when opened and when closed.
/// </summary>
internal sealed partial class VfioPciFunction : PciFunction
{
    // PCI Local Bus 3.0 §6.2: identification, and the command register with its bits.
    private const int VendorId = 0x00, Command = 0x04, CommandIo = 1 << 0, CommandMemory = 1 << 1,
        CommandBusMaster = 1 << 2;
    private const int ResetRetryMs = 2000;

    private readonly SafeFileHandle _device;
    private readonly Interrupts _interrupts;
    private readonly Func<VfioPciFunction, bool>? _hotReset;
    private readonly ILogger? _log;
    private readonly vfio_region_info _config;
    private readonly uint _flags;
    private volatile bool _askedFor;   // by the kernel, on the control thread for interrupts
    private bool _disposed;

    /// <summary>Takes a function over: bus mastering off, reset, memory decoding on.</summary>
    /// <param name="device">What it is.</param>
    /// <param name="container">What it is attached to. It is told by <see cref="DmaContainer.Close"/> of the end, and
    /// closes <see cref="Fd"/> then.</param>
    /// <param name="fd">VFIO's descriptor of it; owned from here on, also when this throws.</param>
    /// <param name="interrupts">Where errors and requests are waited for.</param>
    /// <param name="log">For what fails on the way out; may be null.</param>
    /// <param name="hotReset">Resets it along with others, for one without a reset of its own; false when it must
    /// not.</param>
    /// <exception cref="DataplaneException">It is not there any more, or no PCI function.</exception>
    internal VfioPciFunction(PciDevice device, DmaContainer container, SafeFileHandle fd, Interrupts interrupts,
        ILogger? log, Func<VfioPciFunction, bool>? hotReset = null) : base(device, container)
    {
        _device = fd;
        _interrupts = interrupts;
        _log = log;
        _hotReset = hotReset;
        try
        {
            vfio_device_info info = Vfio.GetDeviceInfo(fd);
            if ((info.flags & Vfio.VFIO_DEVICE_FLAGS_PCI) == 0)
                throw new DeviceException($"{device} is no PCI device to VFIO", $"its flags are 0x{info.flags:x}");
            _flags = info.flags;
            _config = Vfio.GetRegionInfo(fd, Vfio.VFIO_PCI_CONFIG_REGION_INDEX).Fixed;
            if (!Answers)
                throw new DeviceException($"{device} does not answer", "its configuration space reads all ones",
                    $"see whether it is powered and seated; try: echo 1 | sudo tee {device.SysfsPath}/reset",
                    errno: Errno.EIO);
            SetBusMaster(false);
            if (!Reset())
                log?.LogWarning("{Device} cannot be reset: it starts as its last user left it", device);
            SetCommand(CommandBusMaster, CommandMemory | CommandIo);
            if (interrupts.OnlyKind is not InterruptKind.None and var only && MaxVectors(only) == 0)
                log?.LogWarning("{Device} has no interrupts of kind {Kind} (--vfio-intr): it will have none", device,
                    only);
            WatchLoss(Vfio.VFIO_PCI_REQ_IRQ_INDEX, PortLoss.Requested);
            WatchLoss(Vfio.VFIO_PCI_ERR_IRQ_INDEX, PortLoss.Error);
        }
        catch
        {
            _disposed = true;
            Release();
            _device.Dispose();
            throw;
        }
    }

    /// <summary>VFIO's descriptor. The container closes it when it is told of the end.</summary>
    internal SafeFileHandle Fd => _device;

    /// <inheritdoc/>
    public override void ReadConfig(int offset, Span<byte> bytes) =>
        Transfer(false, _config, (ulong)(uint)offset, bytes, "configuration space");

    /// <inheritdoc/>
    public override unsafe void WriteConfig(int offset, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* first = bytes)
            Transfer(true, _config, (ulong)(uint)offset, new(first, bytes.Length), "configuration space");
    }

    /// <inheritdoc/>
    public override void SetBusMaster(bool on) =>
        SetCommand(on ? 0 : CommandBusMaster, on ? CommandBusMaster : 0);

    /// <inheritdoc/>
    public override bool Reset()
    {
        if ((_flags & Vfio.VFIO_DEVICE_FLAGS_RESET) == 0)
            return _hotReset?.Invoke(this) ?? false;
        long start = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                Vfio.Reset(_device);
                return true;
            }
            catch (NativeException e) when (e.Errno == Errno.EINVAL)
            {
                return false;
            }
            // Somebody holds the device's lock in the kernel for a moment, e.g. by writing to its sysfs.
            catch (NativeException e) when (e.Errno == Errno.EAGAIN
                && Stopwatch.GetElapsedTime(start).TotalMilliseconds < ResetRetryMs)
            {
                Thread.Yield();
            }
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        Release();
        try
        {
            Container.Close(this);
        }
        finally
        {
            _device.Dispose();
        }
    }

    // Everything but the descriptor, and whatever was taken of it: each step goes on where another failed, as it does
    // on a device that is gone. Without DMA first, reset last.
    private void Release()
    {
        Quietly(static f => f.EndLossWatch());
        bool answers = false;
        Quietly(f => answers = f._config.size != 0 && f.Answers);
        if (answers)
            Quietly(static f => f.SetBusMaster(false));
        Quietly(static f => f.TurnOff());
        // Not one that is gone, for which the kernel would wait a minute; nor one it takes back just now, which it
        // holds for itself and resets when it is closed.
        if (answers && !_askedFor)
            Quietly(static f => f.Reset());
        UnmapBars();
    }

    private bool Answers
    {
        get
        {
            Span<byte> bytes = stackalloc byte[4];
            ReadConfig(VendorId, bytes);
            return BinaryPrimitives.ReadUInt32LittleEndian(bytes) != uint.MaxValue;
        }
    }

    private void SetCommand(int clear, int set)
    {
        Span<byte> bytes = stackalloc byte[2];
        ReadConfig(Command, bytes);
        int value = BinaryPrimitives.ReadUInt16LittleEndian(bytes);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, (ushort)(value & ~clear | set));
        WriteConfig(Command, bytes);
    }

    private unsafe void Transfer(bool write, vfio_region_info region, ulong offset, Span<byte> bytes, string what)
    {
        if (offset > region.size || (ulong)bytes.Length > region.size - offset)
            throw new DeviceException($"{Device} has no {bytes.Length} bytes at 0x{offset:x} of its {what}",
                $"there are 0x{region.size:x}", errno: Errno.EINVAL);
        fixed (byte* first = bytes)
            for (int done = 0; done < bytes.Length;)
            {
                long at = (long)(region.offset + offset) + done;
                nint count = write ? Unistd.pwrite(_device, first + done, (nuint)(bytes.Length - done), at)
                    : Unistd.pread(_device, first + done, (nuint)(bytes.Length - done), at);
                if (count <= 0)
                    throw NativeException.FromErrno($"{(write ? "writing" : "reading")} {what} of {Device} at "
                        + $"0x{offset + (ulong)done:x}", "it does not answer: removed, powered down or failed");
                done += (int)count;
            }
    }

    private void Quietly(Action<VfioPciFunction> step)
    {
        try
        {
            step(this);
        }
        catch (DataplaneException e)
        {
            _log?.LogWarning("closing {Device}: {Message}", Device, e.Message);
        }
    }
}
