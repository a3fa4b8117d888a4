using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>A member's end of the slow protocols: its machine, what came for it, and counts. Each member has a queue of
/// its own, so that a flood costs that member alone.</summary>
internal sealed unsafe class LacpLink : IDisposable
{
    private const int FramesWaiting = 16;

    private readonly Ring<SlowFrame> _arrived;
    private readonly LacpParty _actor;
    private readonly int _aggregateWaitMs;
    private ulong _dropped;
    private bool _refused;

    /// <param name="memory">Where to take memory from.</param>
    /// <param name="name">For its ring.</param>
    /// <param name="actor">This end.</param>
    /// <param name="aggregateWaitMs">See <see cref="BondingOptions.AggregateWaitMs"/>.</param>
    internal LacpLink(Memory memory, string name, LacpParty actor, int aggregateWaitMs)
    {
        _arrived = Ring<SlowFrame>.Create(memory, name, FramesWaiting, producerSync: RingSync.MultiThread,
            consumerSync: RingSync.SingleThread, exactSize: true);
        _actor = actor;
        _aggregateWaitMs = aggregateWaitMs;
        Machine = new LacpMachine(actor, aggregateWaitMs);
    }

    internal LacpMachine Machine { get; private set; }

    internal ulong PdusReceived { get; private set; }
    internal ulong PdusSent { get; set; }
    internal ulong PdusBad { get; private set; }
    internal ulong MarkersAnswered { get; set; }

    /// <summary>Frames that found the queue full.</summary>
    internal ulong Dropped => Volatile.Read(ref _dropped);

    /// <summary>Takes a frame's bytes along for the control thread. Data path.</summary>
    internal void Deliver(ReadOnlySpan<byte> data)
    {
        SlowFrame frame = default;
        int length = Math.Min(data.Length, LacpPdu.FrameBytes);
        frame.Length = (ushort)length;
        data[..length].CopyTo(new Span<byte>(frame.Bytes, length));
        if (!_arrived.TryEnqueue(frame))
            Interlocked.Increment(ref _dropped);   // several receive queues may; an atomic count, no barrier is meant
    }

    /// <summary>The member did not take a frame. Sending thread.</summary>
    internal void NoteRefused() => Volatile.Write(ref _refused, true);

    /// <summary>Starts from nothing.</summary>
    /// <param name="system">The bond's address.</param>
    internal void Reset(MacAddress system)
    {
        Machine = new LacpMachine(_actor with { System = system }, _aggregateWaitMs);
        while (_arrived.TryDequeue(out _)) { }
    }

    /// <summary>Takes what came to the machine.</summary>
    /// <param name="now">Milliseconds.</param>
    /// <param name="source">The member's own address.</param>
    /// <param name="answer">Called with each frame that answers a marker.</param>
    internal void Process(long now, MacAddress source, Action<byte[]> answer)
    {
        if (Volatile.Read(ref _refused))
        {
            Volatile.Write(ref _refused, false);
            Machine.Unsent();
        }
        // No more than fit at once, whatever comes meanwhile.
        for (int i = 0; i < FramesWaiting && _arrived.TryDequeue(out SlowFrame frame); i++)
        {
            var bytes = new ReadOnlySpan<byte>(frame.Bytes, frame.Length);
            if (bytes[LacpPdu.SubtypeOffset] == LacpPdu.MarkerSubtype)
            {
                var reply = new byte[LacpPdu.FrameBytes];
                if (LacpPdu.TryAnswerMarker(bytes, reply, source))
                    answer(reply);
                continue;
            }
            // One of our own that came back says nothing of a partner.
            if (!LacpPdu.TryParse(bytes, out LacpPdu pdu) || pdu.Actor.System == Machine.Actor.System)
            {
                PdusBad++;
                continue;
            }
            PdusReceived++;
            Machine.Receive(pdu, now);
        }
    }

    public void Dispose() => _arrived.Dispose();
}
