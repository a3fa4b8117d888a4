namespace Dataplane.Pmd;

/// <summary>The statistics registers of a virtual function, 32 bits that wrap: what they grew by is added up here. Any
/// thread.</summary>
internal sealed class IgbvfStats(Mmio registers)
{
    private static readonly (string Name, RwReg32 Register)[] s_counters =
    [
        ("rx_mac_good_packets", IgbvfRegs.Vfgprc),
        ("tx_mac_good_packets", IgbvfRegs.Vfgptc),
        ("rx_mac_good_bytes", IgbvfRegs.Vfgorc),
        ("tx_mac_good_bytes", IgbvfRegs.Vfgotc),
        ("rx_multicast_packets", IgbvfRegs.Vfmprc),
        ("rx_loopback_packets", IgbvfRegs.Vfgprlbc),
        ("tx_loopback_packets", IgbvfRegs.Vfgptlbc),
        ("rx_loopback_bytes", IgbvfRegs.Vfgorlbc),
        ("tx_loopback_bytes", IgbvfRegs.Vfgotlbc),
    ];

    private readonly Lock _lock = new();
    private readonly ulong[] _sums = new ulong[s_counters.Length];
    private readonly uint[] _last = new uint[s_counters.Length];
    private ulong _missed;
    private bool _based, _stopped;

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

    /// <summary>Adds what the registers grew by.</summary>
    internal void Collect()
    {
        lock (_lock)
        {
            if (!_based || !Answers())
                return;
            for (int i = 0; i < s_counters.Length; i++)
            {
                uint now = registers.Read(s_counters[i].Register);
                _sums[i] += now - _last[i];          // also right when it has wrapped once
                _last[i] = now;
            }
        }
    }

    /// <summary>Counts from where the registers are now, e.g. after a reset.</summary>
    internal void Rebase()
    {
        lock (_lock)
        {
            for (int i = 0; i < s_counters.Length; i++)
                _last[i] = registers.Read(s_counters[i].Register);
            _based = true;
        }
    }

    /// <summary>Packets lost for want of a descriptor.</summary>
    internal ulong ReadMissed()
    {
        lock (_lock)
        {
            if (Answers())
                _missed += registers.Read(IgbvfRegs.Rqdpc) & 0xfff;
            return _missed;
        }
    }

    /// <summary>The registers are unmapped after this; sums stay as they are.</summary>
    internal void Stop()
    {
        lock (_lock)
            _stopped = true;
    }

    private bool Answers() => !_stopped && registers.Read(IgbvfRegs.Status) != uint.MaxValue;
}
