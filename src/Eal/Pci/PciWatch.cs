using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>Follows the kernel's messages about PCI functions. Where some were lost, looks at the bus
/// instead.</summary>
internal sealed class PciWatch : IDisposable
{
    private readonly PciBus _bus;
    private readonly Action<PciChange> _onChange;
    private readonly SafeFileHandle _socket;
    private readonly IDisposable _registration;
    private readonly byte[] _message = new byte[8192];   // the kernel's are 2 KB and a path
    private readonly HashSet<PciAddress> _known;

    internal PciWatch(PciBus bus, Interrupts interrupts, Action<PciChange> onChange)
    {
        _bus = bus;
        _onChange = onChange;
        _socket = Netlink.OpenUevents();
        try
        {
            _known = Addresses();   // after the socket is open, so that nothing falls between
            _registration = interrupts.Register(_socket, OnReadable);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        _registration.Dispose();
        _socket.Dispose();
    }

    private HashSet<PciAddress> Addresses() => [.. _bus.Rescan().Select(device => device.Address)];

    private void OnReadable()
    {
        try
        {
            int length;
            while ((length = Netlink.Receive(_socket, _message, out bool isFromKernel)) > 0)
                if (isFromKernel && PciChange.TryParse(_message.AsSpan(0, length), out PciChange change))
                    Tell(change);
        }
        catch (NativeException e) when (e.Errno == Errno.ENOBUFS)
        {
            foreach (PciChange change in PciChange.Between(new HashSet<PciAddress>(_known), Addresses()))
                Tell(change);
        }
    }

    private void Tell(PciChange change)
    {
        // One that was there at the first look may be announced all the same.
        bool isNew = change.Kind switch
        {
            PciChangeKind.Added => _known.Add(change.Address),
            PciChangeKind.Removed => _known.Remove(change.Address),
            _ => true,
        };
        if (!isNew)
            return;
        _bus.Forget();
        _onChange(change);
    }
}
