using Dataplane.Net;

namespace Dataplane;

/// <summary>
/// An Ethernet port: configure, set up queues, start, stop, close, in that order, enforced here and not in drivers.
/// Control path, one thread at a time.
/// </summary>
public abstract unsafe class Port : IDisposable
{
    private RxQueue[] _rxQueues = [];
    private TxQueue[] _txQueues = [];
    private readonly QueueStats* _stats;

    /// <summary>For drivers: takes the port's name, id and environment from the probe.</summary>
    protected Port(PortContext context)
    {
        Context = context;
        _stats = (QueueStats*)context.Eal.Memory.Zmalloc((nuint)(sizeof(QueueStats) * 2 * MaxQueues));
    }

    /// <summary>Most queues of a kind any port may have.</summary>
    public const int MaxQueues = 64;

    /// <summary>What the driver was given to make the port.</summary>
    protected PortContext Context { get; }

    /// <summary>The environment the port lives in.</summary>
    public Eal Eal => Context.Eal;

    /// <summary>The device's name, e.g. <c>net_null0</c>.</summary>
    public string Name => Context.Args.Name;

    /// <summary>Number of the port in its environment, also in <see cref="MbufHeader.Port"/>.</summary>
    public ushort Id => Context.Id;

    /// <summary>What the port can do.</summary>
    public abstract PortInfo Info { get; }

    /// <summary>Where the port is in its life.</summary>
    public PortState State { get; private set; }

    /// <summary>The configuration in force.</summary>
    public PortConfig Config { get; private set; } = new() { RxQueues = 0, TxQueues = 0 };

    /// <summary>The MTU in force, bytes.</summary>
    public int Mtu { get; private set; } = 1500;

    /// <summary>The port's own address.</summary>
    public virtual MacAddress MacAddress => Info.MacAddress;

    /// <summary>The receive queues.</summary>
    public IReadOnlyList<RxQueue> RxQueues => _rxQueues;

    /// <summary>The transmit queues.</summary>
    public IReadOnlyList<TxQueue> TxQueues => _txQueues;

    /// <summary>The link as it is now.</summary>
    public abstract LinkStatus GetLink();

    /// <summary>Sets the number of queues, offloads and MTU. Queues set up before are released.</summary>
    /// <exception cref="ConfigException">More than the port can do.</exception>
    public void Configure(PortConfig config)
    {
        ReleaseQueues();
        OnConfigure(config);
        Config = config;
        if (config.Mtu != 0)
            Mtu = config.Mtu;
        _rxQueues = new RxQueue[config.RxQueues];
        _txQueues = new TxQueue[config.TxQueues];
        State = PortState.Configured;
    }

    /// <summary>Makes a receive queue.</summary>
    public RxQueue SetupRxQueue(int index, Mempool pool, RxQueueConfig? config = null) =>
        _rxQueues[index] = CreateRxQueue(index, pool, config ?? new RxQueueConfig());

    /// <summary>Makes a transmit queue.</summary>
    public TxQueue SetupTxQueue(int index, TxQueueConfig? config = null) =>
        _txQueues[index] = CreateTxQueue(index, config ?? new TxQueueConfig());

    /// <summary>Lets packets flow.</summary>
    public void Start()
    {
        OnStart();
        State = PortState.Started;
    }

    /// <summary>Stops the flow and frees every packet still in the queues. No thread may poll any more.</summary>
    public void Stop()
    {
        OnStop();
        foreach (RxQueue queue in _rxQueues)
            queue.Drain();
        foreach (TxQueue queue in _txQueues)
            queue.Drain();
        State = PortState.Stopped;
    }

    /// <summary>Stops the port if need be and gives back all it took.</summary>
    public void Dispose()
    {
        if (State == PortState.Closed)
            return;
        if (State == PortState.Started)
            Stop();
        ReleaseQueues();
        OnClose();
        Eal.Memory.Free(_stats);
        State = PortState.Closed;
        GC.SuppressFinalize(this);
    }

    /// <summary>Refuse or apply a configuration.</summary>
    protected virtual void OnConfigure(PortConfig config) { }

    /// <summary>Make a receive queue; <paramref name="config"/> has its descriptor count filled in.</summary>
    protected abstract RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config);

    /// <summary>Make a transmit queue; <paramref name="config"/> has its descriptor count filled in.</summary>
    protected abstract TxQueue CreateTxQueue(int index, TxQueueConfig config);

    /// <summary>Start the device.</summary>
    protected virtual void OnStart() { }

    /// <summary>Stop the device; queues are drained after this.</summary>
    protected virtual void OnStop() { }

    /// <summary>Give back what the constructor took.</summary>
    protected virtual void OnClose() { }

    internal QueueStats* AllocateRxStats(int index) => _stats + index;

    internal QueueStats* AllocateTxStats(int index) => _stats + MaxQueues + index;

    private void ReleaseQueues()
    {
        foreach (RxQueue? queue in _rxQueues)
            queue?.Release();
        foreach (TxQueue? queue in _txQueues)
            queue?.Release();
    }
}
