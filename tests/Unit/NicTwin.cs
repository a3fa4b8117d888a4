using Dataplane.Net;

namespace Dataplane.Tests;

/// <summary>What can be wrong with a NIC's driver, for the suite that must notice it.</summary>
public enum NicDefect
{
    None,
    /// <summary>A new key changes nothing.</summary>
    KeyIgnored,
    /// <summary>The device forgets its key when it is stopped.</summary>
    KeyLostOnStop,
    /// <summary>A new redirection table changes nothing.</summary>
    TableIgnored,
    /// <summary>The hash is not put into the mbuf.</summary>
    NoHash,
    /// <summary>The tag is taken out, and the mbuf does not say so.</summary>
    StripsInSilence,
    /// <summary>The tag is taken out though nobody asked.</summary>
    StripsAlways,
    /// <summary>The tag put in has no priority.</summary>
    InsertsVlanAlone,
    /// <summary>A VLAN taken out of the filter still passes.</summary>
    VlanFilterSticks,
    /// <summary>Every checksum is said to be right.</summary>
    ChecksumsAlwaysGood,
    /// <summary>A right checksum of a short packet is said to be wrong.</summary>
    ChecksumsSometimesBad,
    /// <summary>UDP checksums are not filled in.</summary>
    UdpNotFilled,
    /// <summary>Every segment has the first one's sequence number.</summary>
    SegmentsUnnumbered,
    /// <summary>Every segment says it is the last.</summary>
    SegmentsAllLast,
    /// <summary>The last segment of a scattered packet is a byte short.</summary>
    ScatterCutsShort,
    /// <summary>Frames of the full MTU are dropped.</summary>
    MtuCountsTheHeader,
    /// <summary>Want of mbufs is not counted.</summary>
    NoMbufUncounted,
    /// <summary>Promiscuous mode cannot be turned off.</summary>
    PromiscuousSticks,
    /// <summary>Addresses added are forgotten when it is stopped.</summary>
    AddressesLostOnStop,
    /// <summary>A receive descriptor is never done.</summary>
    StatusNeverDone,
    /// <summary>No interrupt comes.</summary>
    InterruptLost,
    /// <summary>An interrupt comes though no packet has.</summary>
    InterruptOnSilence,
    /// <summary>Interrupts come though they were turned off.</summary>
    InterruptAlways,
    /// <summary>Changes of the link are not told.</summary>
    LinkUntold,
    /// <summary>The EEPROM's words come with their bytes swapped.</summary>
    EepromSwapped,
    /// <summary>A register has two names.</summary>
    RegisterTwice,
    /// <summary>Flow control is what it always was.</summary>
    FlowControlFixed,
}

/// <summary>A NIC in managed memory, with every feature the suite knows. Two of them are joined.</summary>
internal sealed class NicTwinDriver(NicDefect defect = NicDefect.None) : PortDriver
{
    public override string Name => "net_twin";

    public override string Help => "none";

    public override Port Create(PortContext context)
    {
        context.Args.ThrowIfUnused();
        var port = new NicTwin(context, defect);
        if (context.Ports?.Ports.LastOrDefault() is NicTwin { Peer: null } other)
            (port.Peer, other.Peer) = (other, port);
        return port;
    }
}

internal sealed class NicTwin : Port
{
    internal static readonly RssFields Hashed = RssFields.All & ~(RssFields.Ipv6Udp | RssFields.Ipv4Udp);

    private readonly HashSet<MacAddress> _filter = [];
    private readonly HashSet<ushort> _vlans = [];
    private Toeplitz _hash = Toeplitz.Default;
    private RssFields _fields;
    private ushort[] _table = [];
    private bool _promiscuous, _allMulticast, _linkUp = true;
    private FlowControl _flowControl = new(true, true, false);

    internal NicTwin(PortContext context, NicDefect defect) : base(context)
    {
        Defect = defect;
        Info = new PortInfo
        {
            DriverName = "net_twin",
            MaxRxQueues = 4,
            MaxTxQueues = 4,
            RxOffloads = RxOffloads.VlanStrip | RxOffloads.VlanFilter | RxOffloads.Ipv4Checksum
                | RxOffloads.UdpChecksum | RxOffloads.TcpChecksum | RxOffloads.Scatter | RxOffloads.RssHash,
            TxOffloads = TxOffloads.VlanInsert | TxOffloads.Ipv4Checksum | TxOffloads.UdpChecksum
                | TxOffloads.TcpChecksum | TxOffloads.TcpTso | TxOffloads.MultiSegments,
            DefaultDescriptors = 128,
            MaxDescriptors = 128,
            MaxMacAddresses = 8,
            RssFields = Hashed,
            RssKeyBytes = 40,
            RedirectionEntries = 128,
            EepromBytes = 64,
            RxInterrupts = true,
            LinkInterrupts = true,
            MacAddress = MacAddress.Local(0x7700_00u + context.Id),
        };
    }

    public override PortInfo Info { get; }

    internal NicDefect Defect { get; }

    internal NicTwin? Peer { get; set; }

    public override LinkStatus GetLink() => new(State == PortState.Started && _linkUp, 10_000);

