namespace Dataplane.Tests;

/// <summary>Passes packets between two ports, both ways, on a thread of its own, and counts what the far port did
/// not take.</summary>
internal sealed class Forwarder : IDisposable
{
    private const int WarmPackets = 2000;   // until then, what is made once is made
    private readonly Port _left;
    private readonly Port _right;
    private readonly Thread _thread;
    private volatile bool _stop;

    internal Forwarder(Port left, Port right)
    {
        _left = left;
        _right = right;
        _thread = new Thread(Run) { IsBackground = true, Name = "forwarder" };
        _thread.Start();
    }

    /// <summary>Packets dropped because the far port was full. Read it after <see cref="Dispose"/>.</summary>
    internal long Dropped { get; private set; }

    /// <summary>Bytes allocated on the managed heap by the loop once it was warm.</summary>
    internal long Allocated { get; private set; }

    public void Dispose()
    {
        _stop = true;
        _thread.Join();
    }

    private void Run()
    {
        var burst = new Mbuf[32];
        long before = 0, moved = 0;
        // After the word to stop, until nothing has come for longer than the kernel keeps a block of frames to itself.
        for (long idleFrom = 0; !_stop || Environment.TickCount64 - idleFrom < 300;)
        {
            int now = Pass(_left.RxQueues[0], _right.TxQueues[0], burst)
                + Pass(_right.RxQueues[0], _left.TxQueues[0], burst);
            moved += now;
            if (now != 0 || !_stop)
                idleFrom = Environment.TickCount64;
            if (before == 0 && moved >= WarmPackets)
                before = GC.GetAllocatedBytesForCurrentThread();
        }
        Allocated = before == 0 ? 0 : GC.GetAllocatedBytesForCurrentThread() - before;
    }

    private int Pass(RxQueue from, TxQueue to, Mbuf[] burst)
    {
        int received = from.RxBurst(burst);
        int sent = received == 0 ? 0 : to.TxBurst(burst.AsSpan(0, received));
        for (int again = 0; sent < received && again < 1000; again++)
            sent += to.TxBurst(burst.AsSpan(sent, received - sent));
        Dropped += received - sent;
        Mbuf.FreeBulk(burst.AsSpan(sent, received - sent));
        if (received == 0)
            to.ReclaimTx();
        return received;
    }
}
