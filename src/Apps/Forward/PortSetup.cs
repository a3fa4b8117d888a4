using Dataplane.Net;

namespace Dataplane.Apps.Forward;

/// <summary>Configures ports, makes the pools and lays the streams over ports, queues and lcores.</summary>
internal sealed class PortSetup : IDisposable
{
    private readonly Eal _eal;
    private readonly ForwardOptions _options;
    private readonly Dictionary<int, Mempool> _pools = [];

    private readonly string _name;

    private readonly StreamTrace _trace;

    private PortSetup(Eal eal, PortList list, IReadOnlyList<Port> ports, ForwardOptions options, string name)
    {
        _name = name;
        _eal = eal;
        _options = options;
        _trace = new StreamTrace(list.Trace);
        Ports = ports;
    }

    /// <summary>The ports that are forwarded between.</summary>
    public IReadOnlyList<Port> Ports { get; }

    /// <summary>One pool per NUMA node that has ports.</summary>
    public IReadOnlyCollection<Mempool> Pools => _pools.Values;

    /// <summary>Sets the ports up and starts them. What was made is given back when that fails.</summary>
    public static PortSetup Start(Eal eal, PortList list, IReadOnlyList<Port> ports, ForwardOptions options,
        string name = "forward")
    {
        var setup = new PortSetup(eal, list, ports, options, name);
        try
        {
            for (int i = 0; i < ports.Count; i++)
                setup.Configure(ports[i], WantedRx(options, ports[setup.Peer(i)]));
            foreach (Port port in ports)
                port.Start();
            return setup;
        }
        catch
        {
            setup.Dispose();
            throw;
        }
    }

    /// <summary>The port that packets from port <paramref name="index"/> leave by.</summary>
    public int Peer(int index) => _options.Mode == "icmpecho" ? index : _options.Topology switch
    {
        PortTopology.Loop => index,
        PortTopology.Chained => (index + 1) % Ports.Count,
        _ => (index ^ 1) < Ports.Count ? index ^ 1 : index,
    };

    /// <summary>Lays one stream over every receive queue and deals them out to the lcores.</summary>
    public IReadOnlyList<ForwardLcore> DealOut(IReadOnlyList<int> lcores)
    {
        var streams = new List<ForwardStream>();
        for (int queue = 0; queue < _options.RxQueues; queue++)
            for (int port = 0; port < Ports.Count; port++)
                streams.Add(MakeStream(port, queue));
        int cores = Math.Min(lcores.Count, streams.Count);
        if (_options.Cores > 0)
            cores = Math.Min(cores, _options.Cores);
        return [.. Enumerable.Range(0, cores).Select(core => new ForwardLcore(lcores[core],
            [.. streams.Where((_, i) => i % cores == core)], _options.Burst)
        { Sleeps = _options.RxInterrupts, First = TxFirst(core, cores, streams.Count) })];
    }

    // Streams are laid port by port, so the i-th one's packets leave by the peer of port i.
    private (FrameSource[] Sources, int Bursts) TxFirst(int core, int cores, int streams) =>
        _options.TxFirst == 0 ? ([], 0) : ([.. Enumerable.Range(0, streams).Where(i => i % cores == core)
            .Select(i => Source(i % Ports.Count, 1))], _options.TxFirst);

    private FrameSource Source(int port, int flows) =>
        new(PoolOf(Ports[port].Info.NumaNode), Frame(_options.FrameBytes, Peer(port)), flows);

    /// <summary>Stops the ports; every packet goes back to its pool.</summary>
    public void Stop()
    {
        foreach (Port port in Ports)
            port.Stop();
    }

    /// <summary>Mbufs that are not back in the pools: 0 after <see cref="Stop"/>.</summary>
    public long PoolLeaks => _pools.Values.Sum(pool => (long)pool.InUseCount);

    /// <summary>Stops and closes the ports, then the pools.</summary>
    public void Dispose()
    {
        foreach (Port port in Ports)
            port.Dispose();
        foreach (Mempool pool in _pools.Values)
            pool.Dispose();
    }

    private void Configure(Port port, RxOffloads wanted)
    {
        PortInfo info = port.Info;
        int txQueues = TxQueues;
        if (_options.RxQueues > info.MaxRxQueues || txQueues > info.MaxTxQueues)
            throw new ConfigException($"port {port.Name} has {info.MaxRxQueues} receive and {info.MaxTxQueues} "
                + $"transmit queues", why: $"--rxq {_options.RxQueues} --txq {txQueues} asks for more",
                fix: info.DriverName is "net_af_packet" or "net_tap" ? "give the device more queue pairs in its --vdev"
                : null);
        // A transmit queue belongs to one lcore, so two streams never share one.
        if (txQueues < _options.RxQueues)
            throw new ConfigException($"--txq {txQueues} is less than --rxq {_options.RxQueues}",
                why: "what comes in by each receive queue leaves by a transmit queue of its own",
                fix: "leave --txq out");
        port.Configure(new PortConfig
        {
            RxQueues = _options.RxQueues,
            TxQueues = txQueues,
            Mtu = _options.Mtu,
            RxInterrupts = _options.RxInterrupts,
            RxOffloads = _options.Offloads ? info.RxOffloads & wanted : RxOffloads.None,
            TxOffloads = _options.Offloads ? info.TxOffloads & (WantedTx | FastFree) : info.TxOffloads & FastFree,
        });
        Mempool pool = PoolOf(info.NumaNode);
        for (int queue = 0; queue < _options.RxQueues; queue++)
            port.SetupRxQueue(queue, pool, new RxQueueConfig(_options.RxDescriptors));
        for (int queue = 0; queue < txQueues; queue++)
            port.SetupTxQueue(queue, new TxQueueConfig(_options.TxDescriptors));
        if (_options.Promiscuous)
            TryPromiscuous(port);
    }

