namespace Dataplane.Apps.Forward;

/// <summary>What one lcore does: its streams in turn, until it is asked to stop.</summary>
internal sealed class ForwardLcore(int lcoreId, ForwardStream[] streams, int burst)
{
    /// <summary>Where it runs.</summary>
    public int LcoreId { get; } = lcoreId;

    /// <summary>What it polls.</summary>
    public ForwardStream[] Streams { get; } = streams;

    /// <summary>Packets per call.</summary>
    public int Burst { get; } = burst;

    /// <summary>Managed bytes the poll loop allocated, known once it has ended: 0, or something is wrong.</summary>
    public long AllocatedBytes { get; set; }
}

/// <summary>The poll loop.</summary>
/// <param name="work">The lcore's share.</param>
/// <param name="tester">The demo's far ends, which stop first: until they are done it goes on.</param>
internal readonly struct ForwardWorker(ForwardLcore work, DemoTester? tester) : ILcoreWorker
{
    public int Run(Lcore lcore)
    {
        Span<Mbuf> burst = new Mbuf[work.Burst];
        ForwardStream[] streams = work.Streams;
        var meter = new CycleMeter(lcore);
        Warm(streams, burst);
        long before = GC.GetAllocatedBytesForCurrentThread();
        while (!lcore.StopRequested)
        {
            bool busy = false;
            foreach (ForwardStream stream in streams)
                busy |= stream.Step(burst);
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

    /// <summary>The first steps compile code and make statics, which is the only managed memory the loop ever
    /// takes.</summary>
    private static void Warm(ForwardStream[] streams, Span<Mbuf> burst)
    {
        for (int i = 0; i < 100; i++)
            foreach (ForwardStream stream in streams)
                stream.Step(burst);
    }
}
