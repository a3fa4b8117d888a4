namespace Dataplane;

/// <summary>
/// The machine's PCI functions, and which of them the options let us have. Nothing is opened here. Control path, any
/// thread.
/// </summary>
public sealed class PciBus
{
    private readonly EalOptions _options;
    private readonly Interrupts? _interrupts;
    private readonly string _sysRoot;
    private readonly Dictionary<PciAddress, DevArgs> _allowed = [];
    private readonly HashSet<PciAddress> _blocked = [];
    private volatile IReadOnlyList<PciDevice>? _devices;

    /// <exception cref="ConfigException">An allowed or blocked device is no PCI address, or is named twice.</exception>
    internal PciBus(EalOptions options, Func<PciDevice, int, PciFunction> open, Interrupts? interrupts = null,
        string sysRoot = "/sys")
    {
        _interrupts = interrupts;
        Open = open;
        _options = options;
        _sysRoot = sysRoot;
        foreach (string text in options.Allow)
        {
            DevArgs args = DevArgs.Parse(text);
            PciAddress address = ParseOption("--allow", args.Name);
            if (!_allowed.TryAdd(address, args))
                throw new ConfigException($"--allow names {address} twice", fix: "give all its arguments in one -a");
        }
        foreach (string text in options.Block)
            _blocked.Add(ParseOption("--block", text));
    }

    /// <summary>Every function, by address, as it was when the bus was last scanned.</summary>
    public IReadOnlyList<PciDevice> Devices => _devices ?? Rescan();

    /// <summary>Functions named by <c>--allow</c>, by address; empty where all may be used that are not
    /// blocked.</summary>
    public IReadOnlyList<PciAddress> Allowed => [.. _allowed.Keys.Order()];

    /// <summary>Looks at the bus anew.</summary>
    /// <returns><see cref="Devices"/>.</returns>
    public IReadOnlyList<PciDevice> Rescan() => _devices = PciScan.All(_sysRoot);

    /// <summary>The function there as it is now, or null.</summary>
    public PciDevice? Find(PciAddress address) => PciScan.One(_sysRoot, address);

    /// <summary>
    /// Tells of functions that come and go and change drivers, until the result is disposed. A bound function that goes
    /// is told by its port too (<c>PortEvent.Removed</c>), and before it is gone.
    /// </summary>
    /// <param name="onChange">Called on the control thread for interrupts; short, and must not throw.</param>
    /// <exception cref="NativeException">The kernel gives no socket for it.</exception>
    public IDisposable Watch(Action<PciChange> onChange) => new PciWatch(this, _interrupts!, onChange);

    /// <summary>What the user said of a function: its <c>--allow</c> with arguments, or its address alone.</summary>
    public DevArgs ArgsOf(PciAddress address)
    {
        DevArgs args = WithAddress(address, _allowed.GetValueOrDefault(address));
        _ = args.GetString(DmaBackends.FdArgument);   // for whoever opens it, not for its driver
        return args;
    }

    /// <summary>Why the options bar a function, e.g. <c>blocked by --block</c>; null where they do not.</summary>
    public string? WhyBarred(PciAddress address) =>
        _options.NoPci ? "--no-pci was given" : _blocked.Contains(address) ? "blocked by --block"
        : _allowed.Count > 0 && !_allowed.ContainsKey(address) ? "not among those named by --allow" : null;

    /// <summary>Whether an interface of the kernel is up, in words: <c>up</c>, <c>down</c>, <c>unknown</c>.</summary>
    public string InterfaceState(string name) =>
        PciScan.ReadText(Path.Join(_sysRoot, "class/net", name, "operstate")) ?? "gone";

    /// <summary>What the last scan showed is out of date.</summary>
    internal void Forget() => _devices = null;

    /// <summary>Opens a function, with the address bits its driver says it has; tests put their own here.</summary>
    internal Func<PciDevice, int, PciFunction> Open { get; set; }

    /// <summary>A device's arguments, its name written as the kernel writes the address.</summary>
    internal static DevArgs WithAddress(PciAddress address, DevArgs? args) =>
        DevArgs.Parse(address + args?.Text[args.Name.Length..]);

    private static PciAddress ParseOption(string option, string text) =>
        PciAddress.TryParse(text, out PciAddress address) ? address
        : throw new ConfigException($"{option} {text}: that is no PCI address",
            "PCI is the only bus with devices to allow or block", "write it as lspci -D does, e.g. 0000:3b:00.1; "
            + "virtual devices are made with --vdev");
}
