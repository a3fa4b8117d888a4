namespace Dataplane;

/// <summary>
/// An Ethernet port: configure, set up queues, start, stop, close, in that order, enforced here and not in drivers.
/// Control path, one thread at a time; queues are for the data path.
/// </summary>
public abstract unsafe partial class Port : IDisposable
{
    private RxQueue?[] _rxQueues = [];
    private TxQueue?[] _txQueues = [];

    /// <summary>For drivers: takes the port's name, id and environment from the probe.</summary>
    protected Port(PortContext context)
    {
        Context = context;
        if (context.Function != null)
            context.Function.Lost += OnLost;
    }

    /// <summary>Most queues of a kind any port may have.</summary>
    public const int MaxQueues = 64;

    /// <summary>Bytes of a frame beyond its payload: Ethernet header and two VLAN tags. The check sequence is not
    /// kept.</summary>
    public const int FrameOverheadBytes = 14 + 2 * 4;

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

    /// <summary>The receive queues; a place is null until its queue is set up, which a started port's all
    /// are.</summary>
    public IReadOnlyList<RxQueue> RxQueues => _rxQueues!;

    /// <summary>The transmit queues; a place is null until its queue is set up, which a started port's all
    /// are.</summary>
    public IReadOnlyList<TxQueue> TxQueues => _txQueues!;

    /// <summary>Sets the number of queues, offloads and MTU. Queues set up before are released.</summary>
    /// <exception cref="ConfigException">More than the port can do. Nothing is changed, unless only the driver saw it:
    /// then the port is to be configured anew.</exception>
    /// <exception cref="DataplaneException">The port is started or closed, or the device refuses.</exception>
    public void Configure(PortConfig config)
    {
        RequireFree("configure");
        using Lock.Scope held = Gate.EnterScope();
        if (State is PortState.Started or PortState.Closed)
            throw WrongState("configure", State == PortState.Started ? "call Stop first" : "attach it anew");
        PortRules.Check(this, config);
        ReleaseQueues();
        State = PortState.Attached;
        AllocateCounters();
        OnConfigure(config);
        _rxQueues = new RxQueue[config.RxQueues];
        _txQueues = new TxQueue[config.TxQueues];
        Config = config;
        _rss = config.Rss ?? new RssConfig();
        _redirection = null;
        _vlans.Clear();
        State = PortState.Configured;
        if (config.Mtu != 0)
            SetMtu(config.Mtu);
    }

    /// <summary>Makes a receive queue; one set up before in its place is released.</summary>
    /// <param name="index">0 to the configured number of receive queues - 1.</param>
    /// <param name="pool">A mbuf pool; the caller keeps it and disposes it after the port.</param>
    /// <param name="config">Descriptors and offloads, or null for the driver's default.</param>
    /// <exception cref="ConfigException">A value the port cannot do.</exception>
    /// <exception cref="DataplaneException">The port is not configured, or started.</exception>
    public RxQueue SetupRxQueue(int index, Mempool pool, RxQueueConfig? config = null)
    {
        using Lock.Scope held = Gate.EnterScope();
        RequireSetup($"set up receive queue {index} of", index, _rxQueues.Length);
        RxQueueConfig filled = PortRules.Fill(this, config ?? new RxQueueConfig());
        PortRules.CheckPool(this, pool, filled.Offloads, Mtu);
        Release(ref _rxQueues[index]);
        RxQueue queue = CreateRxQueue(index, pool, filled);
        queue.Config = filled;
        return _rxQueues[index] = queue;
    }

    /// <summary>Makes a transmit queue; one set up before in its place is released.</summary>
    /// <param name="index">0 to the configured number of transmit queues - 1.</param>
    /// <param name="config">Descriptors and offloads, or null for the driver's default.</param>
    /// <exception cref="ConfigException">A value the port cannot do.</exception>
    /// <exception cref="DataplaneException">The port is not configured, or started.</exception>
    public TxQueue SetupTxQueue(int index, TxQueueConfig? config = null)
    {
        using Lock.Scope held = Gate.EnterScope();
        RequireSetup($"set up transmit queue {index} of", index, _txQueues.Length);
        TxQueueConfig filled = PortRules.Fill(this, config ?? new TxQueueConfig());
        Release(ref _txQueues[index]);
        TxQueue queue = CreateTxQueue(index, filled);
        queue.Config = filled;
        return _txQueues[index] = queue;
    }

