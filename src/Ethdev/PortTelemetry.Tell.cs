using System.Globalization;

namespace Dataplane;

/// <content>What a port and its queues are set to; keys and names as DPDK's.</content>
internal sealed partial class PortTelemetry
{
    private static TelemetryDict Info(Port port, string rest)
    {
        PortConfig config = port.Config;
        var told = new TelemetryDict
        {
            { "name", port.Name }, { "state", 1 }, { "nb_rx_queues", config.RxQueues },
            { "nb_tx_queues", config.TxQueues }, { "port_id", port.Id }, { "mtu", port.Mtu },
            { "rx_mbuf_size_min", SmallestBuffer(port) },
            { "mac_addr", port.MacAddress.ToString().ToUpperInvariant() }, { "promiscuous", port.Promiscuous ? 1 : 0 },
            { "scattered_rx", Has(config.RxOffloads, RxOffloads.Scatter) },
            { "all_multicast", port.AllMulticast ? 1 : 0 },
            { "dev_started", port.State == PortState.Started ? 1 : 0 },
            { "lro", Has(config.RxOffloads, RxOffloads.TcpLro) },
            { "dev_configured", port.State == PortState.Attached ? 0 : 1 },
            { "rxq_state", StatesOf(port.RxQueues.Select(queue => queue is { IsRunning: true })) },
            { "txq_state", StatesOf(port.TxQueues.Select(queue => queue is { IsRunning: true })) },
            { "numa_node", port.Info.NumaNode },
        };
        told.AddHex("dev_flags", port.Info.LinkInterrupts ? 2u : 0);   // RTE_ETH_DEV_INTR_LSC
        told.Add("rx_offloads", NamesOf(config.RxOffloads));
        told.Add("tx_offloads", NamesOf(config.TxOffloads));
        told.AddHex("ethdev_rss_hf", config.Rss == null ? 0 : HashFlags(port.Rss.Fields & port.Info.RssFields));
        if (port.FirmwareVersion is { } firmware)
            told.Add("fw_version", firmware);
        return told;
    }

    private static TelemetryDict FlowControl(Port port, string rest)
    {
        FlowControl control = port.GetFlowControl();
        var told = new TelemetryDict();
        told.AddHex("high_waterline", 0);
        told.AddHex("low_waterline", 0);
        told.AddHex("pause_time", 0);
        told.Add("send_xon", "off");
        told.Add("mac_ctrl_frame_fwd", "off");
        told.Add("rx_pause", OnOff(control.Receive));
        told.Add("tx_pause", OnOff(control.Transmit));
        told.Add("autoneg", OnOff(control.Autonegotiate));
        return told;
    }

    private static TelemetryDict? Rss(Port port, string rest)
    {
        if (port.Info.RssFields == RssFields.None)
            return null;
        byte[] key = port.Rss.Key ?? Net.Toeplitz.MicrosoftKey.ToArray();
        var told = new TelemetryDict();
        told.AddHex("rss_hf", HashFlags(port.Rss.Fields & port.Info.RssFields));
        told.Add("rss_key_len", key.Length);
        told.Add("rss_key", Convert.ToHexStringLower(key));
        told.Add("algorithm", "toeplitz");
        return told;
    }

    private static TelemetryDict Vlan(Port port, string rest)
    {
        RxOffloads on = port.Config.RxOffloads;
        var told = new TelemetryDict
        {
            { "pvid", 0 }, { "hw_vlan_reject_tagged", 0 }, { "hw_vlan_reject_untagged", 0 },
            { "hw_vlan_insert_pvid", 0 }, { "VLAN_STRIP", OnOff((on & RxOffloads.VlanStrip) != 0) },
            { "VLAN_EXTEND", "off" }, { "QINQ_STRIP", OnOff((on & RxOffloads.QinqStrip) != 0) },
            { "VLAN_FILTER", OnOff((on & RxOffloads.VlanFilter) != 0) },
        };
        var ids = new TelemetryDict();
        foreach (IGrouping<int, ushort> word in port.VlanFilter.Order().GroupBy(vlan => vlan / 64))
        {
            var vlans = new TelemetryArray();
            foreach (ushort vlan in word)
                vlans.Add(vlan);
            int first = word.Key * 64;
            ids.Add(string.Create(CultureInfo.InvariantCulture, $"vlan_{first}_to_{first + 63}"), vlans);
        }
        told.Add("vlan_num", port.VlanFilter.Count);
        told.Add("vlan_ids", ids);
        return told;
    }

