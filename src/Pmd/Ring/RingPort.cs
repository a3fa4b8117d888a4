using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>The <c>net_ring</c> driver: rings as ports.</summary>
public sealed class RingPmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_ring";

    /// <inheritdoc/>
    public override string Help => "queues=N (16), size=N (1024) per ring; loops back, or peer=PORT joins it to "
        + "another; nodeaction=NAME:NODE:CREATE|ATTACH makes or uses rings by name";

    /// <inheritdoc/>
    public override Port Create(PortContext context) => new RingPort(context);

    /// <summary>Makes a port of rings that are there already, and adds it to the list.</summary>
    /// <param name="eal">The environment.</param>
    /// <param name="ports">Where to add it.</param>
    /// <param name="name">The port's name, <c>net_ring</c> and a number.</param>
    /// <param name="receive">The ring behind each receive queue, 1 to <see cref="Port.MaxQueues"/>. They stay the
    /// caller's.</param>
    /// <param name="transmit">The ring behind each transmit queue. They stay the caller's.</param>
    /// <exception cref="ConfigException">The name is taken, or there are too few or too many rings.</exception>
    public static Port FromRings(Eal eal, PortList ports, string name, IReadOnlyList<Ring<Mbuf>> receive,
        IReadOnlyList<Ring<Mbuf>> transmit)
    {
        if (receive.Count is 0 or > Port.MaxQueues || transmit.Count is 0 or > Port.MaxQueues)
            throw new ConfigException($"port {name}: {receive.Count} receive and {transmit.Count} transmit rings",
                fix: $"give 1 to {Port.MaxQueues} of each");
        var context = new PortContext(eal, DevArgs.Parse(name), ports.FreeId()) { Ports = ports };
        return ports.Add(new RingPort(context, [.. receive], [.. transmit]));
    }
}

/// <summary>A port whose receive queues take from rings and whose transmit queues put into rings.</summary>
internal sealed class RingPort : Port
{
    private readonly List<Ring<Mbuf>> _owned = [];
    private RingPort? _peer;
    private bool _linkUp = true;

    internal RingPort(PortContext context) : base(context)
    {
        RingArgs args = RingArgs.Parse(context.Args);
        RingPort? peer = args.Peer == null ? null : FindPeer(args.Peer, args.Queues);
        Receive = args.Attach ? args.Lookup(Eal.Memory) : Make(args);
        Transmit = Receive;
        Info = MakeInfo();
        if (peer == null)
            return;
        _peer = peer;
        peer._peer = this;
        (Transmit, peer.Transmit) = (peer.Receive, Receive);
    }

    internal RingPort(PortContext context, Ring<Mbuf>[] receive, Ring<Mbuf>[] transmit) : base(context)
    {
        Receive = receive;
        Transmit = transmit;
        Info = MakeInfo();
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    /// <summary>What each receive queue takes from.</summary>
    internal Ring<Mbuf>[] Receive { get; }

    /// <summary>What each transmit queue puts into; empty once the port joined to this one is closed.</summary>
    internal Ring<Mbuf>[] Transmit { get; private set; }

    /// <inheritdoc/>
    public override LinkStatus GetLink() => new(_linkUp && State == PortState.Started && Transmit.Length != 0,
        SpeedMbps: 10_000);

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) =>
        new RingRxQueue(this, index, pool, Receive[index]);

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) => new RingTxQueue(this, index);

    /// <inheritdoc/>
    protected override void OnStop()
    {
        FreeUnderWay();
        // A sender here may have been half-way through a burst when the other end stopped and freed what it held.
        if (_peer is { State: not PortState.Started } peer)
            peer.FreeUnderWay();
    }

    /// <inheritdoc/>
    protected override void OnClose()
    {
        FreeUnderWay();
        if (_peer != null)
        {
            (_peer._peer, _peer.Transmit) = (null, []);
            _peer.Raise(PortEvent.LinkChanged);
        }
        foreach (Ring<Mbuf> ring in _owned)
            ring.Dispose();
    }

    /// <inheritdoc/>
    protected override void OnSetLink(bool up)
    {
        _linkUp = up;
        Raise(PortEvent.LinkChanged);
    }

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address) { }

    /// <inheritdoc/>
    protected override void OnAddMacAddress(MacAddress address) { }

    /// <inheritdoc/>
    protected override void OnSetPromiscuous(bool on) { }

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on) { }

    private RingPort FindPeer(string name, int queues)
    {
        const string Fix = "name the port made before this one, as in --vdev net_ring0 --vdev net_ring1,peer=net_ring0";
        if (Context.Ports?.Find(name) is not RingPort peer)
            throw new ConfigException($"device '{Name}': peer={name} is no net_ring port", fix: Fix);
        if (peer._peer != null || peer.State != PortState.Attached)
            throw new ConfigException($"device '{Name}': peer={name} cannot be joined",
                why: peer._peer != null ? $"{peer._peer.Name} is joined to it" : $"it is {peer.State} already",
                fix: Fix);
        if (peer.Receive.Length != queues)
            throw new ConfigException($"device '{Name}': it has {queues} queues and its peer {name} "
                + $"{peer.Receive.Length}", why: "what is sent on a queue is received on the same one there",
                fix: $"add queues={peer.Receive.Length} to it");
        return peer;
    }

    private Ring<Mbuf>[] Make(RingArgs args)
    {
        try
        {
            for (int i = 0; i < args.Queues; i++)
                _owned.Add(Ring<Mbuf>.Create(Eal.Memory, RingArgs.RingName(args.Node ?? Name, i), args.Size,
                    args.NumaNode, RingSync.SingleThread, RingSync.SingleThread, exactSize: true));
            return [.. _owned];
        }
        catch (DataplaneException)
        {
            foreach (Ring<Mbuf> ring in _owned)
                ring.Dispose();
            throw;
        }
    }

    private PortInfo MakeInfo() => new()
    {
        DriverName = "net_ring",
        MaxRxQueues = Receive.Length,
        MaxTxQueues = Transmit.Length,
        TxOffloads = TxOffloads.MultiSegments,
        MaxMtu = ushort.MaxValue,
        SizesItsOwnFrames = true,
        MaxMacAddresses = 64,
        MacAddress = MacAddress.Local(0x72_0000u + Context.Id),
    };

    // Rings that were given to the port or are shared by name are not its own: what is in them stays in them.
    private void FreeUnderWay()
    {
        Span<Mbuf> packets = new Mbuf[32];
        foreach (Ring<Mbuf> ring in _owned)
            for (int count; (count = ring.DequeueBurst(packets)) > 0;)
                Mbuf.FreeBulk(packets[..count]);
    }
}