    /// <summary>A frame comes over the wire.</summary>
    internal void Arrive(ReadOnlySpan<byte> frame)
    {
        if (!GetLink().Up || !IsForUs(frame))
            return;
        int longest = Mtu + FrameOverheadBytes - (Defect == NicDefect.MtuCountsTheHeader ? 22 : 0);
        if (frame.Length > longest)
            return;
        uint hash = Hash(frame);
        int queue = _table.Length == 0 || _fields == 0 ? 0 : _table[(int)(hash % (uint)_table.Length)];
        ((NicTwinRx)RxQueues[queue]).Take(frame, hash);
    }

    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) =>
        new NicTwinRx(this, index, pool, config);

    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) => new NicTwinTx(this, index);

    protected override void OnConfigure(PortConfig config)
    {
        _table = [.. Enumerable.Range(0, Info.RedirectionEntries)
            .Select(i => (ushort)(i % Math.Max(1, config.RxQueues)))];
        _vlans.Clear();
        _fields = (config.Rss?.Fields ?? RssFields.All) & Hashed;
        _hash = new Toeplitz(config.Rss?.Key ?? Toeplitz.MicrosoftKey.ToArray());
    }

    protected override void OnStart()
    {
        InitializeRedirection(_table);
        _filter.UnionWith(MacAddresses.Take(Defect == NicDefect.AddressesLostOnStop ? 1 : 99));
    }

    protected override void OnStop()
    {
        if (Defect == NicDefect.AddressesLostOnStop)
            _filter.Clear();
        if (Defect == NicDefect.KeyLostOnStop)
            _hash = Toeplitz.Default;
    }

    protected override void OnSetRss(RssConfig rss)
    {
        _fields = rss.Fields & Hashed;
        if (Defect != NicDefect.KeyIgnored)
            _hash = new Toeplitz(rss.Key ?? Toeplitz.MicrosoftKey.ToArray());
    }

    protected override void OnSetRedirection(ReadOnlySpan<ushort> queues)
    {
        if (Defect != NicDefect.TableIgnored)
            _table = queues.ToArray();
    }

    protected override void OnSetVlanFilter(ushort vlan, bool on) =>
        _ = on || Defect == NicDefect.VlanFilterSticks ? _vlans.Add(vlan) : _vlans.Remove(vlan);

    protected override void OnSetMtu(int mtu) { }

    protected override void OnSetMacAddress(MacAddress address)
    {
        _filter.Remove(MacAddress);
        _filter.Add(address);
    }

    protected override void OnAddMacAddress(MacAddress address) => _filter.Add(address);

    protected override void OnRemoveMacAddress(MacAddress address) => _filter.Remove(address);

    protected override void OnSetPromiscuous(bool on) => _promiscuous = on || Defect == NicDefect.PromiscuousSticks;

    protected override void OnSetAllMulticast(bool on) => _allMulticast = on;

    protected override void OnSetLink(bool up)
    {
        bool changed = up != _linkUp;
        _linkUp = up;
        if (changed && Defect != NicDefect.LinkUntold)
            Raise(PortEvent.LinkChanged);
    }

    protected override FlowControl OnGetFlowControl() => _flowControl;

    protected override void OnSetFlowControl(FlowControl control)
    {
        if (Defect != NicDefect.FlowControlFixed)
            _flowControl = control;
    }

    protected override void OnReadEeprom(int offset, Span<byte> bytes)
    {
        Span<byte> all = stackalloc byte[Info.EepromBytes];
        Info.MacAddress.Write(all);
        if (Defect == NicDefect.EepromSwapped)
            for (int i = 0; i < all.Length; i += 2)
                (all[i], all[i + 1]) = (all[i + 1], all[i]);
        all.Slice(offset, bytes.Length).CopyTo(bytes);
    }

    protected override IReadOnlyList<RegisterValue> OnReadRegisters() =>
        [new("CTRL", 0, 1), new("STATUS", Defect == NicDefect.RegisterTwice ? 0u : 8, 3)];

    private bool IsForUs(ReadOnlySpan<byte> frame)
    {
        MacAddress to = MacAddress.Read(frame);
        bool known = _promiscuous || to == MacAddress.Broadcast || _filter.Contains(to)
            || (to.IsMulticast && _allMulticast);
        bool tagged = frame[12] == 0x81 && frame[13] == 0;
        return known && (!tagged || (Config.RxOffloads & RxOffloads.VlanFilter) == 0
            || _vlans.Contains((ushort)((frame[14] << 8 | frame[15]) & 0xfff)));
    }

    private uint Hash(ReadOnlySpan<byte> frame)
    {
        uint type = PacketParser.Parse(frame, out HeaderLengths lengths);
        bool v4 = PacketType.IsIpv4(type), v6 = PacketType.IsIpv6(type);
        if (!v4 && !v6)
            return 0;
        bool ports = (type & PacketType.L4Mask) == PacketType.L4Tcp
            && (_fields & (v4 ? RssFields.Ipv4Tcp : RssFields.Ipv6Tcp)) != 0;
        return _hash.Hash(frame.Slice(lengths.L2 + (v4 ? 12 : 8), (v4 ? 8 : 32) + (ports ? 4 : 0)));
    }
}
