using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>The <c>net_pcap</c> driver: capture files, and kernel interfaces the simple way, as ports.</summary>
public sealed class PcapPmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_pcap";

    /// <inheritdoc/>
    public override string Help => PcapOptions.Help;

    /// <inheritdoc/>
    public override Port Create(PortContext context) => new PcapPort(context, PcapOptions.Parse(context.Args));
}

/// <summary>Files to receive from and to send to, one a queue. They are open as long as the port lives.</summary>
internal sealed class PcapPort : Port
{
    private static readonly TimeSpan s_endCheck = TimeSpan.FromMilliseconds(10);

    private readonly List<PacketSource> _sources = [];
    private readonly List<IDisposable> _targets = [];   // a PcapWriter or a PacketSocket each
    private readonly List<KernelInterface> _netdevs = [];
    private Alarm? _endAlarm;

    internal PcapPort(PortContext context, PcapOptions options) : base(context)
    {
        Options = options;
        Stamp = MbufDynamic.RegisterField<ulong>(Eal.Memory, MbufDynamic.TimestampField);
        StampFlag = MbufDynamic.RegisterFlag(Eal.Memory, MbufDynamic.RxTimestampFlag);
        try
        {
            foreach (PcapEnd end in options.Transmit)
                _targets.Add(end.Kind == PcapEndKind.File
                    ? PcapWriter.Create(Name, end.Name, options) : OpenSocket(end, receives: false));
            foreach (PcapEnd end in options.Receive)
                _sources.Add(OpenSource(end));
            if (options.Interface != null)
            {
                // One socket both ways: it does not receive what it sent itself.
                PacketSocket both = OpenSocket(new(PcapEndKind.InterfaceInbound, options.Interface), receives: true);
                _sources.Add(both);
                _targets.Add(both);
            }
        }
        catch
        {
            OnClose();
            throw;
        }
        Info = new PortInfo
        {
            DriverName = "net_pcap",
            InterfaceName = _netdevs.FirstOrDefault()?.Name,
            MaxRxQueues = _sources.Count == 0 ? MaxQueues : _sources.Count,
            MaxTxQueues = _targets.Count == 0 ? MaxQueues : _targets.Count,
            RxOffloads = RxOffloads.Scatter | RxOffloads.Timestamp,
            TxOffloads = TxOffloads.MultiSegments,
            MinRxBufferBytes = 64,
            MaxMtu = ushort.MaxValue,
            SizesItsOwnFrames = true,
            MaxMacAddresses = 64,
            MacAddress = options.PhysicalMac ? _netdevs[0].GetMac() : MacAddress.Local(0x70_0000u + context.Id),
        };
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    internal PcapOptions Options { get; }

    /// <summary>When it was captured, nanoseconds since 1970; valid in mbufs with <see cref="StampFlag"/>.</summary>
    internal MbufField<ulong> Stamp { get; }

    /// <summary>The mbuf has a <see cref="Stamp"/>.</summary>
    internal MbufFlags StampFlag { get; }

    /// <inheritdoc/>
    /// <remarks>With an interface: that one's link.</remarks>
    public override LinkStatus GetLink() => _netdevs.Count > 0 ? _netdevs[0].GetLink()
        : new(State == PortState.Started && !(Options.LinkDownAtEnd && HasEnded), SpeedMbps: 10_000);

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) =>
        new PcapRxQueue(this, index, pool, config, index < _sources.Count ? _sources[index] : null);

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) =>
        _targets.ElementAtOrDefault(index) switch
        {
            PcapWriter writer => new PcapFileTxQueue(this, index, writer),
            PacketSocket socket => new PcapSocketTxQueue(this, index, socket),
            _ => new PcapDropTxQueue(this, index),
        };

    /// <inheritdoc/>
    protected override void OnStart()
    {
        foreach (RxQueue queue in RxQueues)
            ((PcapRxQueue)queue).Rewind();
    }

    /// <inheritdoc/>
    protected override void OnStarted()
    {
        if (Options.LinkDownAtEnd)
            _endAlarm = Eal.Alarms.Set(s_endCheck, TellEnd);
    }

    /// <inheritdoc/>
    protected override void OnStop()
    {
        _endAlarm?.Cancel();
        _endAlarm = null;
    }

    /// <inheritdoc/>
    protected override void OnClose()
    {
        foreach (PacketSource source in _sources)
            source.Dispose();
        foreach (IDisposable target in _targets.Except(_sources))
            target.Dispose();
        foreach (KernelInterface netdev in _netdevs)
            netdev.Dispose();
    }

    /// <inheritdoc/>
    protected override void AddXstats(ICollection<Xstat> xstats)
    {
        foreach (PcapRxQueue queue in RxQueues.OfType<PcapRxQueue>())
            xstats.Add(new Xstat($"rx_q{queue.Index}_truncated", queue.Truncated));
    }

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address) { }

    /// <inheritdoc/>
    protected override void OnAddMacAddress(MacAddress address) { }

    /// <inheritdoc/>
    protected override void OnSetPromiscuous(bool on) { }

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on) { }

    private PacketSource OpenSource(PcapEnd end) => end.Kind != PcapEndKind.File ? OpenSocket(end, receives: true)
        : Options.Infinite ? PcapReplay.Load(Name, end.Name)
        : PcapReader.Open(Name, end.Name, Options.Follow);

    private PacketSocket OpenSocket(PcapEnd end, bool receives)
    {
        KernelInterface netdev = KernelInterface.Open(Name, end.Name);
        _netdevs.Add(netdev);
        return PacketSocket.Open(Name, netdev, end.Kind, Options.SnapLength, receives);
    }

    private bool HasEnded => RxQueues.All(queue => ((PcapRxQueue)queue).Ended);

    // The poll loop must not call subscribers, so the end is looked for from here.
    private void TellEnd()
    {
        if (State != PortState.Started)
            return;
        if (HasEnded)
            Raise(PortEvent.LinkChanged);
        else
            _endAlarm = Eal.Alarms.Set(s_endCheck, TellEnd);
    }
}
