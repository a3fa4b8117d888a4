using System.Runtime.CompilerServices;
using Dataplane.Native;

namespace Dataplane;

/// <summary>A logical core: a dedicated thread pinned to its CPUs.</summary>
public sealed unsafe class Lcore
{
    private const uint LoopsPerPoll = 16;

    [ThreadStatic] private static Lcore? t_current;
    [ThreadStatic] private static int t_idPlusOne;

    private readonly LcoreBlock[] _blocks;   // keeps what _block points into alive
    private readonly LcoreBlock* _block;

    // The blocks are pinned, and Max + 1: one is lost to alignment.
    internal Lcore(int id, CpuSet cpus, int numaNode, LcoreRole role, LcoreBlock[] blocks)
    {
        Id = id;
        Cpus = cpus;
        NumaNode = numaNode;
        Role = role;
        _blocks = blocks;
        _block = (LcoreBlock*)(((nuint)Unsafe.AsPointer(ref blocks[0]) + LcoreBlock.SizeBytes - 1)
            & ~(nuint)(LcoreBlock.SizeBytes - 1)) + id;
    }

    /// <summary>Highest number of lcores in one environment; ids are below it.</summary>
    public const int Max = 128;

    /// <summary>The id of a thread that is no lcore.</summary>
    public const int NoId = -1;

    /// <summary>0 to <see cref="Max"/> - 1.</summary>
    public int Id { get; }

    /// <summary>The CPUs its thread may run on.</summary>
    public CpuSet Cpus { get; }

    /// <summary>The memory node of its first CPU.</summary>
    public int NumaNode { get; }

    /// <summary>What it is for.</summary>
    public LcoreRole Role { get; }

    /// <summary>Whether it runs a worker now. Any thread.</summary>
    public LcoreState State => Thread?.State ?? LcoreState.Running;

    /// <summary>The lcore this thread is, or null.</summary>
    public static Lcore? Current => t_current;

    /// <summary>This thread's lcore id, <see cref="NoId"/> where it is none. Data path.</summary>
    public static int CurrentId => t_idPlusOne - 1;

    /// <summary>The CPU the calling thread is on at this moment. Control path.</summary>
    public static int CurrentCpu => Sched.sched_getcpu();

    /// <summary>
    /// Whether the worker should return soon. The condition of every poll loop: it is one load and a counter, and keeps
    /// the garbage collector from waiting for the loop (<see cref="Poll"/>). Call on the lcore itself. Data path.
    /// </summary>
    public bool StopRequested
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            if ((++_block->PollTick & (LoopsPerPoll - 1)) == 0)
                Poll();
            return Volatile.Read(ref _block->Stop) != 0;
        }
    }

    /// <summary>Where its cycles went. Any thread.</summary>
    public LcoreUsage Usage => new(Volatile.Read(ref _block->BusyCycles), Volatile.Read(ref _block->IdleCycles),
        Volatile.Read(ref _block->BusyLoops), Volatile.Read(ref _block->IdleLoops));

    /// <summary>The thread behind it; null for a foreign one.</summary>
    internal LcoreThread? Thread { get; set; }

    /// <summary>
    /// Lets a pending garbage collection or debugger break in. A loop of tiny calls may otherwise offer no point where
    /// the runtime can stop the thread. Needed only in loops that do not test <see cref="StopRequested"/>. Data path.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Poll() => System.Threading.Thread.SpinWait(0);   // no spin: its native call ends in a GC poll

    /// <summary>Books a loop that did work. Call on the lcore itself. Data path.</summary>
    /// <param name="cycles">TSC cycles it took.</param>
    /// <param name="loops">How many loops that was.</param>
    public void CountBusy(ulong cycles, uint loops = 1)
    {
        _block->BusyCycles += cycles;
        _block->BusyLoops += loops;
    }

    /// <summary>Books a loop that found nothing to do. Call on the lcore itself. Data path.</summary>
    /// <param name="cycles">TSC cycles it took.</param>
    /// <param name="loops">How many loops that was.</param>
    public void CountIdle(ulong cycles, uint loops = 1)
    {
        _block->IdleCycles += cycles;
        _block->IdleLoops += loops;
    }

    /// <inheritdoc/>
    public override string ToString() => $"lcore {Id} ({Role}) on CPU {Cpus}";

    /// <summary>Makes the calling thread this lcore (null: none).</summary>
    internal static void SetCurrent(Lcore? lcore)
    {
        t_current = lcore;
        t_idPlusOne = lcore == null ? 0 : lcore.Id + 1;
    }

    /// <summary>Takes a stop of an earlier worker back, unless all are to stop.</summary>
    internal void FollowStop(CancellationToken stop)
    {
        SetStop(false);
        // T0: with T1 in Eal.RequestStop, which cancels before it sets flags. Either the flag is set after this, or
        // this sees the token: a stop asked for meanwhile is not lost.
        Interlocked.MemoryBarrier();
        if (stop.IsCancellationRequested)
            SetStop(true);
    }

    internal void SetStop(bool stop) => Volatile.Write(ref _block->Stop, stop ? 1 : 0);
}