    /// <summary>Configures the port, sets up every queue and starts it, for those who need nothing else.</summary>
    /// <param name="config">Queues, offloads, MTU.</param>
    /// <param name="pool">Where all receive queues take their mbufs from.</param>
    /// <param name="descriptors">Slots of every queue, 0 for the driver's default.</param>
    public void Start(PortConfig config, Mempool pool, int descriptors = 0)
    {
        Configure(config);
        for (int i = 0; i < config.RxQueues; i++)
            SetupRxQueue(i, pool, new RxQueueConfig(descriptors));
        for (int i = 0; i < config.TxQueues; i++)
            SetupTxQueue(i, new TxQueueConfig(descriptors));
        Start();
    }

    /// <summary>Lets packets flow.</summary>
    /// <exception cref="DataplaneException">The port is not configured, a queue is not set up, or it is
    /// started; or the device fails at it.</exception>
    public void Start()
    {
        RequireFree("start");
        using Lock.Scope held = Gate.EnterScope();
        if (State is not (PortState.Configured or PortState.Stopped))
            throw WrongState("start", State switch
            {
                PortState.Attached => "call Configure, then SetupRxQueue and SetupTxQueue for every queue",
                PortState.Started => "it is started already; call Stop first to start it anew",
                _ => "attach it anew",
            });
        RequireAllSetUp("receive", "SetupRxQueue({0}, pool)", _rxQueues);
        RequireAllSetUp("transmit", "SetupTxQueue({0})", _txQueues);
        OnStart();
        State = PortState.Started;
        foreach (RxQueue queue in RxQueues)
            queue.SetRunning(!queue.Config.DeferredStart);
        foreach (TxQueue queue in TxQueues)
            queue.SetRunning(!queue.Config.DeferredStart);
        OnStarted();
    }

    /// <summary>
    /// Stops the flow and frees every packet still in the queues. No thread may poll any more. Does nothing when the
    /// port is not started.
    /// </summary>
    /// <exception cref="DataplaneException">The device failed at it. The port is stopped, and the device cut off from
    /// memory.</exception>
    public void Stop()
    {
        RequireFree("stop");
        using Lock.Scope held = Gate.EnterScope();
        if (State != PortState.Started)
            return;
        foreach (RxQueue queue in RxQueues)
            queue.SetRunning(false);
        foreach (TxQueue queue in TxQueues)
            queue.SetRunning(false);
        State = PortState.Stopped;
        try
        {
            OnStop();
        }
        catch
        {
            CutOff();       // the queues' packets are freed all the same
            throw;
        }
        finally
        {
            DrainQueues();
        }
    }

    /// <summary>Closes the port: stops it if need be and gives back all it took, also where its device fails at that.
    /// Any number of times.</summary>
    /// <exception cref="DataplaneException">The device failed; the port is closed.</exception>
    public void Dispose()
    {
        Leave();
        using Lock.Scope held = Gate.EnterScope();
        if (State == PortState.Closed)
            return;
        try
        {
            Stop();
        }
        finally
        {
            ReleaseQueues();
            State = PortState.Closed;
            try
            {
                OnClose();
            }
            finally
            {
                if (Context.Function != null)
                    Context.Function.Lost -= OnLost;
                Context.Function?.Dispose();
                FreeCounters();
                Raise(PortEvent.Closed);
            }
        }
        GC.SuppressFinalize(this);
    }

    /// <summary>Refuse or apply a configuration, checked already against <see cref="Info"/>.</summary>
    protected virtual void OnConfigure(PortConfig config) { }

