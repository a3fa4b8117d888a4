using System.Globalization;

namespace Dataplane;

/// <summary>
/// The commands <c>/ethdev/...</c> for the ports of a list; the list made last is the one shown. Names and parameters
/// as DPDK's, lib/ethdev/rte_ethdev_telemetry.c.
/// </summary>
internal sealed partial class PortTelemetry : IDisposable
{
    private readonly List<IDisposable> _commands = [];
    private readonly Eal _eal;
    private readonly PortMetrics _metrics;
    private Port[] _ports = [];

    internal PortTelemetry(Eal eal)
    {
        _eal = eal;
        _metrics = new PortMetrics(() => Volatile.Read(ref _ports));
        MempoolTelemetry.Register(eal.Memory);
        RingTelemetry.Register(eal.Memory);
        Add("list", (_, _) => List(), "Returns list of available ethdev ports. Takes no parameters");
        AddForPort("stats", Stats, "Returns the common stats for a port. Parameters: int port_id");
        AddForPort("xstats", Xstats,
            "Returns the extended stats for a port. Parameters: int port_id,hide_zero=true|false(Optional)");
        AddForPort("link_status", Link, "Returns the link status for a port. Parameters: int port_id");
        AddForPort("info", Info, "Returns the device info for a port. Parameters: int port_id");
        AddForPort("macs", Macs, "Returns the MAC addresses for a port. Parameters: int port_id");
        AddForPort("flow_ctrl", FlowControl, "Returns flow ctrl info for a port. Parameters: int port_id");
        AddForPort("rss_info", Rss, "Returns RSS info for a port. Parameters: int port_id");
        AddForPort("vlan", Vlan, "Returns VLAN info for a port. Parameters: int port_id");
        AddForPort("regs", Registers,
            "Returns registers info for a port. Parameters: int port_id,filter=xxx,hide_zero=true|false");
        const string queue = "Parameters: int port_id, int queue_id (Optional if only one queue)";
        AddForPort("rx_queue", RxQueue, "Returns Rx queue info for a port. " + queue);
        AddForPort("tx_queue", TxQueue, "Returns Tx queue info for a port. " + queue);
    }

    private delegate TelemetryValue? Teller(Port port, string rest);

    /// <summary>The ports as they are now; any thread.</summary>
    internal IReadOnlyList<Port> Ports => Volatile.Read(ref _ports);

    /// <summary>The ports, by id.</summary>
    internal void Show(IReadOnlyList<Port> ports) => Volatile.Write(ref _ports, [.. ports]);

    /// <summary>Takes the commands away.</summary>
    public void Dispose()
    {
        foreach (IDisposable command in _commands)
            command.Dispose();
        Show([]);
        _metrics.Dispose();
    }

    private void Add(string name, TelemetryCallback callback, string help) =>
        _commands.Add(_eal.Telemetry.Register("/ethdev/" + name, callback, help));

    private void AddForPort(string name, Teller teller, string help) => Add(name, (_, p) => OfPort(p, teller), help);

    private TelemetryArray List()
    {
        var ids = new TelemetryArray();
        foreach (Port port in Volatile.Read(ref _ports))
            ids.Add(port.Id);
        return ids;
    }

    // A port that is being configured or closed is waited for; what is shown is never half of it.
    private TelemetryValue? OfPort(string? parameters, Teller teller)
    {
        if (TelemetryParameters.Numbers(parameters, 1) is not [uint id]
            || Array.Find(Volatile.Read(ref _ports), port => port.Id == id) is not { } port)
            return null;
        int comma = parameters!.IndexOf(',', StringComparison.Ordinal);
        lock (port.Gate)
            return port.State == PortState.Closed ? null : teller(port, comma < 0 ? "" : parameters[(comma + 1)..]);
    }

    private static TelemetryDict Stats(Port port, string rest)
    {
        PortStats stats = port.GetStats();
        return new()
        {
            { "ipackets", stats.RxPackets }, { "opackets", stats.TxPackets }, { "ibytes", stats.RxBytes },
            { "obytes", stats.TxBytes }, { "imissed", stats.RxMissed }, { "ierrors", stats.RxErrors },
            { "oerrors", stats.TxErrors }, { "rx_nombuf", stats.RxNoMbuf },
        };
    }

    private static TelemetryDict Xstats(Port port, string rest)
    {
        bool hideZero = HidesZero(rest);
        var told = new TelemetryDict();
        foreach (Xstat xstat in port.GetXstats())
            if (!hideZero || xstat.Value != 0)
                told.Add(xstat.Name, xstat.Value);
        return told;
    }

    private static TelemetryDict Link(Port port, string rest)
    {
        LinkStatus link = port.GetLink();
        return !link.Up ? new() { { "status", "DOWN" } } : new()
        {
            { "status", "UP" }, { "speed", link.SpeedMbps == 0 ? uint.MaxValue : link.SpeedMbps },   // unknown
            { "duplex", link.FullDuplex ? "full-duplex" : "half-duplex" },
        };
    }

    private static TelemetryArray Macs(Port port, string rest)
    {
        var told = new TelemetryArray();
        foreach (Net.MacAddress address in port.MacAddresses)
            told.Add(address.ToString().ToUpperInvariant());
        return told;
    }

    private static TelemetryDict? Registers(Port port, string rest)
    {
        bool hideZero = HidesZero(rest);
        string? filter = Array.Find(rest.Split(','),
            part => part.StartsWith("filter=", StringComparison.Ordinal))?["filter=".Length..];
        RegisterValue[] registers = [.. port.ReadRegisters().Where(register =>
            filter == null || register.Name.Contains(filter, StringComparison.OrdinalIgnoreCase))];
        var told = new TelemetryDict { { "register_length", registers.Length }, { "register_width", sizeof(uint) } };
        told.AddHex("register_offset", 0);
        told.AddHex("version", 0);
        foreach ((int group, RegisterValue[] part) in registers.Chunk(TelemetryDict.MaxEntries).Index())
        {
            var shown = new TelemetryDict();
            foreach (RegisterValue register in part.Where(register => !hideZero || register.Value != 0))
                shown.AddHex(register.Name, register.Value);
            told.Add(string.Create(CultureInfo.InvariantCulture, $"group_{group}"), shown);
        }
        return told;
    }

    private static bool HidesZero(string rest) => rest.Split(',').Contains("hide_zero=true");
}
