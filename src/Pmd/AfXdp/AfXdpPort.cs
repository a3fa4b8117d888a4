using Dataplane.Native;
using Dataplane.Net;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>The <c>net_af_xdp</c> driver: an interface of the kernel through AF_XDP sockets, whose packet memory is the
/// mempool's own.</summary>
public sealed class AfXdpPmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_af_xdp";

    /// <inheritdoc/>
    public override string Help => AfXdpOptions.Help;

    /// <inheritdoc/>
    public override Port Create(PortContext context)
    {
        AfXdpOptions options = AfXdpOptions.Parse(context.Args);
        KernelInterface netdev = KernelInterface.Open(context.Args.Name, options.Interface);
        try
        {
            return new AfXdpPort(context, options, netdev);
        }
        catch
        {
            netdev.Dispose();
            throw;
        }
    }
}

/// <summary>
/// A kernel interface as a port. Its program is there from the port's making to its closing, its sockets from start to
/// stop: until then, and without a socket, packets go to the kernel.
/// </summary>
internal sealed partial class AfXdpPort : Port
{
    private readonly KernelMembers _members;
    private readonly XdpHandover? _handover;
    private readonly ILogger _log;
    private PortInfo _info;

    internal AfXdpPort(PortContext context, AfXdpOptions options, KernelInterface netdev) : base(context)
    {
        Options = options;
        Netdev = netdev;
        _log = context.Eal.Log.CreateLogger("pmd.net.af_xdp");
        _members = new KernelMembers(Name, netdev);
        Mtu = netdev.GetMtu();
        int there = CountQueues() - options.StartQueue;
        if (there <= 0 || options.QueueCount > there)
            throw new ConfigException($"device '{Name}': {options.Interface} has no queue "
                + $"{options.StartQueue + Math.Max(options.QueueCount, 1) - 1}",
                why: $"it has {there + options.StartQueue}", fix: "use a smaller start_queue= or queue_count=, or give "
                    + $"it more: sudo ethtool -L {options.Interface} combined N");
        int queues = Math.Min(options.QueueCount == 0 ? there : options.QueueCount, MaxQueues);
        try
        {
            _handover = options.Source == XdpSource.Socket ? new XdpHandover(Name, options) : null;
            Program = options.Source switch
            {
                XdpSource.Own => XdpProgram.Attach(Name, netdev, options.Mode, options.StartQueue + queues,
                    options.ByNetlink),
                XdpSource.Socket => XdpProgram.OfMap(Name, _handover!.TakeMap(), options.Path),
                _ => XdpProgram.OfMap(Name, OpenPinned(), options.Path),
            };
        }
        catch
        {
            _handover?.Dispose();
            throw;
        }
        _info = MakeInfo(queues);
    }

    /// <inheritdoc/>
    public override PortInfo Info => _info;

    internal AfXdpOptions Options { get; }

    internal KernelInterface Netdev { get; }

    internal XdpProgram Program { get; }

    /// <inheritdoc/>
    /// <remarks>Every call asks the kernel; changes since the last call are told as events.</remarks>
    public override LinkStatus GetLink() => Netdev.PollLink(Raise);

