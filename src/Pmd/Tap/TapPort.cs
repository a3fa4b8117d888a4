using Dataplane.Native;
using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>The <c>net_tap</c> driver: a network interface of the kernel whose other end is a port.</summary>
public sealed class TapPmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_tap";

    /// <inheritdoc/>
    public override string Help => TapOptions.Help;

    /// <inheritdoc/>
    public override Port Create(PortContext context) =>
        new TapPort(context, TapOptions.Parse(context.Args, isTap: true));
}

/// <summary>The <c>net_tun</c> driver: like <c>net_tap</c>, with IP packets in place of Ethernet frames.</summary>
public sealed class TunPmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_tun";

    /// <inheritdoc/>
    public override string Help => TapOptions.Help.Replace(", mac=ADDRESS|fixed", "", StringComparison.Ordinal)
        .Replace("dtap", "dtun", StringComparison.Ordinal);

    /// <inheritdoc/>
    public override Port Create(PortContext context) =>
        new TapPort(context, TapOptions.Parse(context.Args, isTap: false));
}

/// <summary>The arguments of a tap or tun port.</summary>
/// <param name="IsTap">Ethernet frames; otherwise IP packets.</param>
/// <param name="Interface">Name to give the interface; %d stands for the first free number.</param>
/// <param name="Mac">Address to give it, null to let the kernel choose.</param>
/// <param name="Mtu">MTU to give it, 0 to leave it.</param>
/// <param name="Persist">The interface stays when the port is closed.</param>
internal sealed record TapOptions(bool IsTap, string Interface, MacAddress? Mac, int Mtu, bool Persist)
{
    internal const string Help = "iface=NAME (dtap%d), mac=ADDRESS|fixed, mtu=BYTES, persist=0|1 (0) keep the "
        + "interface";

    /// <summary>Reads and checks the arguments.</summary>
    /// <exception cref="ConfigException">An unknown or impossible one.</exception>
    internal static TapOptions Parse(DevArgs args, bool isTap)
    {
        string name = args.GetString("iface") ?? (isTap ? "dtap%d" : "dtun%d");
        if (name.Length is 0 or >= SockIos.IFNAMSIZ || name.Contains('/') || name.Any(char.IsWhiteSpace))
            throw new ConfigException($"device '{args.Name}': iface={name} cannot name an interface",
                fix: $"1 to {SockIos.IFNAMSIZ - 1} characters, no blank and no slash");
        string? text = isTap ? args.GetString("mac") : null;
        MacAddress? mac = text switch
        {
            null => null,
            "fixed" => new MacAddress(0x0064_7461_7000ul + Number(args.Name)),   // 00:'d':'t':'a':'p':N, as DPDK has it
            _ when MacAddress.TryParse(text, out MacAddress given) && !given.IsMulticast && given.Value != 0 => given,
            _ => throw new ConfigException($"device '{args.Name}': mac={text} is no unicast address",
                fix: "write mac=02:00:00:00:00:01, or mac=fixed"),
        };
        var options = new TapOptions(isTap, name, mac, (int)args.GetNumber("mtu", 0, 68, 65_521),
            args.GetFlag("persist"));
        args.ThrowIfUnused();
        return options;
    }

    private static byte Number(string device) =>
        byte.TryParse(device.AsSpan().TrimStart("netapu_"), out byte number) ? number : (byte)0;
}

/// <summary>A TAP or TUN interface. It exists as long as the port, unless it is to stay.</summary>
internal sealed class TapPort : Port
{
    private readonly List<TunFile> _files = [];
    private LinkStatus _link;
    private bool _removed;

