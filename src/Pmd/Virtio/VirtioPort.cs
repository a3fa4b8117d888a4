using Dataplane.Native;
using Dataplane.Net;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>The <c>net_virtio</c> driver: virtio network devices on PCI.</summary>
public sealed class VirtioPmd : PciPortDriver
{
    private const ushort Vendor = 0x1af4, Modern = 0x1041, Transitional = 0x1000;

    /// <inheritdoc/>
    public override string Name => "net_virtio";

    /// <inheritdoc/>
    public override string Help => VirtioOptions.Help;

    /// <inheritdoc/>
    public override IReadOnlyList<PciId> Ids { get; } = [new(Vendor, Modern), new(Vendor, Transitional)];

    /// <inheritdoc/>
    public override Port Create(PortContext context)
    {
        VirtioOptions options = VirtioOptions.Parse(context.Args);
        if (context.Function is not { } function)
            throw new ConfigException($"device '{context.Args.Name}' cannot be made with --vdev",
                why: "net_virtio drives PCI functions", fix: "bind the function to vfio-pci; --allow picks it");
        return new VirtioPort(context, options, new VirtioPciTransport(function), function.Device);
    }
}

/// <summary>The arguments of a virtio port: what not to use even where the device offers it.</summary>
internal sealed record VirtioOptions(bool Packed, bool InOrder, bool EventIndex, bool Indirect, uint SpeedMbps)
{
    internal const string Help = "packed=0|1 in_order=0|1 event_idx=0|1 indirect=0|1 (all 1) use it where the device "
        + "offers it; speed=MBIT/S to report where the device does not say";

    internal static VirtioOptions Parse(DevArgs args)
    {
        var options = new VirtioOptions(args.GetFlag("packed", true), args.GetFlag("in_order", true),
            args.GetFlag("event_idx", true), args.GetFlag("indirect", true),
            (uint)args.GetNumber("speed", 0, 0, int.MaxValue));
        args.ThrowIfUnused();
        return options;
    }
}

/// <summary>A virtio network device, by whatever transport. VIRTIO 1.2 §5.1.</summary>
internal sealed unsafe partial class VirtioPort : Port
{
    private const int HeaderBytesPlain = 12, HeaderBytesHash = 20, RssKeyBytes = 40, MostRedirections = 4096;
    private const int DeviceMaxDescriptors = 32768;

    private readonly VirtioOptions _options;
    private readonly VirtioDevice _device;
    private readonly ILogger _log;

