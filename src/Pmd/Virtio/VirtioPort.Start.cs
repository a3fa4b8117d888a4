using Dataplane.Native;
using Microsoft.Extensions.Logging;

namespace Dataplane.Pmd;

/// <summary>Start, stop, and what watches over the device between them.</summary>
internal sealed unsafe partial class VirtioPort
{
    private const int MaxControlDescriptors = 64;
    private static readonly TimeSpan s_watchEvery = TimeSpan.FromMilliseconds(100);

    private readonly Lock _watchLock = new();
    private VirtioControlQueue? _control;
    private Memzone? _controlZone;
    private IDisposable? _linkInterrupt;
    private Alarm? _watch;
    private bool _rxVectors, _running, _brokenTold, _linkUp;

    /// <inheritdoc/>
    /// <remarks>§3.1.1. A device that was stopped was reset, so all of it is done every time.</remarks>
    protected override void OnStart()
    {
        try
        {
            _device.Begin();
            _device.Negotiate(WantedFeatures());
            OpenInterrupts();
            OpenQueues();
            _device.Run();
            ApplySettings();
            // Last, since queues beyond the first are on from ApplySteering on: a frame that QEMU had for one before
            // waits for the queue's next notification, and all frames behind it.
            foreach (RxQueue queue in RxQueues)
                ((VirtioRxQueue)queue).Announce();
            StartWatch();
        }
        catch
        {
            UndoStart();
            throw;
        }
    }

    /// <inheritdoc/>
    protected override void OnStarted()
    {
        if (_linkUp)
            Raise(PortEvent.LinkChanged);
    }

    /// <inheritdoc/>
    protected override void OnStop()
    {
        try
        {
            StopDevice();
        }
        catch (DeviceException e)
        {
            CutOff();       // its queues' memory is given back next
            LogGone(_log, Name, e.Why ?? e.What);
        }
    }

    private ulong WantedFeatures()
    {
        RxOffloads rx = Config.RxOffloads;
        ulong wanted = VirtioFeatures.Of(VirtioConfig.VIRTIO_F_VERSION_1, VirtioConfig.VIRTIO_F_ACCESS_PLATFORM,
            VirtioConfig.VIRTIO_F_ORDER_PLATFORM, VirtioConfig.VIRTIO_F_NOTIFICATION_DATA,
            VirtioNet.VIRTIO_NET_F_MAC, VirtioNet.VIRTIO_NET_F_STATUS, VirtioNet.VIRTIO_NET_F_SPEED_DUPLEX);
        void Add(bool when, params ReadOnlySpan<int> bits) => wanted |= when ? VirtioFeatures.Of(bits) : 0;
        Add(_options.Packed, VirtioConfig.VIRTIO_F_RING_PACKED);
        Add(_options.InOrder, VirtioConfig.VIRTIO_F_IN_ORDER);
        Add(_options.EventIndex, VirtioRing.VIRTIO_RING_F_EVENT_IDX);
        Add(_options.Indirect, VirtioRing.VIRTIO_RING_F_INDIRECT_DESC);
        Add(_device.Config.mtu >= 68, VirtioNet.VIRTIO_NET_F_MTU);
        Add(_device.Offers(VirtioNet.VIRTIO_NET_F_CTRL_VQ), VirtioNet.VIRTIO_NET_F_CTRL_VQ,
            VirtioNet.VIRTIO_NET_F_CTRL_RX, VirtioNet.VIRTIO_NET_F_CTRL_MAC_ADDR, VirtioNet.VIRTIO_NET_F_MQ,
            VirtioNet.VIRTIO_NET_F_RSS);
        // What makes packets dearer is taken only where it was asked for: without these no header is read, here in
        // receiving, at the device in what is sent.
        TxOffloads tx = Config.TxOffloads, cut = tx & (TxOffloads.TcpTso | TxOffloads.UdpTso);
        Add(cut != 0 || (tx & (TxOffloads.UdpChecksum | TxOffloads.TcpChecksum)) != 0, VirtioNet.VIRTIO_NET_F_CSUM);
        Add((cut & TxOffloads.TcpTso) != 0, VirtioNet.VIRTIO_NET_F_HOST_TSO4, VirtioNet.VIRTIO_NET_F_HOST_TSO6,
            VirtioNet.VIRTIO_NET_F_HOST_ECN);
        Add((cut & TxOffloads.UdpTso) != 0, VirtioNet.VIRTIO_NET_F_HOST_USO);
        bool lro = (rx & RxOffloads.TcpLro) != 0;
        Add((rx & RxOffloads.VlanFilter) != 0, VirtioNet.VIRTIO_NET_F_CTRL_VLAN);
        Add((rx & RxOffloads.RssHash) != 0, VirtioNet.VIRTIO_NET_F_HASH_REPORT);
        Add(lro || (rx & RxOffloads.Scatter) != 0, VirtioNet.VIRTIO_NET_F_MRG_RXBUF);
        Add(lro || (rx & (RxOffloads.UdpChecksum | RxOffloads.TcpChecksum)) != 0, VirtioNet.VIRTIO_NET_F_GUEST_CSUM);
        Add(lro, VirtioNet.VIRTIO_NET_F_GUEST_TSO4, VirtioNet.VIRTIO_NET_F_GUEST_TSO6,
            VirtioNet.VIRTIO_NET_F_GUEST_ECN);
        return wanted;
    }

