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
/// <param name="drain">After the stop, goes on until no packet comes any more, 200 ms at the most.</param>
internal readonly struct ForwardWorker(ForwardLcore work, bool drain) : ILcoreWorker
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
        if (drain)
            Drain(streams, burst);
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

    private static void Drain(ForwardStream[] streams, Span<Mbuf> burst)
    {
        long deadline = Environment.TickCount64 + 200, quietUntil = 0;
        while (Environment.TickCount64 < deadline && (quietUntil == 0 || Environment.TickCount64 < quietUntil))
        {
            bool busy = false;
            foreach (ForwardStream stream in streams)
                busy |= stream.Step(burst);
            if (busy || quietUntil == 0)
                quietUntil = Environment.TickCount64 + 50;
        }
    }
}
