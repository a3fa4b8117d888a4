namespace Dataplane;

/// <summary>Features of NICs. Each throws where the driver has none, as <see cref="PortInfo"/> says
/// beforehand.</summary>
public abstract partial class Port
{
    private RssConfig _rss = new();
    private ushort[]? _redirection;
    private readonly HashSet<ushort> _vlans = [];

    /// <summary>How received packets are spread over queues. Any time after configuring.</summary>
    public RssConfig Rss => _rss;

    /// <summary>The redirection table in force: the queue of each value of the hash's low bits. Empty without
    /// RSS.</summary>
    public ReadOnlySpan<ushort> Redirection => _redirection;

    /// <summary>The VLANs let through while <see cref="RxOffloads.VlanFilter"/> is on.</summary>
    public IReadOnlyCollection<ushort> VlanFilter => _vlans;

    /// <summary>Sets what is hashed and with which key.</summary>
    /// <exception cref="ConfigException">A key of another length, or a kind of packet the port cannot hash.</exception>
    /// <exception cref="DataplaneException">The driver cannot.</exception>
    public void SetRss(RssConfig rss)
    {
        PortRules.CheckRss(this, rss);
        RequireOpen("change the RSS of");
        OnSetRss(rss);
        _rss = rss;
    }

    /// <summary>Sets the redirection table.</summary>
    /// <param name="queues"><see cref="PortInfo.RedirectionEntries"/> numbers of configured receive queues.</param>
    /// <exception cref="ConfigException">Another number of entries, or a queue there is not.</exception>
    /// <exception cref="DataplaneException">The driver cannot.</exception>
    public void SetRedirection(ReadOnlySpan<ushort> queues)
    {
        PortRules.CheckRedirection(this, queues);
        RequireOpen("change the redirection table of");
        ushort[] table = queues.ToArray();
        OnSetRedirection(table);
        _redirection = table;
    }

    /// <summary>Lets a VLAN through the filter, or no more. Frames without a tag always pass.</summary>
    /// <param name="vlan">0 to 4095.</param>
    /// <param name="on">Let it through.</param>
    /// <exception cref="ConfigException">Out of range, or <see cref="RxOffloads.VlanFilter"/> is not on.</exception>
    public void SetVlanFilter(ushort vlan, bool on)
    {
        if (vlan > 4095 || (Config.RxOffloads & RxOffloads.VlanFilter) == 0)
            throw new ConfigException($"port {Name}: cannot filter VLAN {vlan}",
                why: vlan > 4095 ? "a VLAN is 0 to 4095" : "the filter is not on",
                fix: vlan > 4095 ? null : "configure the port with RxOffloads.VlanFilter");
        RequireOpen("filter VLANs of");
        OnSetVlanFilter(vlan, on);
        _ = on ? _vlans.Add(vlan) : _vlans.Remove(vlan);
    }

    /// <summary>Pause frames as they are in force: settings, or what was negotiated with the far end.</summary>
    /// <exception cref="DataplaneException">The driver cannot.</exception>
    public FlowControl GetFlowControl()
    {
        RequireOpen("tell the flow control of");
        return OnGetFlowControl();
    }

    /// <summary>Sets pause frames.</summary>
    /// <exception cref="DataplaneException">The driver cannot.</exception>
    public void SetFlowControl(FlowControl control)
    {
        RequireOpen("change the flow control of");
        OnSetFlowControl(control);
    }

    /// <summary>Blinks or lights the port's LED to find it, or gives it back to the device.</summary>
    /// <exception cref="DataplaneException">The driver cannot.</exception>
    public void SetLed(bool on)
    {
        RequireOpen("light a LED of");
        OnSetLed(on);
    }

    /// <summary>Reads the NIC's EEPROM or NVM.</summary>
    /// <param name="offset">Bytes, even.</param>
    /// <param name="bytes">An even number of them, inside <see cref="PortInfo.EepromBytes"/>.</param>
    /// <exception cref="ConfigException">Not even, or outside.</exception>
    /// <exception cref="DataplaneException">The driver cannot, or the device does not answer.</exception>
    public void ReadEeprom(int offset, Span<byte> bytes)
    {
        if (offset < 0 || offset % 2 != 0 || bytes.Length % 2 != 0
            || bytes.Length > Info.EepromBytes - offset)
            throw new ConfigException($"port {Name}: cannot read {bytes.Length} bytes of EEPROM at {offset}",
                why: $"it has {Info.EepromBytes} bytes, read in words of 2");
        RequireOpen("read the EEPROM of");
        OnReadEeprom(offset, bytes);
    }

    /// <summary>All registers by name, for a person to read. Registers that reading changes are left out.</summary>
    public IReadOnlyList<RegisterValue> ReadRegisters()
    {
        RequireOpen("show the registers of");
        return OnReadRegisters();
    }

    /// <summary>Version of the firmware or NVM image, or null.</summary>
    public virtual string? FirmwareVersion => null;

    /// <summary>The NIC's clock, nanoseconds since some point of its own; what <see cref="RxOffloads.Timestamp"/>
    /// stamps with.</summary>
    /// <exception cref="DataplaneException">The driver cannot.</exception>
    public ulong ReadClock()
    {
        RequireOpen("tell the clock of");
        return OnReadClock();
    }

    /// <summary>For drivers: sets the table to what the device was given when it started.</summary>
    protected void InitializeRedirection(ushort[] table) => _redirection = table;

    /// <summary>Apply what is hashed; checked.</summary>
    protected virtual void OnSetRss(RssConfig rss) => throw Unsupported("change its RSS");

    /// <summary>Apply a redirection table; checked.</summary>
    protected virtual void OnSetRedirection(ReadOnlySpan<ushort> queues) =>
        throw Unsupported("change its redirection table");

    /// <summary>Let a VLAN through, or not; checked.</summary>
    protected virtual void OnSetVlanFilter(ushort vlan, bool on) => throw Unsupported("filter VLANs");

    /// <summary>Tell pause frames.</summary>
    protected virtual FlowControl OnGetFlowControl() => throw Unsupported("tell its flow control");

    /// <summary>Apply pause frames.</summary>
    protected virtual void OnSetFlowControl(FlowControl control) => throw Unsupported("change its flow control");

    /// <summary>Light the LED.</summary>
    protected virtual void OnSetLed(bool on) => throw Unsupported("light a LED");

    /// <summary>Read the EEPROM; checked.</summary>
    protected virtual void OnReadEeprom(int offset, Span<byte> bytes) => throw Unsupported("read its EEPROM");

    /// <summary>Read the registers.</summary>
    protected virtual IReadOnlyList<RegisterValue> OnReadRegisters() => throw Unsupported("show its registers");

    /// <summary>Read the clock.</summary>
    protected virtual ulong OnReadClock() => throw Unsupported("tell its clock");
}