    private void OpenInterrupts()
    {
        _rxVectors = Config.RxInterrupts;
        bool link = _device.Has(VirtioNet.VIRTIO_NET_F_STATUS);
        int vectors = _rxVectors ? 1 + RxQueues.Count : link ? 1 : 0;
        _device.Transport.SetInterrupts(Math.Min(vectors, _device.Transport.MaxVectors));
        if (vectors == 0 || _device.Transport.MaxVectors == 0)
            return;
        _device.Transport.SetConfigVector(0);
        _linkInterrupt = Eal.Interrupts.Register(_device.Transport.Vector(0), OnConfigInterrupt);
    }

    private void OpenQueues()
    {
        foreach (RxQueue queue in RxQueues)
            Enable(((VirtioRxQueue)queue).Open(_device, Mtu), _rxVectors ? queue.Index + 1 : -1);
        foreach (TxQueue queue in TxQueues)
            Enable(((VirtioTxQueue)queue).Open(_device), -1);
        if (!_device.Has(VirtioNet.VIRTIO_NET_F_CTRL_VQ))
            return;
        int size = Math.Min(MaxControlDescriptors, _device.Transport.MaxQueueSize(_device.ControlQueueIndex));
        if (size < 2)
            throw new DeviceException($"port {Name}: the device has no control queue",
                why: $"it offers VIRTIO_NET_F_CTRL_VQ, but virtqueue {_device.ControlQueueIndex} has room for {size}");
        var layout = new VirtqueueLayout(Packed: false, 1 << int.Log2(size), IndirectParts: 2);
        _controlZone ??= Reserve("ctrl", layout.Bytes + VirtioControlQueue.BufferBytes);
        layout = layout with { Packed = IsPacked };
        Virtqueue control = CreateVirtqueue(_device.ControlQueueIndex, layout, _controlZone);
        _control = new VirtioControlQueue(Name, _device.Transport, control, (byte*)_controlZone.Address + layout.Bytes,
            control.MemoryIova + layout.Bytes);
        Enable(control, -1);
    }

    /// <summary>Receive queues are filled already, so publishing comes first: the device sees them when it
    /// runs.</summary>
    private void Enable(Virtqueue queue, int vector)
    {
        queue.Publish();
        _device.Transport.EnableQueue(queue, vector);
    }

    private void StopDevice()
    {
        lock (_watchLock)
            _running = false;
        _watch?.Cancel();
        _linkInterrupt?.Dispose();
        (_watch, _linkInterrupt) = (null, null);
        try
        {
            _device.Begin();
            _device.Transport.SetInterrupts(0);
        }
        finally
        {
            _control?.Queue.Dispose();
            _control = null;
            if (_controlZone != null)
                Eal.Memory.FreeMemzone(_controlZone);
            _controlZone = null;
            _rxVectors = false;
        }
    }

    private void StartWatch()
    {
        (_brokenTold, _linkUp) = (false, _device.IsLinkUp);
        lock (_watchLock)
        {
            _running = true;
            _watch = Eal.Alarms.Set(s_watchEvery, Watch);
        }
    }

    /// <summary>Looks at what nobody tells us of: a queue that was marked broken, a device that needs a reset, and the
    /// link where there is no interrupt for it. On the alarms' thread.</summary>
    private void Watch()
    {
        // Not under the lock: it may wait for a back end that the interrupts' thread serves, which may wait for the
        // lock.
        if (Volatile.Read(ref _running))
            _device.Transport.Watch();
        lock (_watchLock)
        {
            if (!_running)
                return;
            Look();
            if (_running)   // a handler of an event may have stopped the port
                _watch = Eal.Alarms.Set(s_watchEvery, Watch);
        }
    }

    private void Look()
    {
        bool linkUp = _device.IsLinkUp;
        if (linkUp != _linkUp)
        {
            _linkUp = linkUp;
            Raise(PortEvent.LinkChanged);
        }
        if (_brokenTold || FindFault() is not { } fault)
            return;
        _brokenTold = true;
        LogBroken(_log, Name, fault);
        Raise(PortEvent.ResetNeeded);
    }

    private string? FindFault()
    {
        foreach (RxQueue queue in RxQueues)
            if (((VirtioRxQueue)queue).Queue is { Fault: not VirtqueueFault.None } broken)
                return $"receive queue {queue.Index}: {Describe(broken.Fault)}";
        foreach (TxQueue queue in TxQueues)
            if (((VirtioTxQueue)queue).Queue is { Fault: not VirtqueueFault.None } broken)
                return $"transmit queue {queue.Index}: {Describe(broken.Fault)}";
        return _device.NeedsReset ? "it asks for a reset (DEVICE_NEEDS_RESET)" : null;
    }

    private static string Describe(VirtqueueFault fault) => fault switch
    {
        VirtqueueFault.UsedIndex => "it gave back more buffers than it had",
        VirtqueueFault.BadId => "it named a buffer outside the queue",
        VirtqueueFault.NotInFlight => "it gave back a buffer it did not have",
        VirtqueueFault.Overrun => "it wrote more than a buffer holds",
        VirtqueueFault.MergedTooMany => "it merged more buffers than the queue has",
        _ => "nothing",
    };

    private void OnConfigInterrupt()
    {
        _ = Eventfd.Drain(_device.Transport.Vector(0));
        _device.Transport.AcknowledgeConfig();
        lock (_watchLock)
            if (_running)
                Look();
    }

    [LoggerMessage(LogLevel.Error, "port {Port}: the device broke the rules of virtio: {Fault}; the queue moves "
        + "nothing any more. Stop the port and start it again; if it happens again, the device or its hypervisor is "
        + "at fault")]
    private static partial void LogBroken(ILogger logger, string port, string fault);

    [LoggerMessage(LogLevel.Warning, "port {Port}: its device could not be stopped: {Why}")]
    private static partial void LogGone(ILogger logger, string port, string why);
}
