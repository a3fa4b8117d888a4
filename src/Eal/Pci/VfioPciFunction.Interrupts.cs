using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

internal sealed partial class VfioPciFunction
{
    private readonly List<(uint Index, SafeFileHandle Fd, IDisposable Registration)> _lossWatch = [];
    private SafeFileHandle[] _vectors = [];
    private InterruptKind _kind;

    /// <inheritdoc/>
    /// <remarks>None of the kinds that <c>--vfio-intr</c> leaves out.</remarks>
    public override int MaxVectors(InterruptKind kind) =>
        kind == InterruptKind.None || _interrupts.OnlyKind is not InterruptKind.None and var only && kind != only ? 0
        : (int)CountOf(IndexOf(kind));

    /// <inheritdoc/>
    public override void SetInterrupts(InterruptKind kind, int vectors)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        TurnOff();
        if (kind == InterruptKind.None)
            return;
        if (vectors < 1 || vectors > MaxVectors(kind))
            throw new DeviceException($"{Device} cannot have {vectors} interrupts of kind {kind}",
                $"it has {MaxVectors(InterruptKind.IntX)} by pin, {MaxVectors(InterruptKind.Msi)} by MSI, "
                + $"{MaxVectors(InterruptKind.MsiX)} by MSI-X", errno: Errno.EINVAL);
        var fds = new SafeFileHandle[vectors];
        try
        {
            for (int i = 0; i < vectors; i++)
                fds[i] = Eventfd.Create();
            int possible = Vfio.SetIrqs(_device, IndexOf(kind), fds);
            if (possible > 0)
                throw new DeviceException($"{Device} cannot have {vectors} interrupts of kind {kind}",
                    $"the machine has {possible} to give", "use fewer queues", errno: Errno.ENOSPC);
        }
        catch (Exception e)
        {
            Dispose(fds);
            if (e is NativeException { Errno: Errno.EBUSY } && kind == InterruptKind.IntX)
                throw new DeviceException($"{Device} cannot have its pin interrupt",
                    "another device shares the line, and this one cannot keep quiet on it",
                    "use MSI or MSI-X, or none", errno: Errno.EBUSY);
            throw;
        }
        (_kind, _vectors) = (kind, fds);
    }

    /// <inheritdoc/>
    public override SafeFileHandle Vector(int index) => _vectors[index];

    /// <inheritdoc/>
    public override void UnmaskIntX() => IntX(Vfio.VFIO_IRQ_SET_ACTION_UNMASK);

    /// <summary>Holds a pin's interrupt back until <see cref="UnmaskIntX"/>.</summary>
    internal void MaskIntX() => IntX(Vfio.VFIO_IRQ_SET_ACTION_MASK);

    /// <summary>Signals a vector as if the device had: the kernel's loopback, for tests.</summary>
    internal void Trigger(int index) =>
        Vfio.SetIrqs(_device, IndexOf(_kind), Vfio.VFIO_IRQ_SET_ACTION_TRIGGER, (uint)index, 1);

    private void IntX(uint action)
    {
        if (_kind == InterruptKind.IntX)
            Vfio.SetIrqs(_device, Vfio.VFIO_PCI_INTX_IRQ_INDEX, action, 0, 1);
    }

    private void TurnOff()
    {
        if (_kind == InterruptKind.None)
            return;
        try
        {
            Vfio.SetIrqs(_device, IndexOf(_kind), Vfio.VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0);
        }
        finally
        {
            Dispose(_vectors);
            (_kind, _vectors) = (InterruptKind.None, []);
        }
    }

    private void WatchLoss(uint index, PortLoss why)
    {
        if (CountOf(index) == 0)
            return;
        SafeFileHandle fd = Eventfd.Create();
        IDisposable? registration = null;
        try
        {
            // The kernel asks every 10 s until it has the device. Each is told: the first may come before anybody
            // listens.
            registration = _interrupts.Register(fd, () =>
            {
                Eventfd.Drain(fd);
                _askedFor |= why == PortLoss.Requested;
                RaiseLost(why);
            });
            Vfio.SetIrqs(_device, index, [fd]);
        }
        catch
        {
            registration?.Dispose();
            fd.Dispose();
            throw;
        }
        _lossWatch.Add((index, fd, registration));
    }

    private void EndLossWatch()
    {
        foreach ((uint index, SafeFileHandle fd, IDisposable registration) in _lossWatch)
        {
            registration.Dispose();
            Quietly(f => Vfio.SetIrqs(f._device, index, Vfio.VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0));
            fd.Dispose();
        }
        _lossWatch.Clear();
    }

    private uint CountOf(uint index)
    {
        try
        {
            return Vfio.GetIrqInfo(_device, index).count;
        }
        catch (NativeException e) when (e.Errno == Errno.EINVAL)
        {
            return 0;
        }
    }

    private static uint IndexOf(InterruptKind kind) => kind switch
    {
        InterruptKind.IntX => Vfio.VFIO_PCI_INTX_IRQ_INDEX,
        InterruptKind.Msi => Vfio.VFIO_PCI_MSI_IRQ_INDEX,
        InterruptKind.MsiX => Vfio.VFIO_PCI_MSIX_IRQ_INDEX,
        _ => throw new ArgumentOutOfRangeException(nameof(kind)),
    };

    private static void Dispose(SafeFileHandle?[] fds)
    {
        foreach (SafeFileHandle? fd in fds)
            fd?.Dispose();
    }
}
