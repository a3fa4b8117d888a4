using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Apps.Forward;

/// <summary>Where one stream's packets went. Written by its lcore alone, read by anyone.</summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct StreamCounters
{
    // The first and the last bytes stay empty, so that no other object's writes share these lines.
    [FieldOffset(128)] public ulong Received;

    /// <summary>Made here by txonly, flowgen and the demo's generator.</summary>
    [FieldOffset(136)] public ulong Generated;
    [FieldOffset(144)] public ulong Sent;

    /// <summary>Freed because the transmit queue was full.</summary>
    [FieldOffset(152)] public ulong DroppedTxFull;

    /// <summary>Freed because the mode ends the packet's way: rxonly, and what icmpecho does not answer.</summary>
    [FieldOffset(160)] public ulong Consumed;

    /// <summary>Held back now by noisy's FIFO.</summary>
    [FieldOffset(168)] public ulong Held;

    /// <summary>Packets a generator could not make because the pool was empty.</summary>
    [FieldOffset(176)] public ulong NoMbuf;

    /// <summary>csum: came with a wrong checksum, sent on with it.</summary>
    [FieldOffset(184)] public ulong BadChecksum;

    /// <summary>Packets that came in and went nowhere: 0 whenever no burst is in hand.</summary>
    public readonly long Unaccounted =>
        (long)(Received + Generated - Sent - DroppedTxFull - Consumed - Held);
}

/// <summary>One way through the machine, from a receive queue to a transmit queue. Polled by one lcore.</summary>
internal abstract class ForwardStream(RxQueue rx, TxQueue tx, StreamTrace trace)
{
    /// <summary>What became of its packets.</summary>
    public StreamCounters Counters;

    /// <summary>Packets come from here.</summary>
    public RxQueue Rx { get; } = rx;

    /// <summary>And go here.</summary>
    public TxQueue Tx { get; } = tx;

    /// <summary>Where packets' ways are told of while somebody wants to know.</summary>
    protected StreamTrace Trace { get; } = trace;

    /// <summary>Cycles and burst sizes; null where they are not asked for, which costs a branch a burst.</summary>
    public StreamRecord? Record { get; set; }

    /// <summary>Moves one burst.</summary>
    /// <param name="burst">Scratch space; its length is the burst size.</param>
    /// <returns>True when there was something to do.</returns>
    public abstract bool Step(Span<Mbuf> burst);

    /// <summary>Frees what the stream holds, after the last step, on the same lcore.</summary>
    public virtual void Finish() { }

    /// <summary>Makes a burst of packets and sends it.</summary>
    /// <returns>False when the pool has too few.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool Generate(FrameSource source, Span<Mbuf> burst)
    {
        if (!source.TryMake(burst))
        {
            Counters.NoMbuf += (uint)burst.Length;
            return false;
        }
        Counters.Generated += (uint)burst.Length;
        Send(burst);
        return true;
    }

    /// <summary>Receives a burst.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    protected int Receive(Span<Mbuf> burst) => Record == null ? Rx.RxBurst(burst) : Record.Receive(Rx, burst);

    /// <summary>Sends packets the stream owns; frees and counts what the queue does not take.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    protected void Send(Span<Mbuf> packets)
    {
        int sent = Record == null ? Tx.TxBurst(packets) : Record.Send(Tx, packets);
        Counters.Sent += (uint)sent;
        if (sent == packets.Length)
            return;
        Trace.TxFull(packets[sent..]);
        Mbuf.FreeBulk(packets[sent..]);
        Counters.DroppedTxFull += (uint)(packets.Length - sent);
    }
}

/// <summary>Receives, lets the mode work on the packets, sends.</summary>
internal sealed class TransformStream<TMode>(RxQueue rx, TxQueue tx, StreamTrace trace, TMode mode)
    : ForwardStream(rx, tx, trace)
    where TMode : struct, ITransform
{
    private readonly TMode _mode = mode;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override bool Step(Span<Mbuf> burst)
    {
        int received = Receive(burst);
        if (received == 0)
            return false;
        Counters.Received += (uint)received;
        int toSend = _mode.Process(burst[..received], ref Counters);
        if (toSend > 0)
            Send(burst[..toSend]);
        return true;
    }
}