    private static void TryPromiscuous(Port port)
    {
        try
        {
            port.SetPromiscuous(true);
        }
        catch (DataplaneException e) when (e.Errno == Errno.EOPNOTSUPP)
        {
            // A virtual port without the mode takes every frame as it is; testpmd passes over it too.
        }
    }

    private int TxQueues => _options.TxQueues == 0 ? _options.RxQueues : _options.TxQueues;

    /// <summary>
    /// What a forwarder can pass on. A packet that comes in with its segmentation and checksums still to be done must
    /// leave by a port that does them; elsewhere, and where checksums are looked at, the receiving port is to do them.
    /// </summary>
    private static RxOffloads WantedRx(ForwardOptions options, Port peer)
    {
        const RxOffloads Wanted = RxOffloads.Scatter | RxOffloads.Ipv4Checksum | RxOffloads.UdpChecksum
            | RxOffloads.TcpChecksum;
        bool finishes = (peer.Info.TxOffloads & Finishing) == Finishing && options.Mode != "csum";
        return finishes ? Wanted | RxOffloads.TcpLro : Wanted;
    }

    private const TxOffloads Finishing = TxOffloads.MultiSegments | TxOffloads.TcpTso | TxOffloads.Ipv4Checksum
        | TxOffloads.UdpChecksum | TxOffloads.TcpChecksum;

    private const TxOffloads WantedTx = Finishing | TxOffloads.VlanInsert;

    /// <summary>What a queue may be promised when every packet is one mbuf of the one pool.</summary>
    private TxOffloads FastFree => Ports.All(port => port.Info.NumaNode == Ports[0].Info.NumaNode
        && (!_options.Offloads || (port.Info.RxOffloads & (RxOffloads.Scatter | RxOffloads.TcpLro)) == 0))
        ? TxOffloads.FastFree : TxOffloads.None;

    private Mempool PoolOf(int node)
    {
        if (!_pools.TryGetValue(node, out Mempool? pool))
            _pools[node] = pool = Mempool.CreateMbufPool(_eal.Memory, $"{_name}_{node}", PoolMbufs(),
                _options.CacheMbufs, dataRoomBytes: _options.MbufBytes, numaNode: node);
        return pool;
    }

    /// <summary>Every place a packet can be in at a time, and a reserve.</summary>
    private int PoolMbufs()
    {
        if (_options.PoolMbufs > 0)
            return _options.PoolMbufs;
        int perQueue(int asked, int preset) => asked > 0 ? asked : preset;
        int inQueues = Ports.Sum(port => _options.RxQueues * perQueue(_options.RxDescriptors,
            port.Info.DefaultDescriptors)
            + TxQueues * perQueue(_options.TxDescriptors, port.Info.DefaultDescriptors));
        int onLcores = _eal.Lcores.Count() * (_options.CacheMbufs + _options.Burst);
        return Math.Max(8192, inQueues + onLcores + _options.Noisy.BufferPackets * Ports.Count * _options.RxQueues) - 1;
    }

    /// <summary>A UDP frame from a port to its next hop, with no UDP checksum, so that its payload may
    /// change.</summary>
    /// <exception cref="ConfigException">The frame does not fit a mbuf.</exception>
    public PacketTemplate Frame(int bytes, int port)
    {
        int room = _options.MbufBytes - Mbuf.DefaultHeadroom;
        if (bytes > room)
            throw new ConfigException($"--txpkts {bytes} does not fit a mbuf",
                why: $"it holds {room} bytes after the headroom", fix: $"--mbuf-size {bytes + Mbuf.DefaultHeadroom}");
        return PacketTemplate.Udp4(Ports[port].MacAddress, NextHop(port),
            IPv4Address.Parse("198.18.0.1"), IPv4Address.Parse("198.19.0.1"),   // for benchmarks: RFC 2544 §C.2.2
            sourcePort: 1024, destinationPort: 9, bytes, udpChecksum: false);
    }

    private MacAddress NextHop(int port) =>
        _options.Peers.TryGetValue(Ports[port].Id, out MacAddress mac) ? mac : MacAddress.Local((uint)port);

    private ForwardStream MakeStream(int portIndex, int queue)
    {
        Port from = Ports[portIndex];
        int peer = Peer(portIndex);
        RxQueue rx = from.RxQueues[queue];
        TxQueue tx = Ports[peer].TxQueues[queue];
        return _options.Mode switch
        {
            "mac" => new TransformStream<MacMode>(rx, tx, _trace, new MacMode(Ports[peer].MacAddress, NextHop(peer))),
            "macswap" => new TransformStream<MacSwapMode>(rx, tx, _trace, new MacSwapMode()),
            "5tswap" => new TransformStream<FiveTupleSwapMode>(rx, tx, _trace, new FiveTupleSwapMode()),
            "csum" => new TransformStream<CsumMode>(rx, tx, _trace, new CsumMode()),
            "icmpecho" => new TransformStream<IcmpEchoMode>(rx, tx, _trace, new IcmpEchoMode(from.MacAddress, _trace)),
            "rxonly" => new TransformStream<RxOnlyMode>(rx, tx, _trace, new RxOnlyMode(_trace)),
            "txonly" => new GeneratorStream(rx, tx, _trace, Source(portIndex, 1)),
            "flowgen" => new GeneratorStream(rx, tx, _trace, Source(portIndex, _options.Flows)),
            "noisy" => new NoisyStream(rx, tx, _trace, _options.Noisy),
            _ => new TransformStream<IoMode>(rx, tx, _trace, new IoMode()),
        };
    }
}
