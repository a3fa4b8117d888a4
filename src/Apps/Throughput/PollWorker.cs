namespace Dataplane.Apps.Throughput;

/// <summary>Something an lcore polls.</summary>
internal abstract class PollTask
{
    /// <summary>Does one burst of work.</summary>
    /// <returns>True when there was any.</returns>
    public abstract bool Step(Span<Mbuf> burst);
}

/// <summary>Polls a sender.</summary>
internal sealed class SenderTask(Sender sender) : PollTask
{
    public override bool Step(Span<Mbuf> burst) => sender.Step(burst);
}

/// <summary>Polls a receiver.</summary>
internal sealed class ReceiverTask(Receiver receiver) : PollTask
{
    public override bool Step(Span<Mbuf> burst) => receiver.Step(burst);
}

/// <summary>Sends back what comes in on a port, its addresses swapped: the device under test, here in the
/// process.</summary>
internal sealed class ReflectTask(Port port) : PollTask
{
    private readonly RxQueue _rx = port.RxQueues[0];
    private readonly TxQueue _tx = port.TxQueues[0];

    public override bool Step(Span<Mbuf> burst)
    {
        int count = _rx.RxBurst(burst);
        if (count == 0)
            return false;
        foreach (Mbuf packet in burst[..count])
        {
            Span<byte> data = packet.Data;
            if (data.Length >= Net.EtherHeader.Size)
                Net.HeaderExtensions.HeaderAt<Net.EtherHeader>(data).SwapAddresses();
        }
        int sent = _tx.TxBurst(burst[..count]);
        Mbuf.FreeBulk(burst[sent..count]);
        return true;
    }
}

/// <summary>The poll loop.</summary>
internal readonly struct PollWorker(PollTask[] tasks, int burstSize) : ILcoreWorker
{
    public int Run(Lcore lcore)
    {
        Span<Mbuf> burst = new Mbuf[burstSize];
        var meter = new CycleMeter(lcore);
        while (!lcore.StopRequested)
        {
            bool busy = false;
            foreach (PollTask task in tasks)
                busy |= task.Step(burst);
            meter.Count(busy);
        }
        return 0;
    }
}