    /// <summary>Takes the device over, also when it throws no longer.</summary>
    /// <exception cref="DeviceException">It cannot be used; the transport is then still the caller's.</exception>
    internal VirtioPort(PortContext context, VirtioOptions options, VirtioTransport transport, PciDevice? pci = null,
        string driverName = "net_virtio") : base(context)
    {
        _options = options;
        _log = context.Eal.Log.CreateLogger("pmd.net.virtio");
        _device = new VirtioDevice(Name, transport);
        Info = MakeInfo(pci, driverName);
        Mtu = Math.Min(Mtu, Info.MaxMtu);
        if (context.Function != null)
            context.Function.Lost += OnLost;
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    /// <summary>The packed layout was agreed on.</summary>
    internal bool IsPacked => _device.Has(VirtioConfig.VIRTIO_F_RING_PACKED);

    private PortInfo MakeInfo(PciDevice? pci, string driverName)
    {
        VirtioDevice device = _device;
        int descriptors = QueueLimit();
        bool control = device.Offers(VirtioNet.VIRTIO_NET_F_CTRL_VQ);
        bool checksum = device.Offers(VirtioNet.VIRTIO_NET_F_CSUM);
        bool guest = device.Offers(VirtioNet.VIRTIO_NET_F_GUEST_CSUM);
        bool merge = device.Offers(VirtioNet.VIRTIO_NET_F_MRG_RXBUF);
        bool lro = merge && guest && device.Offers(VirtioNet.VIRTIO_NET_F_GUEST_TSO4)
            && device.Offers(VirtioNet.VIRTIO_NET_F_GUEST_TSO6);
        bool tso = checksum && device.Offers(VirtioNet.VIRTIO_NET_F_HOST_TSO4)
            && device.Offers(VirtioNet.VIRTIO_NET_F_HOST_TSO6);
        RssFields fields = control ? VirtioRss.FieldsOf(device.Config.supported_hash_types) : RssFields.None;
        bool rss = fields != RssFields.None && device.Offers(VirtioNet.VIRTIO_NET_F_RSS);
        bool hash = fields != RssFields.None && device.Offers(VirtioNet.VIRTIO_NET_F_HASH_REPORT);
        return new PortInfo
        {
            DriverName = driverName,
            Pci = pci,
            NumaNode = pci?.NumaNode ?? 0,
            MaxRxQueues = device.MaxPairs,
            MaxTxQueues = device.MaxPairs,
            RxOffloads = RxOffloads.VlanStrip | (merge ? RxOffloads.Scatter : 0) | (lro ? RxOffloads.TcpLro : 0)
                | (guest ? RxOffloads.UdpChecksum | RxOffloads.TcpChecksum : 0) | (hash ? RxOffloads.RssHash : 0)
                | (control && device.Offers(VirtioNet.VIRTIO_NET_F_CTRL_VLAN) ? RxOffloads.VlanFilter : 0),
            RxQueueOffloads = RxOffloads.VlanStrip,
            TxOffloads = TxOffloads.MultiSegments | TxOffloads.VlanInsert | TxOffloads.FastFree
                | (checksum ? TxOffloads.Ipv4Checksum | TxOffloads.UdpChecksum | TxOffloads.TcpChecksum : 0)
                | (tso ? TxOffloads.TcpTso : 0)
                | (checksum && device.Offers(VirtioNet.VIRTIO_NET_F_HOST_USO) ? TxOffloads.UdpTso : 0),
            MaxMtu = MaxMtu(),
            MinDescriptors = Math.Min(32, descriptors),
            MaxDescriptors = descriptors,
            DefaultDescriptors = Math.Min(512, descriptors),
            PowerOfTwoDescriptors = true,
            MaxMacAddresses = control && device.Offers(VirtioNet.VIRTIO_NET_F_CTRL_RX) ? 64 : 1,
            RssFields = rss ? fields : RssFields.None,
            RssKeyBytes = rss ? RssKeyBytes : 0,
            RedirectionEntries = rss ? RedirectionEntries() : 0,
            RxInterrupts = device.Transport.MaxVectors > device.MaxPairs,
            LinkInterrupts = device.Offers(VirtioNet.VIRTIO_NET_F_STATUS),
            MacAddress = FirstAddress(),
        };
    }

    /// <summary>Descriptors that every queue of data can have: a power of two.</summary>
    private int QueueLimit()
    {
        int least = DeviceMaxDescriptors;
        for (int i = 0; i < 2 * _device.MaxPairs; i++)
            least = Math.Min(least, _device.Transport.MaxQueueSize(i));
        if (least < 2)
            throw new DeviceException($"port {Name}: the device has no queues that can be used",
                why: $"one of its first {2 * _device.MaxPairs} virtqueues has room for {least} descriptors");
        return 1 << int.Log2(least);
    }

    private int MaxMtu()
    {
        // §5.1.4.1: less than 68 makes no sense, and the feature is then as if not there.
        int most = ushort.MaxValue - FrameOverheadBytes, said = _device.Config.mtu;
        return _device.Offers(VirtioNet.VIRTIO_NET_F_MTU) && said >= 68 ? Math.Min(most, said) : most;
    }

    private int RedirectionEntries()
    {
        int most = Math.Min(MostRedirections, (int)_device.Config.rss_max_indirection_table_length);
        return 1 << int.Log2(most);
    }

    private MacAddress FirstAddress()
    {
        virtio_net_config config = _device.Config;
        ulong value = 0;
        for (int i = 0; i < 6; i++)
            value = value << 8 | config.mac[i];
        var address = new MacAddress(value);
        return _device.Offers(VirtioNet.VIRTIO_NET_F_MAC) && !address.IsMulticast && value != 0 ? address
            : MacAddress.Local((uint)Random.Shared.Next(1 << 24));
    }

    /// <summary>Bytes of header before each frame, for the features agreed on.</summary>
    internal static uint HeaderBytes(VirtioDevice device) =>
        device.Has(VirtioNet.VIRTIO_NET_F_HASH_REPORT) ? HeaderBytesHash : (uint)HeaderBytesPlain;

    /// <summary>What packets to be sent may ask for.</summary>
    internal static MbufFlags PossibleRequests(VirtioDevice device) => MbufFlags.TxVlan | MbufFlags.TxIpChecksum
        | (device.Has(VirtioNet.VIRTIO_NET_F_CSUM) ? MbufFlags.TxL4ChecksumMask : 0)
        | (device.Has(VirtioNet.VIRTIO_NET_F_HOST_TSO4) && device.Has(VirtioNet.VIRTIO_NET_F_HOST_TSO6)
            ? MbufFlags.TxTcpSegment : 0)
        | (device.Has(VirtioNet.VIRTIO_NET_F_HOST_USO) ? MbufFlags.TxUdpSegment : 0);

    /// <summary>Memory for a queue: virtually and physically contiguous, on the device's node.</summary>
    internal Memzone Reserve(string what, nuint bytes) => Eal.Memory.ReserveMemzone($"virtio{Id}_{what}", bytes,
        Eal.Memory.NumaNodes.Contains(Info.NumaNode) ? Info.NumaNode : Memory.AnyNode, 4096, iovaContiguous: true);

    /// <summary>A queue in its first state.</summary>
    internal Virtqueue CreateVirtqueue(int index, VirtqueueLayout layout, Memzone zone)
    {
        new Span<byte>(zone.Address, checked((int)zone.SizeBytes)).Clear();
        return Virtqueue.Create(index, layout, (byte*)zone.Address, _device.Transport.ToIova(zone.Address),
            _device.Features);
    }

    /// <summary>The eventfd of a receive queue, or null.</summary>
    internal SafeFileHandle? RxInterrupt(int index) =>
        _rxVectors ? _device.Transport.Vector(index + 1) : null;

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) =>
        new VirtioRxQueue(this, index, pool, config);

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) => new VirtioTxQueue(this, index, config);

    /// <inheritdoc/>
    protected override void OnConfigure(PortConfig config)
    {
        bool steers = config.RxQueues > 0 && _device.Offers(VirtioNet.VIRTIO_NET_F_RSS);
        if (config.TxQueues > config.RxQueues && config.TxQueues > 1 && !steers)
            throw new ConfigException($"port {Name}: cannot have {config.TxQueues} transmit and {config.RxQueues} "
                + "receive queues", why: "its queues come in pairs, and without VIRTIO_NET_F_RSS it would send packets "
                + "to the receive queues that are not there", fix: $"ask for {config.TxQueues} receive queues");
    }

    /// <inheritdoc/>
    protected override void OnClose()
    {
        if (Context.Function != null)
            Context.Function.Lost -= OnLost;
        _device.Dispose();
    }

    private void OnLost(PciFunction function, PortLoss why) => LogLost(_log, Name, why);   // the base class tells of it

    [LoggerMessage(LogLevel.Error, "port {Port}: its device is lost ({Why})")]
    private static partial void LogLost(ILogger logger, string port, PortLoss why);
}
