using System.Runtime.CompilerServices;

namespace Dataplane.Apps.Forward;

/// <summary>What one lcore does: its streams in turn, until it is asked to stop.</summary>
internal sealed class ForwardLcore(int lcoreId, ForwardStream[] streams, int burst)
{
    /// <summary>Where it runs.</summary>
    public int LcoreId { get; } = lcoreId;

    /// <summary>What it polls.</summary>
    public ForwardStream[] Streams { get; } = streams;

    /// <summary>What each stream sends before the loop begins, and how many bursts of it.</summary>
    public (FrameSource[] Sources, int Bursts) First { get; init; } = ([], 0);

    /// <summary>Packets per call.</summary>
    public int Burst { get; } = burst;

    /// <summary>Sleep while no packet comes.</summary>
    public bool Sleeps { get; init; }

    /// <summary>How often it went to sleep.</summary>
    public long SleepCount { get; set; }

    /// <summary>Managed bytes the poll loop allocated, known once it has ended: 0, or something is wrong.</summary>
    public long AllocatedBytes { get; set; }
}

/// <summary>The poll loop.</summary>
/// <param name="work">The lcore's share.</param>
/// <param name="tester">The demo's far ends, which stop first: until they are done it goes on.</param>
internal readonly struct ForwardWorker(ForwardLcore work, DemoTester? tester) : ILcoreWorker
{
    // Empty polls before an lcore sleeps: arming costs more than they do, and traffic comes in clusters (l3fwd-power
    // waits for 300).
    private const int PollsBeforeSleep = 300;

    // Milliseconds until a sleeping lcore looks whether it is to stop.
    private const int LongestSleepMs = 100;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Run(Lcore lcore)
    {
        Span<Mbuf> burst = new Mbuf[work.Burst];
        ForwardStream[] streams = work.Streams;
        var meter = new CycleMeter(lcore);
        Warm(streams, burst);
        using RxWaiter? waiter = work.Sleeps ? new RxWaiter([.. streams.Select(stream => stream.Rx)]) : null;
        int idle = 0;
        for (int i = 0; i < work.First.Bursts; i++)
            for (int stream = 0; stream < streams.Length; stream++)
                streams[stream].Generate(work.First.Sources[stream], burst);
        long before = GC.GetAllocatedBytesForCurrentThread();
        while (!lcore.StopRequested)
        {
            bool busy = false;
            foreach (ForwardStream stream in streams)
                busy |= stream.Step(burst);
            if (waiter != null && (idle = busy ? 0 : idle + 1) == PollsBeforeSleep)
                busy = Sleep(waiter, streams, burst, ref idle);
            meter.Count(busy);
        }
        work.AllocatedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        while (tester is { IsDone: false })
            foreach (ForwardStream stream in streams)
                stream.Step(burst);
        foreach (ForwardStream stream in streams)
            stream.Finish();
        return 0;
    }

    // Polls once more when the interrupts are on: a packet that came before is not told of.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private bool Sleep(RxWaiter waiter, ForwardStream[] streams, Span<Mbuf> burst, ref int idle)
    {
        bool busy = false;
        waiter.Arm();
        foreach (ForwardStream stream in streams)
            busy |= stream.Step(burst);
        idle = 0;
        if (busy)
        {
            waiter.Disarm();
            return true;
        }
        work.SleepCount++;
        if (!waiter.Sleep(LongestSleepMs))
            idle = PollsBeforeSleep - 1;    // nothing came: back to sleep after one look
        return false;
    }

    /// <summary>The first steps compile code and make statics, which is the only managed memory the loop ever
    /// takes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Warm(ForwardStream[] streams, Span<Mbuf> burst)
    {
        for (int i = 0; i < 100; i++)
            foreach (ForwardStream stream in streams)
                stream.Step(burst);
    }
}
