namespace Dataplane;

/// <summary>Counters: kept per queue in native memory, added up here, reset by remembering where they stood.</summary>
public abstract unsafe partial class Port
{
    private readonly QueueStats[] _rxBase = new QueueStats[MaxQueues];
    private readonly QueueStats[] _txBase = new QueueStats[MaxQueues];
    private readonly Dictionary<string, ulong> _xstatBase = [];
    private QueueStats* _counters; // MaxQueues of receive, then MaxQueues of transmit; kept until the port closes

    /// <summary>The port's totals since it was made or <see cref="ResetStats"/>. Any thread.</summary>
    public PortStats GetStats()
    {
        QueueStats rx = default, tx = default;
        for (int i = 0; i < MaxQueues; i++)
        {
            Accumulate(ref rx, ReadRxStats(i));
            Accumulate(ref tx, ReadTxStats(i));
        }
        ulong unsent = tx.Errors + tx.Missed;
        return new PortStats(rx.Packets, tx.Packets - unsent, rx.Bytes, tx.Bytes, rx.Missed, rx.Errors, unsent,
            rx.NoMbuf);
    }

    /// <summary>All counters with their names: the port's, those of every queue, the driver's own. Control
    /// path.</summary>
    public IReadOnlyList<Xstat> GetXstats()
    {
        var list = new List<Xstat>();
        AddPortXstats(list, GetStats());
        for (int i = 0; i < _rxQueues.Length; i++)
            AddQueueXstats(list, $"rx_q{i}_", ReadRxStats(i), "missed");
        for (int i = 0; i < _txQueues.Length; i++)
            AddQueueXstats(list, $"tx_q{i}_", ReadTxStats(i), "dropped");
        foreach (Xstat own in DriverXstats())
            list.Add(own with { Value = own.Value - _xstatBase.GetValueOrDefault(own.Name) });
        return list;
    }

    /// <summary>Makes every counter of the port start from 0 again. Control path; pollers may run.</summary>
    public void ResetStats()
    {
        for (int i = 0; i < MaxQueues; i++)
        {
            _rxBase[i] = RawRxStats(i);
            _txBase[i] = RawTxStats(i);
        }
        foreach (Xstat own in DriverXstats())
            _xstatBase[own.Name] = own.Value;
    }

    /// <summary>The driver's own counters. They only ever count up; resets are seen to by the base class.</summary>
    protected virtual void AddXstats(ICollection<Xstat> xstats) { }

    internal QueueStats ReadRxStats(int index) => RawRxStats(index).Since(_rxBase[index]);

    internal QueueStats ReadTxStats(int index) => RawTxStats(index).Since(_txBase[index]);

    internal QueueStats* RxCounters(int index) => _counters + index;

    internal QueueStats* TxCounters(int index) => _counters + MaxQueues + index;

    private QueueStats RawRxStats(int index)
    {
        if (_counters == null)
            return default;
        QueueStats stats = QueueStats.Snapshot(ref _counters[index]);
        if (index < _rxQueues.Length && _rxQueues[index] is RxQueue queue)
            stats.Missed += queue.ReadMissed();
        return stats;
    }

    private QueueStats RawTxStats(int index) =>
        _counters == null ? default : QueueStats.Snapshot(ref _counters[MaxQueues + index]);

    private List<Xstat> DriverXstats()
    {
        var list = new List<Xstat>();
        if (Context.Function is { Container.IovaMode: IovaMode.Va } function)
            list.Add(new("iommu_faults", (ulong)function.Faults));
        AddXstats(list);
        return list;
    }

    private void AllocateCounters()
    {
        if (_counters == null)
            _counters = (QueueStats*)Eal.Memory.Zmalloc((nuint)(sizeof(QueueStats) * 2 * MaxQueues), 128);
    }

    private void FreeCounters()
    {
        Eal.Memory.Free(_counters);
        _counters = null;
    }

    private static void Accumulate(ref QueueStats sum, in QueueStats queue)
    {
        sum.Packets += queue.Packets;
        sum.Bytes += queue.Bytes;
        sum.Errors += queue.Errors;
        sum.Missed += queue.Missed;
        sum.NoMbuf += queue.NoMbuf;
    }

    private static void AddPortXstats(List<Xstat> list, in PortStats stats)
    {
        list.Add(new("rx_good_packets", stats.RxPackets));
        list.Add(new("tx_good_packets", stats.TxPackets));
        list.Add(new("rx_good_bytes", stats.RxBytes));
        list.Add(new("tx_good_bytes", stats.TxBytes));
        list.Add(new("rx_missed_errors", stats.RxMissed));
        list.Add(new("rx_errors", stats.RxErrors));
        list.Add(new("tx_errors", stats.TxErrors));
        list.Add(new("rx_mbuf_allocation_errors", stats.RxNoMbuf));
    }

    private static void AddQueueXstats(List<Xstat> list, string prefix, in QueueStats stats, string missed)
    {
        list.Add(new(prefix + "packets", stats.Packets));
        list.Add(new(prefix + "bytes", stats.Bytes));
        list.Add(new(prefix + "errors", stats.Errors));
        list.Add(new(prefix + missed, stats.Missed));
        list.Add(new(prefix + "calls", stats.Calls));
    }
}
