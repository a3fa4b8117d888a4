using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>
/// The environment: everything a process takes from the system to move packets, and gives back on dispose.
/// </summary>
/// <remarks>
/// Its own methods are for the control path and safe from any thread. Several may live side by side, and one may be
/// made after another; objects of one must not be used on lcores of another.
/// </remarks>
public sealed partial class Eal : IDisposable
{
    private static readonly TimeSpan s_stopTimeout = TimeSpan.FromSeconds(10);

    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lifeLock = new();
    private readonly ILogger _logger;
    private PciBus? _pci;
    private LocalServer? _localServer;
    private readonly StopSignals? _signals;
    private bool _disposed;

    // Whatever it takes is reachable from the fields as soon as it is taken: a failure half-way disposes just that.
    private Eal(EalOptions options, ILoggerFactory? logOutput)
    {
        options.Validate();
        TscRate.Begin();
        Options = options;
        Log = new Log(options, logOutput);
        _logger = Log.CreateLogger("lib.eal");
        Alarms = new Alarms(this, _logger);
        Interrupts = new Interrupts(this, _logger);
        Services = new Services(_logger);
        Telemetry = new Telemetry(Log.CreateLogger("lib.telemetry"));
        Control = new Control(Log.CreateLogger("lib.control"));
        StopToken = _stop.Token;
        try
        {
            ReportUnheeded();
            Topology = CpuTopology.Read();
            _signals = new StopSignals(RequestStop);
            Memory = Memory.Create(options, Log.CreateLogger("lib.memory"), LcoresByNode());
            Dma = new DmaManager(Memory, options, Log.CreateLogger("lib.dma"), interrupts: Interrupts);
            StartLcores();
            _ = Tsc.Hz;
            Memory.Telemetry = Telemetry;
            EalTelemetry.Register(this);
            EalMetrics.Register(this);
            StartTelemetry();
            if (options.Version)
                LogVersion(_logger, VersionText, Environment.OSVersion.Version, Environment.Version);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>What it was started with.</summary>
    public EalOptions Options { get; }

    /// <summary>Loggers by type, with the levels of the options. Control path only.</summary>
    public Log Log { get; }

    /// <summary>Memory for rings, pools and devices.</summary>
    public Memory Memory { get; }

    /// <summary>What devices reach, and where; opens them. Dispose their ports before the environment.</summary>
    public DmaManager Dma { get; }

    /// <summary>The machine's CPUs when it was started.</summary>
    public CpuTopology Topology { get; }

    /// <summary>Timers that expire on lcores.</summary>
    public LcoreTimers Timers { get; } = new();

    /// <summary>What the service lcores run.</summary>
    public Services Services { get; }

    /// <summary>Callbacks on a control thread after a time.</summary>
    public Alarms Alarms { get; }

    /// <summary>The machine's PCI functions; scanned when first asked.</summary>
    /// <exception cref="ConfigException">A device named by <c>--allow</c> or <c>--block</c> is no PCI
    /// address.</exception>
    public PciBus Pci
    {
        get => _pci ??= new PciBus(Options, Dma.Open, Interrupts);
        internal set => _pci = value;
    }

    /// <summary>Callbacks on a control thread when a file becomes readable.</summary>
    public Interrupts Interrupts { get; }

    /// <summary>What this process tells those who connect to its telemetry socket.</summary>
    public Telemetry Telemetry { get; }

    /// <summary>What it does for tools that connect to its control socket.</summary>
    internal Control Control { get; }

    /// <summary>Time all garbage collections of this process have stopped its threads. A steady state adds 0.</summary>
    public static TimeSpan GcPauseTotal => GC.GetTotalPauseDuration();

    /// <summary>
    /// Starts an environment. Take it down with <see cref="Dispose"/>; another can be made after that. The calling
    /// thread
    /// is not pinned: lcores are threads of their own.
    /// </summary>
    /// <param name="options">What to take from the system.</param>
    /// <param name="logOutput">Where log messages go; not disposed. Null: to stderr, one line per message.</param>
    /// <exception cref="ConfigException">The options contradict each other.</exception>
    /// <exception cref="DataplaneException">Something cannot be had; all that was taken is given back.</exception>
    public static Eal Initialize(EalOptions options, ILoggerFactory? logOutput = null) => new(options, logOutput);

    /// <summary>Starts an environment with the options of a command line.</summary>
    /// <param name="args">The arguments of <c>Main</c>.</param>
    /// <param name="applicationArgs">Those after the first <c>--</c>; empty without one.</param>
    /// <exception cref="ConfigException">An option is unknown, malformed or contradicts another.</exception>
    /// <exception cref="DataplaneException">Something cannot be had; all that was taken is given back.</exception>
    public static Eal Initialize(string[] args, out string[] applicationArgs) =>
        Initialize(EalOptions.Parse(args, out applicationArgs));

    /// <summary>
    /// Asks all workers to stop, waits for them, ends the lcores and gives everything back. Does nothing the second
    /// time.
    /// </summary>
    /// <exception cref="DataplaneException">
    /// Called on an lcore; or a worker did not return within 10 s: then nothing it may still use is freed, and Dispose
    /// can
    /// be called again.
    /// </exception>
    public void Dispose()
    {
        if (Lcore.Current is { Thread: not null } current && _lcores[current.Id] == current)
            throw new DataplaneException($"the EAL cannot be disposed on its own lcore {current.Id}",
                "it waits for all lcores to end", "call Dispose on another thread", errno: Errno.EDEADLK);
        Alarms.ThrowIfCurrent();
        Interrupts.ThrowIfCurrent();
        _localServer?.ThrowIfCurrent();
        lock (_lifeLock)
        {
            if (_disposed)
                return;
            EndLcores();
            Telemetry.Meter.Dispose();
            _localServer?.Dispose();   // its commands read what goes from here on
            Alarms.Dispose();
            _signals?.Dispose();
            Dma?.Dispose();   // quiets devices still open, before the memory goes that they write to
            Interrupts.Dispose();
            Memory?.Dispose();
            Log.Dispose();
            UnregisterThread();   // else its id would pick a cache in the pools of the next environment
            _disposed = true;
        }
    }
}
