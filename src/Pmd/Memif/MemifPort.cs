using Dataplane.Native;
using Dataplane.Net;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>The <c>net_memif</c> driver: packets through memory shared with another process.</summary>
public sealed class MemifPmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_memif";

    /// <inheritdoc/>
    public override string Help => MemifOptions.Help;

    /// <inheritdoc/>
    public override Port Create(PortContext context) => new MemifPort(context, MemifOptions.Parse(context.Args));
}

/// <summary>
/// One end of a memif. Its connection comes and goes on the control threads while the port is started; queues without
/// one move nothing.
/// </summary>
internal sealed unsafe partial class MemifPort : Port
{
    /// <summary>What peers are told we are.</summary>
    internal const string ProgramName = "Dataplane";

    private readonly ILogger _log;
    private readonly MemifGate _gate;
    private readonly SafeFileHandle _trouble;
    private readonly IDisposable _troubleRegistration;
    private MemifLink? _link;
    private bool _started, _linkWanted = true;
    private ulong _connections, _faults;

    internal MemifPort(PortContext context, MemifOptions options) : base(context)
    {
        Options = options;
        _log = context.Eal.Log.CreateLogger("pmd.net.memif");
        Info = new PortInfo
        {
            DriverName = "net_memif",
            MaxRxQueues = MaxQueues,
            MaxTxQueues = MaxQueues,
            RxOffloads = RxOffloads.Scatter,
            TxOffloads = TxOffloads.MultiSegments,
            MaxMtu = 65_521,
            MinRxBufferBytes = 64,
            MinDescriptors = 2,
            MaxDescriptors = 1 << MemifProtocol.MaxLog2RingSize,
            DefaultDescriptors = 1 << options.Log2RingSize,
            PowerOfTwoDescriptors = true,
            MaxMacAddresses = 64,
            RxInterrupts = true,
            LinkInterrupts = true,
            MacAddress = options.Mac ?? MacAddress.Local((uint)Random.Shared.Next(1 << 30)),
        };
        _trouble = Eventfd.Create();
        _gate = new MemifGate();
        _troubleRegistration = Eal.Interrupts.Register(_trouble, () => _gate!.Run(OnTrouble));
        try
        {
            Listener = options.IsServer ? MemifListener.Join(this, options, context.Ports) : null;
        }
        catch
        {
            OnClose();
            throw;
        }
        _gate = Listener?.Gate ?? _gate;
        ReportFault();   // there is none; but the first call of a function allocates: now, not on the data path
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    internal MemifOptions Options { get; }

    /// <summary>A server's socket; null for a client.</summary>
    internal MemifListener? Listener { get; }

    /// <summary>Can be connected to. Under the gate.</summary>
    internal bool IsStarted => _started;

    /// <inheritdoc/>
    public override LinkStatus GetLink() => new(Volatile.Read(ref _link) is { IsUp: true }, SpeedMbps: 100_000);

    /// <summary>A queue saw the other end break the rules. Data path, once per connection.</summary>
    internal void ReportFault() => Eventfd.Signal(_trouble);

    /// <summary>Tells of a change, not under the gate.</summary>
    internal void TellLink() => Raise(PortEvent.LinkChanged);

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) => Options.IsServer
        ? new MemifServerRxQueue(this, index, pool, config) : new MemifClientRxQueue(this, index, pool, config);

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) => Options.IsServer
        ? new MemifServerTxQueue(this, index) : new MemifClientTxQueue(this, index);

    /// <inheritdoc/>
    protected override void OnStart()
    {
        foreach (RxQueue queue in RxQueues)
            ((MemifRxQueue)queue).Open(Config.RxInterrupts);
        if (!Options.IsServer)
            CheckClientMemory();
        _gate.Run(() =>
        {
            _started = true;
            BeginConnecting();
        });
    }

    /// <inheritdoc/>
    protected override void OnStop()
    {
        _gate.Run(() =>
        {
            _started = false;
            EndLink("Port stopped");
        });
        foreach (RxQueue queue in RxQueues)
            ((MemifRxQueue)queue).Close();
    }

    /// <inheritdoc/>
    protected override void OnClose()
    {
        Listener?.Leave(this);
        _troubleRegistration.Dispose();
        _trouble.Dispose();
    }

    /// <inheritdoc/>
    protected override void OnSetLink(bool up)
    {
        _gate.Run(() =>
        {
            _linkWanted = up;
            if (up)
                BeginConnecting();
            else
                EndLink("Link taken down");
        });
    }

    /// <inheritdoc/>
    protected override void OnSetMtu(int mtu) { }

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address) { }

    /// <inheritdoc/>
    protected override void OnAddMacAddress(MacAddress address) { }

    /// <inheritdoc/>
    protected override void OnSetPromiscuous(bool on) { }

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on) { }

    /// <inheritdoc/>
    protected override void AddXstats(ICollection<Xstat> xstats)
    {
        xstats.Add(new("memif_connections", _connections));
        xstats.Add(new("memif_peer_faults", _faults));
    }
}
