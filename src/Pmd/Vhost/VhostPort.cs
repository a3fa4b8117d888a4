using Dataplane.Native;
using Dataplane.Net;
using Microsoft.Extensions.Logging;

namespace Dataplane.Pmd;

/// <summary>The <c>net_vhost</c> driver: the device's side of a virtio network device, for a virtual machine or
/// another process.</summary>
public sealed class VhostPmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_vhost";

    /// <inheritdoc/>
    public override string Help => VhostOptions.Help;

    /// <inheritdoc/>
    public override Port Create(PortContext context) => new VhostPort(context, VhostOptions.Parse(context.Args));
}

/// <summary>A vhost-user back end as a port. Its socket is there from configuring to closing, its rings run while the
/// port is started. vhost-user.rst.</summary>
internal sealed unsafe partial class VhostPort : Port
{
    /// <summary>Protocol features we have.</summary>
    internal static readonly ulong ProtocolFeatures = VirtioFeatures.Of(VhostUser.MultiQueueBit, VhostUser.ReplyAckBit,
        VhostUser.MtuBit, VhostUser.InflightBit, VhostUser.ResetDeviceBit, VhostUser.StatusBit);

    private readonly ILogger _log;

    internal VhostPort(PortContext context, VhostOptions options) : base(context)
    {
        Options = options;
        _log = context.Eal.Log.CreateLogger("pmd.net.vhost");
        Info = new PortInfo
        {
            DriverName = "net_vhost",
            MaxRxQueues = options.Queues,
            MaxTxQueues = options.Queues,
            RxOffloads = RxOffloads.VlanStrip | RxOffloads.UdpChecksum | RxOffloads.TcpChecksum
                | (options.Linear ? 0 : RxOffloads.Scatter) | (options.Tso && !options.Linear ? RxOffloads.TcpLro : 0),
            RxQueueOffloads = RxOffloads.VlanStrip,
            TxOffloads = TxOffloads.VlanInsert | TxOffloads.Ipv4Checksum | TxOffloads.UdpChecksum
                | TxOffloads.TcpChecksum | TxOffloads.MultiSegments | TxOffloads.FastFree
                | (options.Tso ? TxOffloads.TcpTso | TxOffloads.UdpTso : 0),
            MaxMtu = ushort.MaxValue - FrameOverheadBytes,
            MinDescriptors = 1,
            DefaultDescriptors = 256,
            RxInterrupts = true,
            LinkInterrupts = true,
            MacAddress = MacAddress.Local(0x76_0000u + context.Id),
        };
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    internal VhostOptions Options { get; }

    /// <summary>Bytes of header before each frame. VIRTIO 1.2 §5.1.6.1.</summary>
    internal static uint HeaderBytes(ulong features) => VirtioFeatures.Has(features, VirtioConfig.VIRTIO_F_VERSION_1)
        || VirtioFeatures.Has(features, VirtioNet.VIRTIO_NET_F_MRG_RXBUF) ? 12u : 10u;

    /// <inheritdoc/>
    /// <remarks>Up while a peer is there that lets packets flow in a queue.</remarks>
    public override LinkStatus GetLink()
    {
        lock (_gate)
            return new LinkStatus(State == PortState.Started && _session is { IsUp: true });
    }

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) =>
        new VhostRxQueue(this, index, pool, config);

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) =>
        new VhostTxQueue(this, index, config);

    /// <inheritdoc/>
    /// <remarks>A peer that was offered something else has to come again.</remarks>
    protected override void OnConfigure(PortConfig config)
    {
        ulong offer = Offer(config.RxOffloads);
        if (_open && offer == _offered)
            return;
        Close();
        _offered = offer;
        Open();
    }

    /// <inheritdoc/>
    protected override void OnStart()
    {
        lock (_gate)
        {
            _serving = true;
            _session?.ActivateAll();
        }
    }

    /// <inheritdoc/>
    protected override void OnStarted()
    {
        lock (_gate)
            LinkMayHaveChanged();
    }

    /// <inheritdoc/>
    protected override void OnStop()
    {
        lock (_gate)
        {
            _serving = _linkUp = false;
            _session?.DeactivateAll();
        }
    }

    /// <inheritdoc/>
    protected override void OnClose() => Close();

    /// <inheritdoc/>
    protected override void AddXstats(ICollection<Xstat> xstats)
    {
        foreach (RxQueue? queue in RxQueues)
            if (queue is VhostRxQueue rx)
                xstats.Add(new($"rx_q{rx.Index}_broken", rx.Gate.Broken));
        foreach (TxQueue? queue in TxQueues)
            if (queue is VhostTxQueue tx)
                xstats.Add(new($"tx_q{tx.Index}_broken", tx.Gate.Broken));
        xstats.Add(new("vhost_connections", Volatile.Read(ref _connections)));
    }

    private ulong Offer(RxOffloads rx)
    {
        ulong features = VirtioFeatures.Of(VirtioConfig.VIRTIO_F_VERSION_1, VhostUser.ProtocolFeaturesBit,
            VhostUser.AnyLayoutBit, VirtioRing.VIRTIO_RING_F_INDIRECT_DESC, VirtioRing.VIRTIO_RING_F_EVENT_IDX,
            VirtioConfig.VIRTIO_F_IN_ORDER, VirtioNet.VIRTIO_NET_F_MRG_RXBUF, VirtioNet.VIRTIO_NET_F_CSUM,
            VirtioNet.VIRTIO_NET_F_GUEST_CSUM, VirtioNet.VIRTIO_NET_F_MTU, VirtioNet.VIRTIO_NET_F_MQ,
            VirtioNet.VIRTIO_NET_F_CTRL_VQ, VirtioNet.VIRTIO_NET_F_CTRL_RX);
        if (Options.Packed)
            features |= VirtioFeatures.Of(VirtioConfig.VIRTIO_F_RING_PACKED);
        if (Options.Tso)
            features |= VirtioFeatures.Of(VirtioNet.VIRTIO_NET_F_GUEST_TSO4, VirtioNet.VIRTIO_NET_F_GUEST_TSO6,
                VirtioNet.VIRTIO_NET_F_GUEST_ECN);
        if (Options.Tso && (rx & RxOffloads.TcpLro) != 0)
            features |= VirtioFeatures.Of(VirtioNet.VIRTIO_NET_F_HOST_TSO4, VirtioNet.VIRTIO_NET_F_HOST_TSO6,
                VirtioNet.VIRTIO_NET_F_HOST_ECN, VirtioNet.VIRTIO_NET_F_HOST_USO);
        return features;
    }
}
