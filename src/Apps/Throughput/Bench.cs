using Dataplane.Net;

namespace Dataplane.Apps.Throughput;

/// <summary>One direction: a sender and, except into a sink, the receiver of its packets.</summary>
internal sealed record Direction(Port From, Port To, Sender Sender, Receiver? Receiver);

/// <summary>Ports set up for the path, lcores polling, trials run one after the other.</summary>
internal sealed class Bench : IDisposable
{
    // The first packets pay for compiling the loops; no trial is to.
    private const double WarmUpSeconds = 0.1;

    private readonly Eal _eal;
    private readonly ThroughputOptions _options;
    private readonly IReadOnlyList<Port> _ports;
    private readonly Mempool _pool;
    private ushort _trial;

    public Bench(Eal eal, IReadOnlyList<Port> ports, ThroughputOptions options)
    {
        int wanted = options.Path is TestPath.Loop or TestPath.Sink ? 1 : 2;
        if (ports.Count < wanted || (options.Path == TestPath.Pair && ports.Count % 2 != 0))
            throw new ConfigException($"--path {options.Path.ToString().ToLowerInvariant()} wants "
                + (options.Path == TestPath.Pair ? "two ports, four, ..." : $"at least {wanted}")
                + $", not {ports.Count}", fix: "e.g. Throughput --vdev net_wire0 --vdev net_wire1");
        _eal = eal;
        _options = options;
        _ports = ports;
        _pool = Mempool.CreateMbufPool(eal.Memory, "throughput", PoolMbufs(), 256);
        try
        {
            foreach (Port port in ports)
                SetUp(port);
            foreach (Port port in ports)
                port.Start();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Mbufs that are not back in the pool; 0 once the ports are stopped.</summary>
    public long PoolLeaks => _pool.InUseCount;

    /// <summary>Finds the result for one frame size.</summary>
    public FrameResult Measure(string frame)
    {
        int[] bytes = ThroughputOptions.FrameBytes(frame);
        Direction[] directions = MakeDirections(bytes);
        StartLcores(directions);
        try
        {
            double limit = LinkLimit(bytes.Average()), start = _options.Rate > 0 ? Math.Min(_options.Rate, limit)
                : limit;
            double first = double.IsPositiveInfinity(start) ? 0 : start;
            Trial warmUp = Run(directions, first, WarmUpSeconds);
            if (_options.Test != TestKind.ZeroLoss)
            {
                Trial only = Run(directions, first);
                return new FrameResult(frame, bytes.Average(), only, [only], warmUp);
            }
            (IReadOnlyList<Trial> trials, Trial? best) = Search.ZeroLoss(first, _options.ResolutionPercent,
                directions.Length, rate => TryRun(directions, rate), trial => trial.Passes(_options.LossPercent));
            return trials.Count > 0 ? new FrameResult(frame, bytes.Average(), best, trials, warmUp)
                : throw new OperationCanceledException();
        }
        finally
        {
            _eal.StopAll();
        }
    }

    /// <summary>Every counter of every port: by these a lost packet can be traced.</summary>
    public IReadOnlyDictionary<string, IReadOnlyDictionary<string, ulong>> Counters() =>
        _ports.ToDictionary(port => port.Name, port => (IReadOnlyDictionary<string, ulong>)port.GetXstats()
            .ToDictionary(one => one.Name, one => one.Value));

    /// <summary>Stops the ports; every packet goes back to the pool.</summary>
    public void Stop()
    {
        foreach (Port port in _ports)
            if (port.State == PortState.Started)
                port.Stop();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Port port in _ports)
            port.Dispose();
        _pool.Dispose();
    }

    /// <summary>Packets per second a link of --link carries: 20 bytes of preamble and gap go with each (IEEE 802.3
    /// §4.4.2).</summary>
    private double LinkLimit(double meanBytes) =>
        _options.LinkGbps > 0 ? _options.LinkGbps * 1e9 / 8 / (meanBytes + 20) : double.PositiveInfinity;

    private Trial Run(Direction[] directions, double rate) => Run(directions, rate, _options.TrialSeconds);

    /// <summary>Null when it was stopped: what a search has found until then is kept.</summary>
    private Trial? TryRun(Direction[] directions, double rate)
    {
        try
        {
            return Run(directions, rate);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    private Trial Run(Direction[] directions, double rate, double seconds)
    {
        if (_eal.StopToken.IsCancellationRequested)
            throw new OperationCanceledException();
        _trial++;
        (ulong missed, ulong unsent) before = Dropped();
        foreach (Direction direction in directions)
            direction.Receiver?.Begin(_trial);
        foreach (Direction direction in directions)
            direction.Sender.Begin(_trial, rate > 0 ? rate : double.PositiveInfinity, seconds);
        while (directions.Any(direction => direction.Sender.IsRunning))
            if (_eal.StopToken.WaitHandle.WaitOne(5))
                throw new OperationCanceledException();
        Settle(directions);
        (ulong missed, ulong unsent) after = Dropped();
        return Sum(directions, rate * directions.Length, seconds) with
        {
            Missed = after.missed - before.missed, Unsent = after.unsent - before.unsent,
        };
    }

    private (ulong Missed, ulong Unsent) Dropped()
    {
        ulong missed = 0, unsent = 0;
        foreach (Port port in _ports)
        {
            PortStats stats = port.GetStats();
            missed += stats.RxMissed + stats.RxErrors + stats.RxNoMbuf;
            unsent += stats.TxErrors;
        }
        return (missed, unsent);
    }

    /// <summary>Waits for stragglers until all have arrived, and a little longer for such as come twice.</summary>
    private void Settle(Direction[] directions)
    {
        long end = Environment.TickCount64 + (long)(_options.SettleSeconds * 1000);
        while (Environment.TickCount64 < end && directions.Any(d => d.Receiver is { } receiver
            && receiver.Received < d.Sender.Sent))
            _eal.StopToken.WaitHandle.WaitOne(5);
        _eal.StopToken.WaitHandle.WaitOne(10);
    }

    private Trial Sum(Direction[] directions, double offered, double seconds)
    {
        ulong sum(Func<Direction, ulong> value) =>
            directions.Aggregate(0UL, (total, direction) => total + value(direction));
        ulong sent = sum(d => d.Sender.Sent), bytes = sum(d => d.Sender.SentBytes);
        bool isSink = _options.Path == TestPath.Sink;
        ulong received = isSink ? 0 : sum(d => d.Receiver!.Received);
        // Percentiles cannot be added up: those of the direction that was slowest at the far end stand for all.
        LatencyHistogram? slowest = directions.Select(d => d.Receiver?.Latency).MaxBy(h => h?.Percentile(99.9) ?? 0);
        return new Trial(offered, seconds, sent, received, isSink ? 0 : sent - Math.Min(sent, received),
            isSink ? 0 : sum(d => d.Receiver!.OutOfOrder), isSink ? 0 : sum(d => d.Receiver!.Duplicates),
            isSink ? 0 : sum(d => d.Receiver!.Foreign), sum(d => d.Sender.Blocked),
            Math.Round(sent / seconds), Math.Round((bytes + 4.0 * sent) * 8 / seconds),
            slowest is { Count: > 0 } ? Latencies.Of(slowest) : null);
    }

    private Direction[] MakeDirections(int[] bytes)
    {
        Direction make(Port from, Port to, Port receive)
        {
            PacketTemplate[] frames = [.. bytes.Select(size => PacketTemplate.Udp4(from.MacAddress, to.MacAddress,
                IPv4Address.Parse("198.18.0.1"), IPv4Address.Parse("198.19.0.1"), 1024, 9, size - 4,
                udpChecksum: false))];
            return new Direction(from, receive, new Sender(from.TxQueues[0], _pool, frames),
                _options.Path == TestPath.Sink ? null : new Receiver(receive.RxQueues[0]));
        }
        return _options.Path switch
        {
            TestPath.Loop or TestPath.Sink => [.. _ports.Select(port => make(port, port, port))],
            TestPath.Reflect => [make(_ports[0], _ports[1], _ports[0])],
            _ => [.. _ports.Where((_, i) => i % 2 == 0 || _options.Bidirectional)
                .Select(port => make(port, Peer(port), Peer(port)))],
        };
    }

    private Port Peer(Port port) => _ports[_ports.ToList().IndexOf(port) ^ 1];

    /// <summary>Senders and receivers on lcores of their own where there are enough, the reflector always on the
    /// last.</summary>
    private void StartLcores(Direction[] directions)
    {
        List<PollTask> polls = [.. directions.Select(d => (PollTask)new SenderTask(d.Sender)),
            .. directions.Where(d => d.Receiver != null).Select(d => (PollTask)new ReceiverTask(d.Receiver!))];
        int[] lcores = [.. _eal.Lcores.Where(lcore => lcore.Role != LcoreRole.Service).Select(lcore => lcore.Id)];
        if (_options.Path == TestPath.Reflect)
        {
            int[] testers = lcores.Length > 1 ? lcores[..^1] : lcores;
            Launch(testers, polls, lcores.Length > 1 ? null : new ReflectTask(_ports[1]));
            if (lcores.Length > 1)
                _eal.Launch(lcores[^1], new PollWorker([new ReflectTask(_ports[1])], _options.Burst));
            return;
        }
        Launch(lcores, polls, null);
    }

    private void Launch(int[] lcores, List<PollTask> tasks, PollTask? also)
    {
        if (also != null)
            tasks.Add(also);
        int used = Math.Min(lcores.Length, tasks.Count);
        for (int i = 0; i < used; i++)
            _eal.Launch(lcores[i], new PollWorker([.. tasks.Where((_, task) => task % used == i)], _options.Burst));
    }

    private void SetUp(Port port)
    {
        port.Configure(new PortConfig { TxOffloads = port.Info.TxOffloads & TxOffloads.FastFree });
        port.SetupRxQueue(0, _pool, new RxQueueConfig(_options.Descriptors));
        port.SetupTxQueue(0, new TxQueueConfig(_options.Descriptors));
    }

    private int PoolMbufs()
    {
        int perPort(Port port) => 2 * (_options.Descriptors > 0 ? _options.Descriptors : port.Info.DefaultDescriptors);
        return Math.Max(8191, _ports.Sum(perPort) * 2 + _eal.Lcores.Count() * (256 + _options.Burst));
    }
}
