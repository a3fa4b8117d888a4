using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>The <c>net_wire</c> driver: two ports joined by a cable inside the process.</summary>
public sealed class WirePmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_wire";

    /// <inheritdoc/>
    public override string Help => "cable=NAME joins two ports (else net_wire0 and 1, 2 and 3, ...); what this end "
        + "sends: loss=% dup=% reorder=% delay=US jitter=US rate=BIT/S[k|M|G] pps=N[k|M|G] seed=N drop=0|1 when a "
        + "queue is full";

    /// <inheritdoc/>
    public override Port Create(PortContext context) => new WirePort(context);
}

/// <summary>One end of a cable. What is sent at one end is received at the other, the same mbuf, nothing
/// copied.</summary>
internal sealed class WirePort : Port
{
    private readonly string _cable;
    private readonly Dictionary<(int Queue, int Slots), Ring<Mbuf>> _lanes = [];
    private readonly List<Ring<Mbuf>> _inherited = [];
    private WirePort? _peer;
    private ulong _busyUntil;
    private bool _linkUp = true;
    private bool _started;

    internal WirePort(PortContext context) : base(context)
    {
        _cable = context.Args.GetString("cable") ?? DefaultCable(context.Args.Name);
        Faults = WireFaults.Parse(context.Args);
        context.Args.ThrowIfUnused();
        Stamped = Faults.Stamps;
        Info = new PortInfo
        {
            DriverName = "net_wire",
            MaxRxQueues = MaxQueues,
            MaxTxQueues = MaxQueues,
            RxOffloads = RxOffloads.RssHash,
            RxQueueOffloads = RxOffloads.RssHash,
            TxOffloads = TxOffloads.MultiSegments,
            MaxMtu = ushort.MaxValue - FrameOverheadBytes,
            SizesItsOwnFrames = true,
            MaxMacAddresses = 64,
            MacAddress = MacAddress.Local(0x5e_0000u + context.Id),
        };
        Plug(context.Ports);
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    /// <summary>What befalls packets sent here.</summary>
    internal WireFaults Faults { get; }

    /// <summary>Packets on this cable carry stamps, either way. Once set it stays: some may still be under
    /// way.</summary>
    internal bool Stamped { get; private set; }

    /// <summary>Where a sender at the far end puts packets, by receive queue; empty while this end takes
    /// none.</summary>
    internal Ring<Mbuf>[] Inbound { get; private set; } = [];

    /// <summary>What befell packets, by queue number; kept while queues come and go.</summary>
    internal WireCounts[] Counts { get; } = [.. Enumerable.Range(0, MaxQueues).Select(_ => new WireCounts())];

    /// <summary>The other end, or null while nothing is plugged in there.</summary>
    internal WirePort? Peer => _peer;

    private bool IsUp => _started && _linkUp && _peer is { _started: true, _linkUp: true };

    /// <inheritdoc/>
    public override LinkStatus GetLink() => new(IsUp, Faults.SpeedMbps);

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config)
    {
        // Lanes live as long as the port: a sender at the far end may still be in one when this end is set up anew.
        (int, int) key = (index, config.Descriptors);
        if (!_lanes.TryGetValue(key, out Ring<Mbuf>? lane))
        {
            lane = Ring<Mbuf>.Create(Eal.Memory, LaneName(index, config.Descriptors), config.Descriptors,
                producerSync: RingSync.MultiThread, consumerSync: RingSync.SingleThread, exactSize: true);
            _lanes.Add(key, lane);
        }
        return new WireRxQueue(this, index, pool, lane, config);
    }

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) => new WireTxQueue(this, index);

    /// <inheritdoc/>
    protected override void OnStart()
    {
        _started = true;
        OpenLanes();
    }

    /// <inheritdoc/>
    protected override void OnStarted()
    {
        if (IsUp)
            TellBothEnds();
    }

    /// <inheritdoc/>
    protected override void OnStop()
    {
        bool wasUp = IsUp;
        _started = false;
        OpenLanes();
        FreeUnderWay();
        // A sender here may have been half-way through a burst when the far end stopped and freed what it held.
        if (_peer is { _started: false } peer)
            peer.FreeUnderWay();
        if (wasUp)
            TellBothEnds();
    }

    /// <inheritdoc/>
    protected override void OnClose()
    {
        FreeUnderWay();
        IEnumerable<Ring<Mbuf>> lanes = _lanes.Values.Concat(_inherited);
        if (_peer is WirePort peer)
        {
            _peer = null;
            peer._peer = null;
            if (peer._started)
            {
                peer._inherited.AddRange(lanes); // somebody may be sending into them right now
                return;
            }
        }
        foreach (Ring<Mbuf> lane in lanes)
            lane.Dispose();
    }

    /// <inheritdoc/>
    protected override void OnSetLink(bool up)
    {
        bool wasUp = IsUp;
        _linkUp = up;
        OpenLanes();
        _peer?.OpenLanes();
        if (IsUp != wasUp)
            TellBothEnds();
    }

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address) { }

    /// <inheritdoc/>
    protected override void OnAddMacAddress(MacAddress address) { }

    /// <inheritdoc/>
    protected override void OnSetPromiscuous(bool on) { }

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on) { }

    /// <inheritdoc/>
    protected override void AddXstats(ICollection<Xstat> xstats)
    {
        xstats.Add(new("tx_wire_lost", Sum(c => c.Lost)));
        xstats.Add(new("tx_wire_full", Sum(c => c.Full)));
        xstats.Add(new("rx_wire_duplicated", Sum(c => c.Twice)));
        xstats.Add(new("rx_wire_reordered", Sum(c => c.Late)));
        xstats.Add(new("rx_wire_oversize", Sum(c => c.Oversize)));
    }

    /// <summary>When a packet of that length, sent now, has left this end at the cable's speed. Any sending
    /// thread.</summary>
    internal ulong Leave(ulong now, uint length)
    {
        var cost = (ulong)(length * Faults.CyclesPerByte + Faults.CyclesPerPacket);
        while (true)
        {
            ulong busyUntil = Volatile.Read(ref _busyUntil);
            ulong left = Math.Max(busyUntil, now) + cost;
            if (Interlocked.CompareExchange(ref _busyUntil, left, busyUntil) == busyUntil)
                return left;
        }
    }

    private ulong Sum(Func<WireCounts, ulong> count) => Counts.Aggregate(0ul, (sum, counts) => sum + count(counts));

    private static string DefaultCable(string name)
    {
        int digits = name.Length;
        while (digits > 0 && char.IsAsciiDigit(name[digits - 1]))
            digits--;
        return int.TryParse(name.AsSpan(digits), out int number) ? $"pair{number / 2}" : "pair0";
    }

    private void Plug(PortList? ports)
    {
        WirePort[] ends = [.. (ports?.Ports ?? []).OfType<WirePort>().Where(port => port._cable == _cable)];
        if (ends.Length > 1)
            throw new ConfigException($"device '{Name}': cable '{_cable}' has two ends already",
                why: $"{ends[0].Name} and {ends[1].Name} are plugged in", fix: "name another one with cable=NAME");
        if (ends.Length == 0)
            return;
        _peer = ends[0];
        _peer._peer = this;
        _peer.Stamped = Stamped |= _peer.Stamped;
    }

    // A lane outlives its port while the far end may be sending into it, and the port's number may be given again.
    private string LaneName(int index, int slots)
    {
        for (int life = 0; ; life++)
        {
            string name = $"wire{Id}_{index}_{slots}_{life}";
            if (Ring<Mbuf>.Lookup(Eal.Memory, name) == null)
                return name;
        }
    }

    private void OpenLanes() => Inbound = _started && _linkUp && _peer is null or { _linkUp: true }
        ? [.. RxQueues.Select(queue => ((WireRxQueue)queue).Lane)] : [];

    private void TellBothEnds()
    {
        Raise(PortEvent.LinkChanged);
        _peer?.Raise(PortEvent.LinkChanged);
    }

    private void FreeUnderWay()
    {
        Span<Mbuf> packets = new Mbuf[32];
        foreach (Ring<Mbuf> lane in _lanes.Values.Concat(_inherited))
            for (int count; (count = lane.DequeueBurst(packets)) > 0;)
                Mbuf.FreeBulk(packets[..count]);
    }
}
