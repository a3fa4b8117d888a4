using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// A device that is another process: a vhost-user front end. It may come and go while the port is started: the rings
/// stay, and go on where the one before left them. vhost-user.rst.
/// </summary>
/// <remarks>The lock orders the port's control path, its watch and growing memory; the data path only
/// notifies.</remarks>
internal sealed unsafe partial class VhostUserTransport : VirtioTransport, IMemsegWatcher
{
    /// <summary>What the device is taken for until one is there.</summary>
    private static readonly ulong s_usual = VirtioFeatures.Of(VirtioConfig.VIRTIO_F_VERSION_1,
        VirtioConfig.VIRTIO_F_RING_PACKED, VirtioConfig.VIRTIO_F_IN_ORDER, VirtioRing.VIRTIO_RING_F_INDIRECT_DESC,
        VirtioRing.VIRTIO_RING_F_EVENT_IDX, VirtioNet.VIRTIO_NET_F_MRG_RXBUF, VirtioNet.VIRTIO_NET_F_CSUM,
        VirtioNet.VIRTIO_NET_F_GUEST_CSUM, VirtioNet.VIRTIO_NET_F_MQ);

    /// <summary>What of a back end's offers we use.</summary>
    private static readonly ulong s_used = s_usual | VirtioFeatures.Of(VirtioNet.VIRTIO_NET_F_GUEST_TSO4,
        VirtioNet.VIRTIO_NET_F_GUEST_TSO6, VirtioNet.VIRTIO_NET_F_GUEST_ECN, VirtioNet.VIRTIO_NET_F_HOST_TSO4,
        VirtioNet.VIRTIO_NET_F_HOST_TSO6, VirtioNet.VIRTIO_NET_F_HOST_ECN, VirtioNet.VIRTIO_NET_F_HOST_USO);

    /// <summary>What is between the port and us alone.</summary>
    private static readonly ulong s_own = VirtioFeatures.Of(VirtioNet.VIRTIO_NET_F_MAC, VirtioNet.VIRTIO_NET_F_STATUS);

    private readonly Lock _gate = new();
    private readonly VirtioUserOptions _options;
    private readonly Eal _eal;
    private readonly Memory _memory;
    private readonly string _name;
    private readonly ILogger _log;
    private readonly Virtqueue?[] _queues;
    private readonly int[] _vectors;
    private readonly SafeFileHandle[] _kicks, _calls;   // calls of queues without an interrupt: nobody listens
    private readonly SafeFileHandle _changed;
    private ulong _features;
    private byte _status;
    private bool _disposed;

    internal VhostUserTransport(PortContext context, VirtioUserOptions options)
    {
        _options = options;
        _eal = context.Eal;
        _memory = context.Eal.Memory;
        _name = context.Args.Name;
        _backEndPairs = options.Queues;
        _log = context.Eal.Log.CreateLogger("pmd.net.virtio_user");
        int count = 2 * options.Queues;
        _queues = new Virtqueue?[count];
        _vectors = new int[count];
        _kicks = new SafeFileHandle[count];
        _calls = new SafeFileHandle[count];
        for (int i = 0; i < count; i++)
        {
            (_kicks[i], _calls[i]) = (Eventfd.Create(), Eventfd.Create());
            Eventfd.Signal(_kicks[i]);   // the first call takes managed memory: not on the lcore
        }
        _changed = Eventfd.Create();
        if (options.Server)
            _listener = UnixSocket.ListenFor(_name, options.Path, Socket.SOCK_STREAM);
        _memory.Watch(this);
        lock (_gate)
            Meet();
    }

    /// <inheritdoc/>
    internal override DmaAddressing Addressing => new(0);

    /// <inheritdoc/>
    internal override bool NeedsAccessPlatform => false;

    /// <inheritdoc/>
    /// <remarks>Ours and DPDK's do not; one that does costs a line more.</remarks>
    internal override bool LeavesHeaders => true;

    /// <inheritdoc/>
    internal override ulong ToIova(void* pointer) => (ulong)pointer;

    /// <inheritdoc/>
    internal override byte Status
    {
        get => (byte)(_status | (Volatile.Read(ref _unfit) ? VirtioConfig.VIRTIO_CONFIG_S_NEEDS_RESET : 0));
        set
        {
            lock (_gate)
            {
                bool starts = (value & ~_status & VirtioConfig.VIRTIO_CONFIG_S_DRIVER_OK) != 0;
                _status = (byte)(value & ~VirtioConfig.VIRTIO_CONFIG_S_NEEDS_RESET);
                if (starts && _channel != null)
                    Try(SetUp);
            }
        }
    }

