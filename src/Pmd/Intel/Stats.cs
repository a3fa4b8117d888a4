namespace Dataplane.Pmd;

/// <summary>
/// The statistics registers, which clear when they are read: added up here. Any thread. Names as DPDK's e1000 drivers
/// have them.
/// </summary>
internal sealed class IntelStats(Mmio registers)
{
    private static readonly (string Name, RcReg32 Low, RcReg32 High)[] s_counters =
    [
        ("rx_crc_errors", StatRegs.Crcerrs, default),
        ("rx_align_errors", StatRegs.Algnerrc, default),
        ("rx_data_errors", StatRegs.Rxerrc, default),
        ("tx_single_collision_packets", StatRegs.Scc, default),
        ("tx_excessive_collision_packets", StatRegs.Ecol, default),
        ("tx_multiple_collision_packets", StatRegs.Mcc, default),
        ("tx_late_collisions", StatRegs.Latecol, default),
        ("tx_total_collisions", StatRegs.Colc, default),
        ("tx_deferred_packets", StatRegs.Dc, default),
        ("tx_no_carrier_sense_packets", StatRegs.Tncrs, default),
        ("rx_length_errors", StatRegs.Rlec, default),
        ("rx_xon_packets", StatRegs.Xonrxc, default),
        ("tx_xon_packets", StatRegs.Xontxc, default),
        ("rx_xoff_packets", StatRegs.Xoffrxc, default),
        ("tx_xoff_packets", StatRegs.Xofftxc, default),
        ("rx_size_64_packets", StatRegs.Prc64, default),
        ("rx_size_65_to_127_packets", StatRegs.Prc127, default),
        ("rx_size_128_to_255_packets", StatRegs.Prc255, default),
        ("rx_size_256_to_511_packets", StatRegs.Prc511, default),
        ("rx_size_512_to_1023_packets", StatRegs.Prc1023, default),
        ("rx_size_1024_to_max_packets", StatRegs.Prc1522, default),
        ("rx_mac_good_packets", StatRegs.Gprc, default),
        ("rx_broadcast_packets", StatRegs.Bprc, default),
        ("rx_multicast_packets", StatRegs.Mprc, default),
        ("tx_mac_good_packets", StatRegs.Gptc, default),
        ("rx_mac_good_bytes", StatRegs.Gorcl, StatRegs.Gorch),
        ("tx_mac_good_bytes", StatRegs.Gotcl, StatRegs.Gotch),
        ("rx_no_buffer_packets", StatRegs.Rnbc, default),
        ("rx_undersize_errors", StatRegs.Ruc, default),
        ("rx_fragment_errors", StatRegs.Rfc, default),
        ("rx_oversize_errors", StatRegs.Roc, default),
        ("rx_jabber_errors", StatRegs.Rjc, default),
        ("rx_total_bytes", StatRegs.Torl, StatRegs.Torh),
        ("tx_total_bytes", StatRegs.Totl, StatRegs.Toth),
        ("rx_total_packets", StatRegs.Tpr, default),
        ("tx_total_packets", StatRegs.Tpt, default),
        ("tx_size_64_packets", StatRegs.Ptc64, default),
        ("tx_size_65_to_127_packets", StatRegs.Ptc127, default),
        ("tx_size_128_to_255_packets", StatRegs.Ptc255, default),
        ("tx_size_256_to_511_packets", StatRegs.Ptc511, default),
        ("tx_size_512_to_1023_packets", StatRegs.Ptc1023, default),
        ("tx_size_1024_to_max_packets", StatRegs.Ptc1522, default),
        ("tx_multicast_packets", StatRegs.Mptc, default),
        ("tx_broadcast_packets", StatRegs.Bptc, default),
        ("tx_tso_packets", StatRegs.Tsctc, default),
        ("interrupt_assert_count", StatRegs.Iac, default),
    ];

    private readonly Lock _lock = new();
    private readonly ulong[] _sums = new ulong[s_counters.Length];
    private readonly ulong[] _missed = new ulong[Port.MaxQueues];
    private bool _stopped;

    /// <summary>Adds the sums to a list.</summary>
    internal void Add(ICollection<Xstat> xstats)
    {
        lock (_lock)
        {
            Collect();
            for (int i = 0; i < s_counters.Length; i++)
                xstats.Add(new(s_counters[i].Name, _sums[i]));
        }
    }

    /// <summary>Reads every register, e.g. before a reset clears them.</summary>
    internal void Collect()
    {
        lock (_lock)
        {
            if (!Answers())
                return;
            for (int i = 0; i < s_counters.Length; i++)
            {
                (_, RcReg32 low, RcReg32 high) = s_counters[i];
                _sums[i] += registers.Read(low) | (high == default ? 0 : (ulong)registers.Read(high) << 32);
            }
            _missed[0] += registers.Read(StatRegs.Mpc);
        }
    }

    /// <summary>Packets lost on a queue. Those the packet buffer had no room for belong to no queue: they are counted
    /// with queue 0.</summary>
    /// <param name="queue">Which.</param>
    /// <param name="drops">Its own register, default where it has none.</param>
    internal ulong ReadMissed(int queue, RcReg32 drops)
    {
        lock (_lock)
        {
            if (Answers())
            {
                if (queue == 0)
                    _missed[0] += registers.Read(StatRegs.Mpc);
                if (drops != default)
                    _missed[queue] += registers.Read(drops) & 0xfff;
            }
            return _missed[queue];
        }
    }

    /// <summary>The registers are unmapped after this; sums stay as they are.</summary>
    internal void Stop()
    {
        lock (_lock)
            _stopped = true;
    }

    // All ones in every counter of a device that is gone must not be added up.
    private bool Answers() => !_stopped && registers.Read(IntelRegs.Status) != uint.MaxValue;
}
