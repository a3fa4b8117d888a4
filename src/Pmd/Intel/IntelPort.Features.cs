using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>Addresses, receive modes, RSS, flow control, NVM, LED.</summary>
internal abstract partial class IntelPort
{
    /// <inheritdoc/>
    protected override void OnSetLink(bool up)
    {
        bool changed;
        lock (Device)
        {
            bool was = Device.GetLink().Up;
            Device.SetLink(up);
            changed = Device.GetLink().Up != was;
        }
        if (changed)
            Raise(PortEvent.LinkChanged);       // at once, and no interrupt will say so
    }

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address)
    {
        lock (Device)
            Device.SetAddress(0, address, valid: true);
    }

    /// <inheritdoc/>
    protected override void OnAddMacAddress(MacAddress address)
    {
        List<MacAddress> after = [.. MacAddresses, address];
        int unicast = after.FindAll(a => !a.IsMulticast).Count;
        if (unicast > UnicastPlaces)
            throw new ConfigException($"port {Name}: cannot add address {address}",
                why: $"the device holds {UnicastPlaces} unicast addresses", fix: "use promiscuous mode");
        SetAddresses(after);
    }

    /// <inheritdoc/>
    protected override void OnRemoveMacAddress(MacAddress address) =>
        SetAddresses([.. MacAddresses.Where(other => other != address)]);

    /// <inheritdoc/>
    protected override void OnSetPromiscuous(bool on)
    {
        _promiscuous = on;
        SetReceiveModes();
    }

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on)
    {
        _allMulticast = on;
        SetReceiveModes();
    }

    /// <inheritdoc/>
    protected override void OnSetVlanFilter(ushort vlan, bool on)
    {
        lock (Device)
            Device.SetVlan(vlan, on);
    }

    /// <inheritdoc/>
    protected override void OnSetRss(RssConfig rss)
    {
        lock (Device)
            if (State == PortState.Started)
                Device.SetHash(rss.Key ?? Toeplitz.MicrosoftKey, HashControl(rss.Fields & Info.RssFields));
    }

    /// <inheritdoc/>
    protected override void OnSetRedirection(ReadOnlySpan<ushort> queues)
    {
        lock (Device)
            if (State == PortState.Started)
                Device.SetRedirection(queues, RedirectionShift);
    }

    /// <inheritdoc/>
    protected override FlowControl OnGetFlowControl() => Device.GetFlowControl();

    /// <inheritdoc/>
    protected override void OnSetFlowControl(FlowControl control)
    {
        lock (Device)
            Device.SetFlowControl(control);
    }

    /// <inheritdoc/>
    protected override void OnSetLed(bool on)
    {
        lock (Device)
            Device.SetLed(on);
    }

    /// <inheritdoc/>
    protected override void OnReadEeprom(int offset, Span<byte> bytes)
    {
        lock (Device)
            Device.ReadNvm(offset, bytes);
    }

    private void SetReceiveModes()
    {
        lock (Device)
            if (State == PortState.Started)
                Registers.Write(IntelRegs.Rctl, ReceiveControlNow());
    }

    private void SetAddresses(List<MacAddress> addresses)
    {
        lock (Device)
            ApplyAddresses(addresses);
    }
}