    private bool IsRunning => (_status & VirtioConfig.VIRTIO_CONFIG_S_DRIVER_OK) != 0;

    /// <inheritdoc/>
    internal override int ConfigBytes => sizeof(virtio_net_config);

    /// <inheritdoc/>
    internal override int QueueCount => _queues.Length;

    /// <inheritdoc/>
    internal override int MaxVectors => 1 + _options.Queues;

    /// <inheritdoc/>
    internal override void Reset()
    {
        lock (_gate)
        {
            if (IsRunning && _channel != null)
                Try(StopRings);
            _status = 0;
            _unfit = false;
            Array.Clear(_queues);
            CloseInflight();
            Meet();
        }
    }

    /// <inheritdoc/>
    internal override ulong ReadFeatures()
    {
        lock (_gate)
        {
            ulong offered = _channel == null ? s_usual : _offered & s_used;
            if (!_options.Merge)
                offered &= ~VirtioFeatures.Of(VirtioNet.VIRTIO_NET_F_MRG_RXBUF);
            return offered | s_own;
        }
    }

    /// <inheritdoc/>
    internal override void WriteFeatures(ulong features) => _features = features & ~s_own;

    /// <inheritdoc/>
    /// <remarks>Without the lock: whoever holds it may wait for a back end that this thread serves.</remarks>
    internal override void ReadConfig(int offset, Span<byte> bytes)
    {
        virtio_net_config config = default;
        _options.Mac.Write(new Span<byte>(config.mac, 6));
        config.status = Volatile.Read(ref _isSetUp) ? VirtioNet.VIRTIO_NET_S_LINK_UP : (ushort)0;
        config.max_virtqueue_pairs = (ushort)Volatile.Read(ref _backEndPairs);
        new ReadOnlySpan<byte>(&config, sizeof(virtio_net_config)).Slice(offset, bytes.Length).CopyTo(bytes);
    }

    /// <inheritdoc/>
    internal override int MaxQueueSize(int index) => index < _queues.Length ? _options.QueueSize : 0;

    /// <inheritdoc/>
    internal override void EnableQueue(Virtqueue queue, int vector)
    {
        lock (_gate)
        {
            _queues[queue.Index] = queue;
            _vectors[queue.Index] = vector;
        }
    }

    /// <inheritdoc/>
    internal override void Notify(Virtqueue queue) => Eventfd.Signal(_kicks[queue.Index]);

    /// <inheritdoc/>
    internal override void SetInterrupts(int vectors) { }

    /// <inheritdoc/>
    internal override void SetConfigVector(int vector) { }

    /// <inheritdoc/>
    /// <remarks>0 tells of the link, the others are those of receive queues.</remarks>
    internal override SafeFileHandle Vector(int vector) => vector == 0 ? _changed : _calls[2 * (vector - 1)];

    /// <inheritdoc/>
    internal override void AcknowledgeConfig() { }

    /// <inheritdoc/>
    /// <remarks>All ports' alarms wait for this thread, so it waits for nobody: a back end that takes its time, or
    /// never answers, is greeted on another.</remarks>
    internal override void Watch()
    {
        if (!_gate.TryEnter())
            return;
        try
        {
            if (!_disposed && TryReach() is { } socket)
                _eal.StartControlThread("dp-vhost-greet", () =>
                {
                    lock (_gate)
                        Take(socket);
                });
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public void MemsegAdded(Memseg memseg)
    {
        lock (_gate)
        {
            Seal(memseg.Fd);
            _segments.Add(memseg);
            if (_isSetUp)
                Try(SendMemory);
        }
    }

    /// <inheritdoc/>
    public void MemsegRemoved(Memseg memseg)
    {
        lock (_gate)
            _segments.Remove(memseg);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        if (_disposed)
            return;
        if (!_memory.IsDisposed)
            _memory.Unwatch(this);
        lock (_gate)
        {
            _disposed = true;
            _channel?.Dispose();
            _channel = null;
            _listener?.Dispose();
            CloseInflight();
        }
        foreach (SafeFileHandle file in (SafeFileHandle[])[.. _kicks, .. _calls, _changed])
            file.Dispose();
    }

    /// <summary>Nobody who has the file can make it shorter under us.</summary>
    private static void Seal(int fd)
    {
        using var file = new SafeFileHandle(fd, ownsHandle: false);
        _ = Fcntl.fcntl(file, Fcntl.F_ADD_SEALS, Fcntl.F_SEAL_SHRINK | Fcntl.F_SEAL_SEAL);
    }
}