    internal TapPort(PortContext context, TapOptions options) : base(context)
    {
        Options = options;
        _files.Add(new TunFile(Name, options.Interface, options.IsTap));
        try
        {
            Netdev = KernelInterface.Open(Name, _files[0].InterfaceName);
            if (options.Persist)
                _files[0].SetPersist();
            if (options.Mac is { } mac)
                Netdev.SetMac(mac);
            if (options.Mtu != 0)
                Netdev.SetMtu(options.Mtu);
            Mtu = Netdev.GetMtu();
            Info = MakeInfo();
        }
        catch
        {
            Netdev?.Dispose();
            _files[0].Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    internal TapOptions Options { get; }

    internal KernelInterface Netdev { get; }

    /// <inheritdoc/>
    /// <remarks>
    /// Every call asks the kernel; changes since the last call are told as events. In another namespace the interface
    /// cannot be asked: it then counts as up while the port is started.
    /// </remarks>
    public override LinkStatus GetLink()
    {
        bool attached = _files[0].IsAttached;
        LinkStatus link = !attached || State != PortState.Started ? new LinkStatus(false)
            : Netdev.Exists ? Netdev.GetLink() : new LinkStatus(true);
        if (link != _link)
        {
            _link = link;
            Raise(PortEvent.LinkChanged);
        }
        if (!attached && !_removed)
        {
            _removed = true;
            Raise(PortEvent.Removed);
        }
        return link;
    }

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) =>
        new TapRxQueue(this, index, pool, config);

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) => new TapTxQueue(this, index);

    /// <inheritdoc/>
    protected override void OnStart()
    {
        // The kernel spreads packets over all files of the interface, so there is one per receive queue and no more;
        // transmit queues share them.
        while (_files.Count < RxQueues.Count)
            _files.Add(new TunFile(Name, _files[0].InterfaceName, Options.IsTap));
        while (_files.Count > Math.Max(1, RxQueues.Count))
            DropLastFile();
        bool whole = (Config.RxOffloads & RxOffloads.TcpLro) != 0;
        _files[0].SetOffload(whole
            ? IfTun.TUN_F_CSUM | IfTun.TUN_F_TSO4 | IfTun.TUN_F_TSO6 | IfTun.TUN_F_TSO_ECN : 0);
        for (int i = 0; i < RxQueues.Count; i++)
            ((TapRxQueue)RxQueues[i]).Open(_files[i]);
        for (int i = 0; i < TxQueues.Count; i++)
            ((TapTxQueue)TxQueues[i]).Open(_files[i % _files.Count]);
        if (Netdev.Exists)
            Netdev.SetUpAndWait();
    }

    /// <inheritdoc/>
    protected override void OnSetLink(bool up) => _files[0].SetCarrier(up);

    /// <inheritdoc/>
    protected override void OnSetMtu(int mtu)
    {
        Netdev.SetMtu(mtu);
        foreach (TxQueue? queue in TxQueues)
            (queue as TapTxQueue)?.SetMtu(mtu);
    }

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address) => Netdev.SetMac(address);

    /// <inheritdoc/>
    /// <remarks>A port on a tap interface receives every frame the kernel sends there, whatever its address.</remarks>
    protected override void OnSetPromiscuous(bool on) { }

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on) { }

    /// <inheritdoc/>
    protected override void OnClose()
    {
        Netdev.Dispose();
        while (_files.Count > 0)
            DropLastFile();
    }

    private void DropLastFile()
    {
        _files[^1].Dispose();
        _files.RemoveAt(_files.Count - 1);
    }

    private PortInfo MakeInfo() => new()
    {
        DriverName = Options.IsTap ? "net_tap" : "net_tun",
        InterfaceName = _files[0].InterfaceName,
        MaxRxQueues = MaxQueues,
        MaxTxQueues = MaxQueues,
        RxOffloads = RxOffloads.TcpLro | RxOffloads.Scatter | (Options.IsTap ? RxOffloads.VlanStrip : 0),
        TxOffloads = TxOffloads.Ipv4Checksum | TxOffloads.TcpChecksum | TxOffloads.UdpChecksum | TxOffloads.TcpTso
            | TxOffloads.MultiSegments | (Options.IsTap ? TxOffloads.VlanInsert : 0),
        MaxMtu = 65_521,
        RxInterrupts = true,
        MacAddress = Netdev.GetMac(),
    };
}