    private static TelemetryDict? RxQueue(Port port, string rest)
    {
        if (QueueOf(rest, port.RxQueues) is not { } queue)
            return null;
        var told = new TelemetryDict
        {
            { "mempool_name", queue.Pool.Name }, { "socket_id", queue.Pool.NumaNode }, { "host_threshold", 0 },
            { "prefetch_threshold", 0 }, { "writeback_threshold", 0 }, { "free_threshold", 0 }, { "rx_drop_en", "off" },
            { "deferred_start", OnOff(queue.Config.DeferredStart) }, { "rx_nseg", 0 }, { "share_group", 0 },
            { "share_qid", 0 }, { "offloads", NamesOf(queue.Config.Offloads) }, { "rx_nmempool", 0 },
            { "scattered_rx", OnOff((queue.Config.Offloads & RxOffloads.Scatter) != 0) },
            { "queue_state", queue.IsRunning ? 1 : 0 }, { "nb_desc", queue.Config.Descriptors },
            { "rx_buf_size", queue.Pool.DataRoomBytes }, { "avail_thresh", 0 }, { "burst_flags", 0 },
            { "burst_mode", queue.BurstMode },
        };
        return told;
    }

    private static TelemetryDict? TxQueue(Port port, string rest)
    {
        if (QueueOf(rest, port.TxQueues) is not { } queue)
            return null;
        return new TelemetryDict
        {
            { "host_threshold", 0 }, { "prefetch_threshold", 0 }, { "writeback_threshold", 0 }, { "rs_threshold", 0 },
            { "free_threshold", 0 }, { "deferred_start", OnOff(queue.Config.DeferredStart) },
            { "offloads", NamesOf(queue.Config.Offloads) }, { "queue_state", queue.IsRunning ? 1 : 0 },
            { "nb_desc", queue.Config.Descriptors }, { "burst_flags", 0 }, { "burst_mode", queue.BurstMode },
        };
    }

    private static T? QueueOf<T>(string rest, IReadOnlyList<T> queues) where T : class
    {
        if (rest.Length == 0 && queues.Count == 1)
            return queues[0];
        return TelemetryParameters.Numbers(rest, 1) is [uint index] && index < queues.Count ? queues[(int)index] : null;
    }

    private static TelemetryArray StatesOf(IEnumerable<bool> queues)
    {
        var told = new TelemetryArray();
        foreach (bool running in queues)
            told.Add(running ? 1 : 0);   // RTE_ETH_QUEUE_STATE_STARTED
        return told;
    }

    private static long SmallestBuffer(Port port) =>
        port.RxQueues.Where(queue => queue != null).Select(queue => queue.Pool.DataRoomBytes).DefaultIfEmpty().Min();

    // RTE_ETH_RSS_*: lib/ethdev/rte_ethdev.h.
    private static ulong HashFlags(RssFields fields)
    {
        ulong flags = 0;
        foreach ((RssFields field, int bit) in ((RssFields, int)[])[(RssFields.Ipv4, 2), (RssFields.Ipv4Tcp, 4),
            (RssFields.Ipv4Udp, 5), (RssFields.Ipv6, 8), (RssFields.Ipv6Tcp, 10), (RssFields.Ipv6Udp, 11)])
            if ((fields & field) != 0)
                flags |= 1ul << bit;
        return flags;
    }

    private static TelemetryArray NamesOf(RxOffloads offloads) => NamesOf((ulong)offloads, bit => (RxOffloads)bit switch
    {
        RxOffloads.VlanStrip => "VLAN_STRIP",
        RxOffloads.Ipv4Checksum => "IPV4_CKSUM",
        RxOffloads.UdpChecksum => "UDP_CKSUM",
        RxOffloads.TcpChecksum => "TCP_CKSUM",
        RxOffloads.TcpLro => "TCP_LRO",
        RxOffloads.QinqStrip => "QINQ_STRIP",
        RxOffloads.VlanFilter => "VLAN_FILTER",
        RxOffloads.Scatter => "SCATTER",
        RxOffloads.Timestamp => "TIMESTAMP",
        RxOffloads.KeepCrc => "KEEP_CRC",
        RxOffloads.RssHash => "RSS_HASH",
        _ => "UNKNOWN",
    });

    private static TelemetryArray NamesOf(TxOffloads offloads) => NamesOf((ulong)offloads, bit => (TxOffloads)bit switch
    {
        TxOffloads.VlanInsert => "VLAN_INSERT",
        TxOffloads.Ipv4Checksum => "IPV4_CKSUM",
        TxOffloads.UdpChecksum => "UDP_CKSUM",
        TxOffloads.TcpChecksum => "TCP_CKSUM",
        TxOffloads.TcpTso => "TCP_TSO",
        TxOffloads.UdpTso => "UDP_TSO",
        TxOffloads.QinqInsert => "QINQ_INSERT",
        TxOffloads.LockFree => "MT_LOCKFREE",
        TxOffloads.MultiSegments => "MULTI_SEGS",
        TxOffloads.FastFree => "MBUF_FAST_FREE",
        _ => "UNKNOWN",
    });

    private static TelemetryArray NamesOf(ulong offloads, Func<ulong, string> name)
    {
        var told = new TelemetryArray();
        for (; offloads != 0; offloads &= offloads - 1)
            told.Add(name(offloads & (~offloads + 1)));
        return told;
    }

    private static long Has(RxOffloads set, RxOffloads flag) => (set & flag) != 0 ? 1 : 0;

    private static string OnOff(bool on) => on ? "on" : "off";
}
