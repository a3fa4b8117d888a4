using Dataplane.Net;

namespace Dataplane.Pmd;

/// <content>What is set at the bond is set at every member; and the counters.</content>
internal sealed partial class BondingPort
{
    /// <inheritdoc/>
    protected override void OnSetMtu(int mtu) => ForEachMember(member =>
    {
        if (member.Port.Mtu != mtu)
            member.Port.SetMtu(mtu);
    });

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address) => ForEachMember(member =>
        Member.Try(() => member.Port.SetMacAddress(address)));

    /// <inheritdoc/>
    protected override void OnAddMacAddress(MacAddress address) => ForEachMember(member =>
        member.Port.AddMacAddress(address));

    /// <inheritdoc/>
    protected override void OnRemoveMacAddress(MacAddress address) => ForEachMember(member =>
        member.Port.RemoveMacAddress(address));

    /// <inheritdoc/>
    protected override void OnSetPromiscuous(bool on) => ForEachMember(member => member.Port.SetPromiscuous(on));

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on) => ForEachMember(member =>
    {
        // LACP needs it where a member can hold no address more.
        if (on || Options.Mode != BondingMode.Lacp || member.Port.MacAddresses.Contains(LacpPdu.SlowAddress))
            member.Port.SetAllMulticast(on);
    });

    /// <inheritdoc/>
    protected override void OnSetRss(RssConfig rss) => ForEachMember(member => member.Port.SetRss(rss));

    /// <inheritdoc/>
    protected override void OnSetRedirection(ReadOnlySpan<ushort> queues)
    {
        ushort[] table = queues.ToArray();
        ForEachMember(member => member.Port.SetRedirection(table));
    }

    /// <inheritdoc/>
    protected override void OnSetVlanFilter(ushort vlan, bool on) => ForEachMember(member =>
        member.Port.SetVlanFilter(vlan, on));

    /// <inheritdoc/>
    protected override void AddXstats(ICollection<Xstat> xstats)
    {
        ulong idle = 0, copies = 0;
        foreach (BondingRxQueue? queue in RxQueues.Cast<BondingRxQueue?>())
            idle += queue?.IdleDropped ?? 0;
        foreach (BondingTxQueue? queue in TxQueues.Cast<BondingTxQueue?>())
            copies += queue?.CopiesLost ?? 0;
        xstats.Add(new("bond_failovers", _failovers));
        xstats.Add(new("bond_member_changes", _changes));
        xstats.Add(new("bond_rx_not_in_use", idle));
        xstats.Add(new("bond_tx_copies_lost", copies));
        foreach (Member member in _members)
        {
            if (member.Lacp is { } lacp)
                AddLacp(xstats, $"member{member.Index}_", lacp);
            if (member.IsClosed)
                continue;
            PortStats stats = member.Port.GetStats();
            string prefix = $"member{member.Index}_";
            xstats.Add(new(prefix + "rx_packets", stats.RxPackets));
            xstats.Add(new(prefix + "tx_packets", stats.TxPackets));
            xstats.Add(new(prefix + "rx_bytes", stats.RxBytes));
            xstats.Add(new(prefix + "tx_bytes", stats.TxBytes));
            xstats.Add(new(prefix + "rx_missed", stats.RxMissed));
            xstats.Add(new(prefix + "rx_errors", stats.RxErrors));
            xstats.Add(new(prefix + "tx_errors", stats.TxErrors));
        }
    }

    private static void AddLacp(ICollection<Xstat> xstats, string prefix, LacpLink lacp)
    {
        xstats.Add(new(prefix + "lacp_rx", lacp.PdusReceived));
        xstats.Add(new(prefix + "lacp_tx", lacp.PdusSent));
        xstats.Add(new(prefix + "lacp_rx_bad", lacp.PdusBad));
        xstats.Add(new(prefix + "lacp_rx_dropped", lacp.Dropped));
        xstats.Add(new(prefix + "lacp_markers", lacp.MarkersAnswered));
    }

    // Before each start: the bond's settings, as far as the member can. One that cannot take the address must receive
    // for any.
    private void Dress(Member member)
    {
        Port port = member.Port;
        if (port.MacAddress != MacAddress && !Member.Try(() => port.SetMacAddress(MacAddress)))
            Member.Try(() => port.SetPromiscuous(true));
        if (port.Mtu != Mtu)
            port.SetMtu(Mtu);
        if (Options.Mode != BondingMode.Lacp || port.MacAddresses.Contains(LacpPdu.SlowAddress))
            return;
        if (!Member.Try(() => port.AddMacAddress(LacpPdu.SlowAddress))
            && !Member.Try(() => port.SetAllMulticast(true)))
            Member.Try(() => port.SetPromiscuous(true));
    }
}
