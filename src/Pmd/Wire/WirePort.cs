using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>The <c>net_wire</c> driver: two ports joined by a cable inside the process.</summary>
public sealed class WirePmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_wire";

    /// <inheritdoc/>
    public override string Help => "cable=NAME (net_wire0 with net_wire1, 2 with 3, ...) joins the two ports that name it";

    /// <inheritdoc/>
    public override Port Create(PortContext context) => new WirePort(context);
}

/// <summary>One end of a cable. What is sent at one end is received at the other, the same mbuf, nothing copied.</summary>
internal sealed class WirePort : Port
{
    private readonly string _cable;
    private readonly List<Lane> _lanes = [];
    private WirePort? _peer;

    internal WirePort(PortContext context) : base(context)
    {
        _cable = context.Args.GetString("cable") ?? DefaultCable(context.Args.Name);
        context.Args.ThrowIfUnused();
        Info = new PortInfo
        {
            DriverName = "net_wire",
            MaxRxQueues = MaxQueues,
            MaxTxQueues = MaxQueues,
            TxOffloads = TxOffloads.MultiSegments,
            MaxMtu = ushort.MaxValue,
            SizesItsOwnFrames = true,
            MaxMacAddresses = 64,
            MacAddress = MacAddress.Local(0x5e_0000u + context.Id),
        };
        Plug(context.Ports);
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    /// <summary>The lanes this end receives from while it is started, one per receive queue; empty otherwise.</summary>
    internal Lane[] Inbound { get; private set; } = [];

    /// <summary>The other end, or null while nothing is plugged in there.</summary>
    internal WirePort? Peer => _peer;

    /// <inheritdoc/>
    public override LinkStatus GetLink() =>
        new(State == PortState.Started && _peer is { State: PortState.Started }, SpeedMbps: 100_000);

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config)
    {
        // Lanes live as long as the port: a sender at the far end may still hold one when this end is set up anew.
        var lane = new Lane(Eal.Memory, config.Descriptors);
        _lanes.Add(lane);
        return new WireRxQueue(this, index, pool, lane);
    }

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) => new WireTxQueue(this, index);

    /// <inheritdoc/>
    protected override void OnStart() => Inbound = [.. RxQueues.Select(queue => ((WireRxQueue)queue).Lane)];

    /// <inheritdoc/>
    protected override void OnStop()
    {
        Inbound = [];
        FreeUnderWay();
        // A sender here may have been half-way through a burst when the far end stopped and drained.
        if (_peer is { State: not PortState.Started } peer)
            peer.FreeUnderWay();
    }

    /// <inheritdoc/>
    protected override void OnClose()
    {
        FreeUnderWay();
        if (_peer != null)
            _peer._peer = null;
        _peer = null;
        foreach (Lane lane in _lanes)
            lane.Dispose();
    }

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
    }

    private void FreeUnderWay()
    {
        Span<Mbuf> packets = new Mbuf[32];
        foreach (Lane lane in _lanes)
            for (int count; (count = lane.Receive(packets)) > 0;)
                Mbuf.FreeBulk(packets[..count]);
    }
}
