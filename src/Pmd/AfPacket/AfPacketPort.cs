using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>The <c>net_af_packet</c> driver: any interface of the kernel, through memory-mapped packet sockets.</summary>
public sealed class AfPacketPmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_af_packet";

    /// <inheritdoc/>
    public override string Help => AfPacketOptions.Help;

    /// <inheritdoc/>
    public override Port Create(PortContext context)
    {
        AfPacketOptions options = AfPacketOptions.Parse(context.Args);
        KernelInterface netdev = KernelInterface.Open(context.Args.Name, options.Interface);
        try
        {
            return new AfPacketPort(context, options, netdev);
        }
        catch
        {
            netdev.Dispose();
            throw;
        }
    }
}

/// <summary>A kernel interface as a port. Its sockets and rings exist from start to stop.</summary>
internal sealed class AfPacketPort : Port
{
    internal AfPacketPort(PortContext context, AfPacketOptions options, KernelInterface netdev) : base(context)
    {
        Options = options;
        Netdev = netdev;
        OpenSocket().Dispose();   // missing rights are an error here, not at start
        Info = new PortInfo
        {
            DriverName = "net_af_packet",
            InterfaceName = options.Interface,
            MaxRxQueues = options.QueuePairs,
            MaxTxQueues = options.QueuePairs,
            RxOffloads = RxOffloads.VlanStrip | RxOffloads.Scatter | RxOffloads.RssHash,
            TxOffloads = TxOffloads.VlanInsert | TxOffloads.MultiSegments,
            MaxMtu = 65_521,
            MacAddress = netdev.GetMac(),
        };
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    internal AfPacketOptions Options { get; }

    internal KernelInterface Netdev { get; }

    /// <inheritdoc/>
    public override LinkStatus GetLink() => Netdev.GetLink();

    /// <summary>A packet socket that receives nothing yet.</summary>
    internal SafeFileHandle OpenSocket()
    {
        try
        {
            return Socket.Open(Socket.AF_PACKET, Socket.SOCK_RAW, 0);
        }
        catch (NativeException e) when (e.Errno == Errno.EPERM)
        {
            throw new DeviceException($"device '{Name}': no right to open a packet socket",
                why: "packet sockets need CAP_NET_RAW",
                fix: "run as root, or: sudo setcap cap_net_raw,cap_net_admin+ep PROGRAM", errno: Errno.EPERM);
        }
    }

    /// <inheritdoc/>
    protected override void OnConfigure(PortConfig config)
    {
        if (config.Mtu != 0)
            Netdev.SetMtu(config.Mtu);
    }

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) =>
        new AfPacketRxQueue(this, index, pool, config);

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) =>
        new AfPacketTxQueue(this, index, config);

    /// <inheritdoc/>
    protected override void OnStart()
    {
        try
        {
            foreach (TxQueue queue in TxQueues)
                ((AfPacketTxQueue)queue).Open();
            int fanout = -1;
            foreach (RxQueue queue in RxQueues)
                ((AfPacketRxQueue)queue).Open(RxQueues.Count > 1, ref fanout);
            foreach (RxQueue queue in RxQueues)
                ((AfPacketRxQueue)queue).Admit();
        }
        catch
        {
            foreach (TxQueue queue in TxQueues)
                ((AfPacketTxQueue)queue).Close();
            foreach (RxQueue queue in RxQueues)
                ((AfPacketRxQueue)queue).Close();
            throw;
        }
    }

    /// <inheritdoc/>
    protected override void OnClose() => Netdev.Dispose();
}
