using System.Buffers.Binary;
using Dataplane.Native;
using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>Settings, by the control queue while the port is started; before that they wait for the start. VIRTIO 1.2
/// §5.1.6.5.</summary>
internal sealed unsafe partial class VirtioPort
{
    /// <inheritdoc/>
    public override LinkStatus GetLink()
    {
        if (State != PortState.Started)
            return new LinkStatus(false);
        lock (_watchLock)
            Look();
        return new LinkStatus(_linkUp, _linkUp ? SpeedMbps() : 0, IsFullDuplex());
    }

    /// <inheritdoc/>
    protected override void OnSetMtu(int mtu)
    {
        foreach (RxQueue? queue in RxQueues)
            if (State == PortState.Started && queue is VirtioRxQueue rx
                && !_device.Has(VirtioNet.VIRTIO_NET_F_MRG_RXBUF) && mtu + FrameOverheadBytes > rx.LongestFrame)
                throw new ConfigException($"port {Name}: cannot take MTU {mtu} while it is started",
                    why: $"the buffers its device has hold frames of {rx.LongestFrame} bytes",
                    fix: "stop the port, set the MTU, start it");
    }

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address)
    {
        if (!_device.Offers(VirtioNet.VIRTIO_NET_F_CTRL_MAC_ADDR))
            base.OnSetMacAddress(address);
        if (State == PortState.Started)
            SendMacAddress(address);
    }

    /// <inheritdoc/>
    protected override void OnAddMacAddress(MacAddress address)
    {
        if (State == PortState.Started)
            SendMacTable([.. MacAddresses, address]);
    }

    /// <inheritdoc/>
    protected override void OnRemoveMacAddress(MacAddress address)
    {
        if (State == PortState.Started)
            SendMacTable([.. MacAddresses.Where(other => other != address)]);
    }

    /// <inheritdoc/>
    protected override void OnSetPromiscuous(bool on)
    {
        if (!_device.Offers(VirtioNet.VIRTIO_NET_F_CTRL_RX))
            base.OnSetPromiscuous(on);
        if (State == PortState.Started)
            SendMode("set promiscuous mode", VirtioNet.VIRTIO_NET_CTRL_RX_PROMISC, on);
    }

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on)
    {
        if (!_device.Offers(VirtioNet.VIRTIO_NET_F_CTRL_RX))
            base.OnSetAllMulticast(on);
        if (State == PortState.Started)
            SendMode("set all-multicast mode", VirtioNet.VIRTIO_NET_CTRL_RX_ALLMULTI, on);
    }

    /// <inheritdoc/>
    protected override void OnSetVlanFilter(ushort vlan, bool on)
    {
        if (State == PortState.Started)
            SendVlan(vlan, on);
    }

    /// <inheritdoc/>
    protected override void OnSetRss(RssConfig rss)
    {
        if (Info.RssFields == RssFields.None)
            base.OnSetRss(rss);
        if (State == PortState.Started)
            SendRss(rss, Redirection);
    }

    /// <inheritdoc/>
    protected override void OnSetRedirection(ReadOnlySpan<ushort> queues)
    {
        if (State == PortState.Started)
            SendRss(Rss, queues);
    }

    /// <inheritdoc/>
    protected override void AddXstats(ICollection<Xstat> xstats)
    {
        foreach (RxQueue? queue in RxQueues)
            if (queue is VirtioRxQueue rx)
                xstats.Add(new($"rx_q{rx.Index}_broken", rx.Queue is { Fault: not VirtqueueFault.None } ? 1ul : 0));
        foreach (TxQueue? queue in TxQueues)
            if (queue is VirtioTxQueue tx)
                xstats.Add(new($"tx_q{tx.Index}_broken", tx.Queue is { Fault: not VirtqueueFault.None } ? 1ul : 0));
    }

    /// <summary>All settings as they are now, to a device that was just reset and knows none.</summary>
    private void ApplySettings()
    {
        if (_control == null)
            return;
        ApplySteering();
        if (_device.Has(VirtioNet.VIRTIO_NET_F_CTRL_MAC_ADDR) && MacAddress != Info.MacAddress)
            SendMacAddress(MacAddress);
        if (_device.Has(VirtioNet.VIRTIO_NET_F_CTRL_RX))
        {
            SendMode("set promiscuous mode", VirtioNet.VIRTIO_NET_CTRL_RX_PROMISC, Promiscuous);
            SendMode("set all-multicast mode", VirtioNet.VIRTIO_NET_CTRL_RX_ALLMULTI, AllMulticast);
            SendMacTable(MacAddresses);
        }
        if (_device.Has(VirtioNet.VIRTIO_NET_F_CTRL_VLAN))
            ApplyVlanFilter();
    }

    /// <summary>A device begins with no VLAN let through (§5.1.6.5.3). QEMU's lets all through after a reset, so they
    /// are taken out one by one; one that keeps a list of those let through may refuse the first, and is
    /// right.</summary>
    private void ApplyVlanFilter()
    {
        Span<byte> bytes = stackalloc byte[2];
        for (ushort vlan = 0; vlan < 4096; vlan++)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(bytes, vlan);
            if (!_control!.TrySend("filter VLANs", VirtioNet.VIRTIO_NET_CTRL_VLAN, VirtioNet.VIRTIO_NET_CTRL_VLAN_DEL,
                bytes))
                break;
        }
        foreach (ushort vlan in VlanFilter)
            SendVlan(vlan, on: true);
    }

    private void ApplySteering()
    {
        int rx = RxQueues.Count, pairs = Math.Max(rx, TxQueues.Count);
        if (_device.Has(VirtioNet.VIRTIO_NET_F_RSS) && rx > 0 && Info.RedirectionEntries > 0)
        {
            if (Redirection.IsEmpty)
                InitializeRedirection(new RedirectionTable(rx, Info.RedirectionEntries).Entries.ToArray());
            SendRss(Rss, Redirection);
            return;
        }
        if (_device.Has(VirtioNet.VIRTIO_NET_F_MQ))
        {
            Span<byte> count = stackalloc byte[2];
            BinaryPrimitives.WriteUInt16LittleEndian(count, (ushort)Math.Max(1, pairs));
            Send("use several queues", VirtioNet.VIRTIO_NET_CTRL_MQ, VirtioNet.VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, count);
        }
        if (_device.Has(VirtioNet.VIRTIO_NET_F_HASH_REPORT))
            SendRss(Rss, default);
    }

    private void SendRss(RssConfig rss, ReadOnlySpan<ushort> table)
    {
        uint types = _device.Config.supported_hash_types;
        if (_device.Has(VirtioNet.VIRTIO_NET_F_RSS) && table.Length != 0)
            Send("set up RSS", VirtioNet.VIRTIO_NET_CTRL_MQ, VirtioNet.VIRTIO_NET_CTRL_MQ_RSS_CONFIG,
                // QEMU turns on as many queues of either kind as are told to transmit, and the others receive nothing.
                VirtioRss.Config(rss, types, table, Math.Max(RxQueues.Count, TxQueues.Count)));
        else if (_device.Has(VirtioNet.VIRTIO_NET_F_HASH_REPORT))
            Send("report hashes", VirtioNet.VIRTIO_NET_CTRL_MQ, VirtioNet.VIRTIO_NET_CTRL_MQ_HASH_CONFIG,
                VirtioRss.HashConfig(rss, types));
    }

    private void SendMode(string what, byte command, bool on) =>
        Send(what, VirtioNet.VIRTIO_NET_CTRL_RX, command, [(byte)(on ? 1 : 0)]);

    private void SendMacAddress(MacAddress address)
    {
        Span<byte> bytes = stackalloc byte[6];
        Write(bytes, address);
        Send("change its address", VirtioNet.VIRTIO_NET_CTRL_MAC, VirtioNet.VIRTIO_NET_CTRL_MAC_ADDR_SET, bytes);
    }

    /// <summary>Two tables, unicast and multicast, each a count and addresses; the port's own is not in them.</summary>
    private void SendMacTable(IReadOnlyList<MacAddress> addresses)
    {
        MacAddress[] unicast = [.. addresses.Skip(1).Where(address => !address.IsMulticast)];
        MacAddress[] multicast = [.. addresses.Where(address => address.IsMulticast)];
        var bytes = new byte[8 + 6 * (unicast.Length + multicast.Length)];
        int at = 0;
        foreach (MacAddress[] table in (MacAddress[][])[unicast, multicast])
        {
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), (uint)table.Length);
            at += 4;
            foreach (MacAddress address in table)
            {
                Write(bytes.AsSpan(at), address);
                at += 6;
            }
        }
        Send("set its address filter", VirtioNet.VIRTIO_NET_CTRL_MAC, VirtioNet.VIRTIO_NET_CTRL_MAC_TABLE_SET, bytes);
    }

    private void SendVlan(ushort vlan, bool on)
    {
        Span<byte> bytes = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, vlan);
        Send("filter VLANs", VirtioNet.VIRTIO_NET_CTRL_VLAN,
            on ? VirtioNet.VIRTIO_NET_CTRL_VLAN_ADD : VirtioNet.VIRTIO_NET_CTRL_VLAN_DEL, bytes);
    }

    private void Send(string what, byte group, byte command, ReadOnlySpan<byte> data)
    {
        if (_control == null)
            throw new DeviceException($"port {Name}: the device does not {what}",
                why: "it has no control queue (VIRTIO_NET_F_CTRL_VQ)", errno: Errno.EOPNOTSUPP);
        _control.Send(what, group, command, data);
    }

    private static void Write(Span<byte> to, MacAddress address)
    {
        for (int i = 0; i < 6; i++)
            to[i] = (byte)(address.Value >> (40 - 8 * i));
    }

    private uint SpeedMbps()
    {
        uint speed = _device.Config.speed;
        return _device.Offers(VirtioNet.VIRTIO_NET_F_SPEED_DUPLEX) && speed is > 0 and <= int.MaxValue ? speed
            : _options.SpeedMbps;
    }

    private bool IsFullDuplex() => !_device.Offers(VirtioNet.VIRTIO_NET_F_SPEED_DUPLEX) || _device.Config.duplex != 0;
}