    /// <summary>Make a receive queue; <paramref name="config"/> has its descriptors filled in and the port's
    /// offloads added.</summary>
    protected abstract RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config);

    /// <summary>Make a transmit queue; <paramref name="config"/> has its descriptors filled in and the port's
    /// offloads added.</summary>
    protected abstract TxQueue CreateTxQueue(int index, TxQueueConfig config);

    /// <summary>Start the device. Apply addresses, promiscuous mode and MTU, which may have been set before.</summary>
    protected virtual void OnStart() { }

    /// <summary>The port is started: the place to tell of a link that is up.</summary>
    protected virtual void OnStarted() { }

    /// <summary>Stop the device; queues are drained after this.</summary>
    protected virtual void OnStop() { }

    /// <summary>Give back what the constructor took. The function of a PCI port is disposed after this.</summary>
    protected virtual void OnClose() { }

    /// <summary>For drivers whose start failed half-way: stops the device, and takes back what its queues
    /// hold.</summary>
    protected void UndoStart()
    {
        try
        {
            OnStop();
        }
        catch (DataplaneException)
        {
            CutOff();       // what is to be told is why it did not start
        }
        DrainQueues();
    }

    private void DrainQueues()
    {
        foreach (RxQueue queue in RxQueues)
            queue.Drain();
        foreach (TxQueue queue in TxQueues)
            queue.Drain();
    }

    /// <summary>For drivers: a device that could not be stopped reads and writes memory no more, before what it was
    /// told of is given back.</summary>
    protected void CutOff()
    {
        try
        {
            Context.Function?.SetBusMaster(false);
        }
        catch (DataplaneException)
        {
            // It does not answer: then it does nothing either.
        }
    }

    internal void Require(PortState state, string action)
    {
        if (State != state)
            throw WrongState(action, $"call {(state == PortState.Started ? "Start" : "Configure")} first");
    }

    // Its registers are unmapped then: to touch them would end the process.
    private void RequireOpen(string action)
    {
        RequireFree(action);
        if (State == PortState.Closed)
            throw WrongState(action, "attach it anew");
    }

    private DataplaneException WrongState(string action, string fix) =>
        new($"cannot {action} port {Name}", why: $"it is {State}", fix: fix);

    // The kernel waits for a device it asks back until the port is closed.
    private void OnLost(PciFunction function, PortLoss why) =>
        Raise(why == PortLoss.Requested ? PortEvent.Removed : PortEvent.ResetNeeded);

    private void RequireSetup(string action, int index, int count)
    {
        RequireFree(action);
        if (State is not (PortState.Configured or PortState.Stopped))
            throw WrongState(action, State switch
            {
                PortState.Attached => "call Configure first",
                PortState.Started => "call Stop first",
                _ => "attach it anew",
            });
        if ((uint)index >= (uint)count)
            throw new ConfigException($"cannot {action} port {Name}", why: $"it is configured with {count} of them",
                fix: "give Configure the number of queues wanted; they count from 0");
    }

    private void RequireAllSetUp(string kind, string call, object?[] queues)
    {
        int missing = Array.IndexOf(queues, null);
        if (missing >= 0)
            throw WrongState("start", $"{kind} queue {missing} is not set up: call "
                + $"{string.Format(null, call, missing)}");
    }

    private void ReleaseQueues()
    {
        for (int i = 0; i < _rxQueues.Length; i++)
            Release(ref _rxQueues[i]);
        for (int i = 0; i < _txQueues.Length; i++)
            Release(ref _txQueues[i]);
        _rxQueues = [];
        _txQueues = [];
    }

    private static void Release(ref RxQueue? queue)
    {
        if (queue == null)
            return;
        queue.Stats->Missed += queue.ReadMissed(); // the queue's own count ends with it, the port's must not
        queue.TellReleased();
        queue.Release();
        queue = null;
    }

    private static void Release(ref TxQueue? queue)
    {
        queue?.TellReleased();
        queue?.Release();
        queue = null;
    }
}