    /// <summary>How packets get between interface and mbufs, in a few words.</summary>
    internal static string Describe(XdpProgram program, XdpSocket? socket) =>
        (program.IsGeneric switch { true => "generic", false => "native", null => "handed over" })
        + (socket == null ? "" : socket.IsZeroCopy ? ", zero-copy" : ", copy")
        + (socket is { HasFragments: true } ? ", fragments" : "")
        + (socket is { BusyPolls: true } ? ", busy poll" : "");

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config)
    {
        CheckRoom(pool, config.Offloads, Mtu);
        return new AfXdpRxQueue(this, index, pool, config);
    }

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) => new AfXdpTxQueue(this, index, config);

    /// <inheritdoc/>
    protected override void OnSetLink(bool up) => Netdev.SetUp(up);

    /// <inheritdoc/>
    protected override void OnSetMtu(int mtu)
    {
        foreach (RxQueue? queue in RxQueues)
            if (queue != null)
                CheckRoom(queue.Pool, queue.Config.Offloads, mtu);
        foreach (XdpSocket? socket in _sockets)
            if (socket is { HasFragments: false, IsZeroCopy: true } && mtu + FrameOverheadBytes > socket.Umem.RoomBytes)
                throw new ConfigException($"port {Name}: MTU {mtu} needs frames of several buffers",
                    why: "the port was started without them, since the driver has not both them and zero-copy",
                    fix: "stop the port, set the MTU, and start it again");
        Netdev.SetMtu(mtu);
        foreach (TxQueue? queue in TxQueues)
            (queue as AfXdpTxQueue)?.SetMtu(mtu);
    }

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address) => Netdev.SetMac(address);

    /// <inheritdoc/>
    protected override void OnAddMacAddress(MacAddress address) => _members.SetAddress(true, address);

    /// <inheritdoc/>
    protected override void OnRemoveMacAddress(MacAddress address) => _members.SetAddress(false, address);

    /// <inheritdoc/>
    protected override void OnSetPromiscuous(bool on) => SetMode(on, IfPacket.PACKET_MR_PROMISC, "promisc");

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on) => SetMode(on, IfPacket.PACKET_MR_ALLMULTI, "allmulticast");

    /// <inheritdoc/>
    protected override void AddXstats(ICollection<Xstat> xstats)
    {
        foreach (RxQueue? queue in RxQueues)
            if (queue is AfXdpRxQueue rx)
            {
                xdp_statistics kernel = rx.Counters.Read();
                string name = $"xdp_rx{rx.Index}_";
                xstats.Add(new(name + "dropped", kernel.rx_dropped));
                xstats.Add(new(name + "ring_full", kernel.rx_ring_full));
                xstats.Add(new(name + "fill_ring_empty", kernel.rx_fill_ring_empty_descs));
                xstats.Add(new(name + "invalid_descriptors", kernel.rx_invalid_descs));
                xstats.Add(new(name + "wakeups", rx.Wakeups));
            }
        foreach (TxQueue? queue in TxQueues)
            if (queue is AfXdpTxQueue tx)
            {
                xdp_statistics kernel = tx.Counters.Read();
                string name = $"xdp_tx{tx.Index}_";
                xstats.Add(new(name + "ring_empty", kernel.tx_ring_empty_descs));
                xstats.Add(new(name + "invalid_descriptors", kernel.tx_invalid_descs));
                xstats.Add(new(name + "wakeups", tx.Wakeups));
                xstats.Add(new(name + "copied", tx.Copied));
            }
    }

    /// <inheritdoc/>
    protected override void OnClose()
    {
        Program.Dispose();
        _handover?.Dispose();
        _members.Dispose();
        Netdev.Dispose();
        _ownPool?.Dispose();
    }

    /// <summary>An application without privileges has no such mode, rather than an error.</summary>
    private void SetMode(bool on, ushort kind, string name)
    {
        try
        {
            _members.Set(on, kind);
        }
        catch (DeviceException e) when (e.Errno == Errno.EPERM && Options.Source != XdpSource.Own)
        {
            throw new DeviceException($"port {Name}: cannot change what {Options.Interface} receives",
                why: "that needs CAP_NET_RAW", fix: $"run as root: ip link set {Options.Interface} {name} on",
                errno: Errno.EOPNOTSUPP);
        }
    }

    private PortInfo MakeInfo(int queues)
    {
        bool fragments = Environment.OSVersion.Version >= new Version(6, 6);
        return new PortInfo
        {
            DriverName = "net_af_xdp",
            InterfaceName = Options.Interface,
            Mode = Describe(Program, null),
            MaxRxQueues = queues,
            MaxTxQueues = queues,
            RxOffloads = RxOffloads.VlanStrip | (fragments ? RxOffloads.Scatter : RxOffloads.None),
            TxOffloads = TxOffloads.VlanInsert | TxOffloads.MultiSegments,
            MaxMtu = fragments ? 65_521 : Environment.SystemPageSize - IfXdp.PacketHeadroom - FrameOverheadBytes,
            MinRxBufferBytes = IfXdp.MinChunkBytes - Mbuf.DefaultHeadroom,
            RxInterrupts = true,
            MinDescriptors = 64,
            DefaultDescriptors = 512,
            MaxDescriptors = 32768,
            PowerOfTwoDescriptors = true,
            MaxMacAddresses = 64,
            MacAddress = Netdev.GetMac(),
        };
    }

    /// <summary>The kernel leaves more headroom than mbufs usually have: what is left must hold a frame.</summary>
    private void CheckRoom(Mempool pool, RxOffloads offloads, int mtu)
    {
        int room = Math.Min(pool.DataRoomBytes, Environment.SystemPageSize) - IfXdp.PacketHeadroom;
        int frame = mtu + FrameOverheadBytes;
        if (frame > room && (offloads & RxOffloads.Scatter) == 0)
            throw new ConfigException($"port {Name}: frames of MTU {mtu} do not fit the mbufs of pool '{pool.Name}'",
                why: $"a frame has up to {frame} bytes; a mbuf holds {room} behind the kernel's headroom of "
                    + $"{IfXdp.PacketHeadroom}, no more than a page in all, and scatter is off",
                fix: $"use RxOffloads.Scatter, a data room of {frame + IfXdp.PacketHeadroom} where that is no more "
                    + $"than {Environment.SystemPageSize}, or an MTU of {room - FrameOverheadBytes}");
    }

    private SafeFileHandle OpenPinned()
    {
        try
        {
            return Bpf.OpenPinned(Options.Path);
        }
        catch (NativeException e)
        {
            throw new DeviceException($"device '{Name}': cannot open the pinned map {Options.Path}",
                fix: $"run as root: dpctl xdp load {Options.Interface} --pin FOLDER --user {Environment.UserName}",
                errno: e.Errno);
        }
    }

    /// <summary>Receive queues the interface has; 1 where /sys shows another namespace.</summary>
    private int CountQueues()
    {
        string folder = $"/sys/class/net/{Options.Interface}/queues";
        return Directory.Exists(folder) ? Directory.GetDirectories(folder, "rx-*").Length
            : Options.StartQueue + Math.Max(Options.QueueCount, 1);
    }
}
