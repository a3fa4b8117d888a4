using Dataplane.Apps.Watch;
using Dataplane.Net;

namespace Dataplane.Apps.Forward;

/// <summary>One run from start-up to summary.</summary>
internal static class ForwardRun
{
    /// <summary>Options that make ports on any machine, for messages.</summary>
    public const string VirtualPorts = "--vdev net_null0 --vdev net_null1 (they make and swallow packets), or as root "
        + "--vdev net_af_packet0,iface=eth0 --vdev net_af_packet1,iface=eth1";

    /// <summary>Starts everything, shows rates until the end, stops everything in order and counts what is
    /// left.</summary>
    public static ForwardReport Run(EalOptions ealOptions, ForwardOptions options, bool isDemo)
    {
        using Eal eal = Eal.Initialize(ealOptions);
        using PortList list = PortList.Probe(eal, Pmd.Drivers.All);
        if (list.Ports.Count == 0)
            throw list.NoPorts("there is no port to forward on", VirtualPorts);
        foreach (Port port in list.Ports)
            port.Events += (lost, what) => StopWhenLost(eal, lost, what);
        // A bond's members are the bond's.
        IReadOnlyList<Port> forwarded = isDemo ? [list.Ports[1], list.Ports[2]]
            : [.. list.Ports.Where(port => port.Owner == null)];
        using PortSetup setup = PortSetup.Start(eal, list, forwarded, options);
        using PortSetup? farEnds = isDemo ? PortSetup.Start(eal, list, [list.Ports[0], list.Ports[3]], options,
            "far") : null;
        int[] lcores = [.. eal.Lcores.Where(lcore => lcore.Role != LcoreRole.Service).Select(lcore => lcore.Id)];
        IReadOnlyList<ForwardLcore> work = setup.DealOut(isDemo ? lcores[..1] : lcores);
        var sampler = new Sampler(eal, setup, work);
        if (options.RecordCycles || options.RecordBursts)
            foreach (ForwardStream stream in work.SelectMany(one => one.Streams))
                stream.Record = new StreamRecord(options.Burst);
        using LatencyStats? latency = options.Latency ? new LatencyStats(eal.Memory, forwarded) : null;
        using IDisposable watched = Watcher.Start(eal, options.Watch,
            new ForwardWatch(eal, options, list.Ports, work, latency));
        DemoTester? tester = farEnds == null ? null : MakeTester(farEnds, options);

        // What is sent before the link is up is lost, and these packets are sent only once. As long as testpmd waits.
        foreach (Port port in options.TxFirst > 0 ? forwarded : [])
            port.WaitForLink(TimeSpan.FromSeconds(9));
        Sample first = sampler.Read();
        int collections = GC.CollectionCount(0);
        TimeSpan pause = Eal.GcPauseTotal;
        if (tester is { } far)
            eal.Launch(lcores[1], far);
        foreach (ForwardLcore one in work)
            eal.Launch(one.LcoreId, new ForwardWorker(one, tester));
        new Display(sampler, options).Run(time => eal.StopToken.WaitHandle.WaitOne(time));
        eal.RequestStop();
        eal.WaitAll();

        Sample last = sampler.Read();
        ForwardReport report = sampler.Report(options, first, last, GC.CollectionCount(0) - collections,
            Eal.GcPauseTotal - pause, tester?.Report());
        setup.Stop();
        farEnds?.Stop();
        return report with { Latency = latency?.Read(), PoolLeaks = setup.PoolLeaks + (farEnds?.PoolLeaks ?? 0) };
    }

    // The kernel waits with an unplug or unbind until the port is closed, so go at once. A kernel interface that is
    // deleted waits for nobody: the other ports go on.
    private static void StopWhenLost(Eal eal, Port port, PortEvent what)
    {
        if (what is not (PortEvent.Removed or PortEvent.ResetNeeded) || eal.StopToken.IsCancellationRequested
            || port.Info.Pci == null)
            return;
        Console.Error.WriteLine($"Forward: port {port.Name} {(what == PortEvent.Removed
            ? "is being taken away (unplugged, unbound or removed)" : "reported an error it cannot go on after")}: "
            + "stopping");
        eal.RequestStop();
    }

    private static DemoTester MakeTester(PortSetup farEnds, ForwardOptions options)
    {
        Mempool pool = farEnds.Pools.First();
        PacketTemplate frame = farEnds.Frame(options.FrameBytes, 0);
        return new DemoTester(new DemoEnd(farEnds.Ports[0], pool, frame), new DemoEnd(farEnds.Ports[1], pool, frame),
            options.Burst);
    }
}
