using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>A service that was registered. Its properties are for any thread.</summary>
public sealed partial class Service
{
    private readonly IService _body;
    private readonly ILogger _logger;
    private readonly Block[] _blocks = new Block[Lcore.Max];   // by lcore: each is written by its lcore only
    private volatile bool _ready;
    private volatile bool _enabled = true;
    private volatile bool _registered = true;
    private int _running;
    private ServiceStats _reset;

    internal Service(string name, IService body, bool isMtSafe, int numaNode, ILogger logger)
    {
        Name = name;
        _body = body;
        IsMtSafe = isMtSafe;
        NumaNode = numaNode;
        _logger = logger;
    }

    /// <summary>Its name, unique in its environment.</summary>
    public string Name { get; }

    /// <summary>Whether several lcores may run it at once.</summary>
    public bool IsMtSafe { get; }

    /// <summary>The memory node it works on, or <see cref="Memory.AnyNode"/>.</summary>
    public int NumaNode { get; }

    /// <summary>The word of the component it belongs to: it is set up and may run. False at first.</summary>
    public bool IsReady
    {
        get => _ready;
        set => _ready = value;
    }

    /// <summary>The application's word: it shall run. True at first; an exception in it makes it false.</summary>
    public bool IsEnabled
    {
        get => _enabled;
        set => _enabled = value;
    }

    /// <summary>Whether lcores that come to it run it.</summary>
    public bool IsRunning => _ready && _enabled && _registered;

    /// <summary>What it did. A sum over lcores; a snapshot while they run.</summary>
    public ServiceStats Stats
    {
        get
        {
            ServiceStats sum = Sum();
            return new(sum.Calls - _reset.Calls, sum.Cycles - _reset.Cycles, sum.IdleCalls - _reset.IdleCalls,
                sum.ErrorCalls - _reset.ErrorCalls);
        }
    }

    /// <summary>Counts from 0 again.</summary>
    public void ResetStats() => _reset = Sum();

    internal void MarkUnregistered() => _registered = false;

    /// <summary>Runs it on the calling lcore, if it may.</summary>
    /// <param name="lcore">The calling one.</param>
    /// <param name="now">
    /// The counter before; moved on to the counter after, so that a round reads it once per service.
    /// </param>
    internal ServiceResult Run(Lcore lcore, ref ulong now)
    {
        if (!IsRunning)
            return ServiceResult.NotRunning;
        // L0: full fence, pairs with L1 below: what one lcore did in the service, the next one in it sees.
        if (!IsMtSafe && Interlocked.CompareExchange(ref _running, 1, 0) != 0)
            return ServiceResult.Locked;
        ServiceResult result = CallBody(lcore);
        if (!IsMtSafe)
            Volatile.Write(ref _running, 0);   // L1
        ulong end = Tsc.Read();
        Book(ref _blocks[lcore.Id], result, end - now);
        now = end;
        return result;
    }

    private ServiceResult CallBody(Lcore lcore)
    {
        try
        {
            return _body.Run(lcore);
        }
        catch (Exception e)
        {
            _enabled = false;
            LogFailure(_logger, Name, lcore.Id, e);
            return ServiceResult.Failed;
        }
    }

    private static void Book(ref Block block, ServiceResult result, ulong cycles)
    {
        block.Calls++;
        block.Cycles += cycles;
        block.IdleCalls += result == ServiceResult.Idle ? 1u : 0;
        block.ErrorCalls += result == ServiceResult.Failed ? 1u : 0;
    }

    private ServiceStats Sum()
    {
        ServiceStats sum = default;
        foreach (ref Block block in _blocks.AsSpan())
            sum = new(sum.Calls + Volatile.Read(ref block.Calls), sum.Cycles + Volatile.Read(ref block.Cycles),
                sum.IdleCalls + Volatile.Read(ref block.IdleCalls),
                sum.ErrorCalls + Volatile.Read(ref block.ErrorCalls));
        return sum;
    }

    [LoggerMessage(LogLevel.Error, "service {Name} failed on lcore {LcoreId} and is disabled")]
    private static partial void LogFailure(ILogger logger, string name, int lcoreId, Exception exception);

    // The fields of two lcores are 128 bytes apart, wherever the array begins: never on one cache line.
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    private struct Block
    {
        [FieldOffset(0)] internal ulong Calls;
        [FieldOffset(8)] internal ulong Cycles;
        [FieldOffset(16)] internal ulong IdleCalls;
        [FieldOffset(24)] internal ulong ErrorCalls;
    }
}
