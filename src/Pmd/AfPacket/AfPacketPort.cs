using Dataplane.Native;
using Dataplane.Net;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>The <c>net_af_packet</c> driver: any interface of the kernel, through memory-mapped packet
/// sockets.</summary>
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

/// <summary>A kernel interface as a port. Its rings exist from start to stop.</summary>
internal sealed class AfPacketPort : Port
{
    private readonly KernelMembers _members;

    internal AfPacketPort(PortContext context, AfPacketOptions options, KernelInterface netdev) : base(context)
    {
        Options = options;
        Netdev = netdev;
        _members = new KernelMembers(Name, netdev);
        Mtu = netdev.GetMtu();
        Info = new PortInfo
        {
            DriverName = "net_af_packet",
            InterfaceName = options.Interface,
            MaxRxQueues = options.QueuePairs,
            MaxTxQueues = options.QueuePairs,
            RxOffloads = RxOffloads.VlanStrip | RxOffloads.TcpChecksum | RxOffloads.UdpChecksum | RxOffloads.TcpLro
                | RxOffloads.Scatter | RxOffloads.RssHash,
            TxOffloads = TxOffloads.VlanInsert | TxOffloads.Ipv4Checksum | TxOffloads.TcpChecksum
                | TxOffloads.UdpChecksum
                | TxOffloads.TcpTso | TxOffloads.UdpTso | TxOffloads.MultiSegments,
            MaxMtu = 65_521,
            RxInterrupts = true,
            MinDescriptors = 8,
            DefaultDescriptors = options.Frames != 0 ? options.Frames : 512,
            MaxDescriptors = 1 << 20,
            MaxMacAddresses = 64,
            MacAddress = netdev.GetMac(),
        };
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    internal AfPacketOptions Options { get; }

    internal KernelInterface Netdev { get; }

    /// <inheritdoc/>
    /// <remarks>Every call asks the kernel; changes since the last call are told as events.</remarks>
    public override LinkStatus GetLink() => Netdev.PollLink(Raise);

    /// <summary>A packet socket that receives nothing yet.</summary>
    internal SafeFileHandle OpenSocket() => KernelMembers.OpenSocket(Name);

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
    protected override void OnSetLink(bool up) => Netdev.SetUp(up);

    /// <inheritdoc/>
    protected override void OnSetMtu(int mtu)
    {
        Netdev.SetMtu(mtu);
        foreach (TxQueue? queue in TxQueues)
            (queue as AfPacketTxQueue)?.SetMtu(mtu);
    }

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address) => Netdev.SetMac(address);

    /// <inheritdoc/>
    protected override void OnAddMacAddress(MacAddress address) => _members.SetAddress(true, address);

    /// <inheritdoc/>
    protected override void OnRemoveMacAddress(MacAddress address) => _members.SetAddress(false, address);

    /// <inheritdoc/>
    protected override void OnSetPromiscuous(bool on) => _members.Set(on, IfPacket.PACKET_MR_PROMISC);

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on) => _members.Set(on, IfPacket.PACKET_MR_ALLMULTI);

    /// <inheritdoc/>
    protected override void OnClose()
    {
        _members.Dispose();
        Netdev.Dispose();
    }
}
