using Dataplane.Pmd;

namespace Dataplane.Dpctl;

/// <summary>Tells how far a replay is.</summary>
/// <param name="counters">Now.</param>
/// <param name="before">Packets and bytes sent when it was told last.</param>
/// <param name="at">Seconds since the start.</param>
/// <param name="seconds">Seconds since it was told last.</param>
internal delegate void ReplayProgress(ReplayCounters counters, (ulong Sent, ulong Bytes) before, double at,
    double seconds);

/// <summary>Environment, port, file and sender of one replay.</summary>
internal sealed class ReplayRun : IDisposable
{
    internal const int PatienceSeconds = 10;

    // Files up to this are kept in memory; larger ones are read while they are sent.
    private const long MostInMemory = 512L << 20;
    private const int LinkWaitSeconds = 9, QuietUs = 50, SettleMs = 1000;

    private readonly Eal _eal;
    private readonly PortList? _ports;
    private readonly List<Mempool> _pools = [];
    private readonly ReplayOptions _options;
    private readonly ReplayFile _file;
    private readonly List<string> _warnings = [];
    private ReplaySender<TscClock>? _sender;

    /// <summary>Starts the port. What was made is given back when that fails.</summary>
    internal ReplayRun(EalOptions ealOptions, ReplayOptions options, ReplayFile file)
    {
        (_options, _file) = (options, file);
        _eal = Eal.Initialize(ealOptions);
        try
        {
            _ports = PortList.Probe(_eal, Drivers.All);
            Port = Find(_ports, options.Port);
            StartPort();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    internal Port Port { get; private set; } = null!;

    /// <summary>What the user should know before it begins.</summary>
    internal IReadOnlyList<string> Warnings => _warnings;

    internal ReplayCounters Counters => _sender!.Counters;

    /// <summary>From the first packet's time to the last packet.</summary>
    internal double Seconds => Tsc.ToSeconds(_sender!.Cycles);

    internal bool GaveUp => _sender!.GaveUp;

    internal bool EndedEarly => _sender!.EndedEarly;

    /// <summary>Somebody interrupted it before all was sent or the time was over. One without such an end can only
    /// end so.</summary>
    internal bool Interrupted => !_sender!.IsDone && Counters.Sent < Planned
        && (_options.Loop > 0 || _options.DurationSeconds > 0);

    /// <summary>Packets of all passes; <see cref="ulong.MaxValue"/> for ever.</summary>
    internal ulong Planned { get; private set; }

    /// <summary>Packets the port took and did not send.</summary>
    internal ulong PortErrors { get; private set; }

    /// <summary>Mbufs not back in their pools.</summary>
    internal long PoolLeaks { get; private set; }

    /// <summary>Sends until all is sent, the time is over or somebody interrupts.</summary>
    internal void Go(ReplayProgress progress)
    {
        PcapRxQueue source = OpenSource();
        ulong passes = _options.Loop == 0 ? ulong.MaxValue : (ulong)_options.Loop;
        ulong duration = _options.DurationSeconds > 0 ? Tsc.FromSeconds(_options.DurationSeconds) : ulong.MaxValue;
        Planned = passes > ulong.MaxValue / _file.Packets ? ulong.MaxValue : passes * _file.Packets;
        var plan = new ReplayPlan(_file.Packets, Planned, duration, Tsc.FromSeconds(PatienceSeconds),
            Tsc.FromMicroseconds(QuietUs), _options.Rate.Timing != ReplayTiming.Top, _options.Burst);
        _sender = new ReplaySender<TscClock>(source, Port.TxQueues[0], Port.RxQueues[0],
            MbufDynamic.RegisterField<ulong>(_eal.Memory, MbufDynamic.TimestampField), plan,
            new ReplayPace(_options.Rate, Tsc.Hz, _file), default);
        Port.WaitForLink(TimeSpan.FromSeconds(LinkWaitSeconds));
        using var done = new ManualResetEventSlim();
        _eal.Launch(_eal.MainLcore.Id, new ReplayWorker(_sender, source.Pool, Port.TxQueues[0], done));
        Watch(progress, done);
        _eal.WaitAll();
        Port.Stop();
        source.Port.Stop();
        PortErrors = Port.GetStats().TxErrors;
        PoolLeaks = _pools.Sum(pool => (long)pool.InUseCount);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _ports?.Dispose();
        foreach (Mempool pool in _pools)
            pool.Dispose();
        _eal.Dispose();
    }

    private void Watch(ReplayProgress progress, ManualResetEventSlim done)
    {
        long start = Environment.TickCount64, last = start;
        TimeSpan period = _options.StatsPeriodSeconds > 0 ? TimeSpan.FromSeconds(_options.StatsPeriodSeconds)
            : Timeout.InfiniteTimeSpan;
        (ulong Sent, ulong Bytes) before = default;
        while (!done.Wait(period))
        {
            long now = Environment.TickCount64;
            progress(Counters, before, (now - start) / 1e3, Math.Max(now - last, 1) / 1e3);
            (last, before) = (now, (Counters.Sent, Counters.SentBytes));
        }
    }

    private static Port Find(PortList list, string? wanted)
    {
        if (wanted == null)
            return list.Ports.Count == 1 ? list.Ports[0] : throw new ConfigException("it is not said where to send",
                list.Ports.Count == 0 ? null : "there are " + string.Join(", ", list.Ports.Select(port => port.Name)),
                "say it: --port " + (list.Ports.Count == 0 ? "net_af_packet0,iface=eth1" : list.Ports[0].Name));
        return (int.TryParse(wanted, out int id) ? list.Find(id) : list.Find(wanted.Split(',')[0]))
            ?? list.Attach(wanted);
    }

    private void StartPort()
    {
        bool chains = (Port.Info.TxOffloads & TxOffloads.MultiSegments) != 0;
        Port.Configure(new PortConfig { Mtu = _options.Mtu,
            TxOffloads = chains ? TxOffloads.MultiSegments : TxOffloads.None,
            RxOffloads = Port.Info.RxOffloads & RxOffloads.Scatter });
        int room = Math.Max(Port.Mtu + Port.FrameOverheadBytes, Port.Info.MinRxBufferBytes) + Mbuf.DefaultHeadroom;
        Mempool pool = AddPool("replay_rx", Port.Info.DefaultDescriptors + 512,
            Math.Clamp(room, Mbuf.DefaultBufferSize, ushort.MaxValue));
        Port.SetupRxQueue(0, pool);
        Port.SetupTxQueue(0);
        Port.Start();
        if (_file.Longest > Port.Mtu + Port.FrameOverheadBytes)
            _warnings.Add($"the longest packet has {_file.Longest} bytes, and {Port.Name} has an MTU of {Port.Mtu}: "
                + $"it may refuse some, which are counted as port errors; --mtu {_file.Longest - 14} if it can");
        if (_options.Rate.Timing == ReplayTiming.Original && _file.Nanoseconds == 0 && _file.Packets > 1)
            _warnings.Add("the packets have no stamps, or all the same one: they go at top speed");
    }

    /// <summary>The file as a port of its own; its packets in one mbuf each where the target does not chain.</summary>
    private PcapRxQueue OpenSource()
    {
        const int Default = Mbuf.DefaultBufferSize - Mbuf.DefaultHeadroom, Largest = ushort.MaxValue
            - Mbuf.DefaultHeadroom;
        bool chains = (Port.Config.TxOffloads & TxOffloads.MultiSegments) != 0;
        int room = chains ? Default : Math.Max(Default, _file.Longest);
        if (room > Largest)
            throw new ConfigException($"{_file.Path}: a packet of {_file.Longest} bytes cannot be sent by {Port.Name}",
                $"driver {Port.Info.DriverName} takes no chains, and a mbuf holds {Largest} bytes",
                "leave such packets out: editcap -F pcap, or capture with ethtool -K DEV gro off tso off");
        int pieces = (_file.Longest + room - 1) / room;
        Mempool pool = AddPool("replay", (Port.Info.DefaultDescriptors + _options.Burst + 512) * Math.Min(pieces, 16)
            + pieces, room + Mbuf.DefaultHeadroom);
        bool inMemory = new FileInfo(_file.Path).Length <= MostInMemory && _file.Skipped == 0;
        Port port = _ports!.Attach($"net_pcap_replay,rx_pcap={_file.Path},infinite_rx={(inMemory ? 1 : 0)}");
        port.Start(new PortConfig { RxOffloads = RxOffloads.Timestamp | RxOffloads.Scatter }, pool);
        return (PcapRxQueue)port.RxQueues[0];
    }

    private Mempool AddPool(string name, int mbufs, int roomBytes)
    {
        Mempool pool = Mempool.CreateMbufPool(_eal.Memory, name, mbufs, 0, dataRoomBytes: roomBytes,
            numaNode: Port.Info.NumaNode);
        _pools.Add(pool);
        return pool;
    }

    /// <summary>The sending lcore.</summary>
    private readonly struct ReplayWorker(ReplaySender<TscClock> sender, Mempool pool, TxQueue tx,
        ManualResetEventSlim done) : ILcoreWorker
    {
        public int Run(Lcore lcore)
        {
            try
            {
                var meter = new CycleMeter(lcore);
                while (!lcore.StopRequested && !sender.IsDone)
                    meter.Count(sender.Step());
                sender.Finish();
                // Stopping a port frees what it has not sent yet.
                long deadline = Environment.TickCount64 + SettleMs;
                while (pool.InUseCount > 0 && Environment.TickCount64 < deadline)
                {
                    tx.ReclaimTx();
                    Lcore.Poll();
                }
            }
            finally
            {
                done.Set();
            }
            return 0;
        }
    }
}
