using Dataplane.Net;

namespace Dataplane.Apps.Throughput;

/// <summary>Receives test packets, checks their order and measures their way. Polled by one lcore.</summary>
internal sealed class Receiver(RxQueue rx)
{
    private const int WindowBits = 4096;

    private readonly ulong[] _seen = new ulong[WindowBits / 64];
    private volatile int _trial = -1;
    private ulong _next;

    /// <summary>Packets of the trial, duplicates not counted.</summary>
    public ulong Received { get; private set; }

    /// <summary>Came after one with a higher number.</summary>
    public ulong OutOfOrder { get; private set; }

    /// <summary>Came a second time, or so late that it cannot be told (4,096 behind).</summary>
    public ulong Duplicates { get; private set; }

    /// <summary>Packets that are not of this trial.</summary>
    public ulong Foreign { get; private set; }

    /// <summary>How long they were under way, TSC cycles.</summary>
    public LatencyHistogram Latency { get; } = new();

    /// <summary>Starts a trial. From any thread, while no packet of it has been sent.</summary>
    public void Begin(ushort trial)
    {
        _trial = -1;
        (Received, OutOfOrder, Duplicates, Foreign, _next) = (0, 0, 0, 0, 0);
        Array.Clear(_seen);
        Latency.Clear();
        _trial = trial;
    }

    /// <summary>Receives and checks a burst.</summary>
    public bool Step(Span<Mbuf> burst)
    {
        int count = rx.RxBurst(burst);
        if (count == 0)
            return false;
        ulong now = Tsc.Read();
        foreach (Mbuf packet in burst[..count])
            Check(packet.Data, now);
        Mbuf.FreeBulk(burst[..count]);
        return true;
    }

    private void Check(Span<byte> data, ulong now)
    {
        if (data.Length < Stamp.Offset + 18)
        {
            Foreign++;
            return;
        }
        Stamp stamp = data.HeaderAt<Stamp>(Stamp.Offset);
        if (stamp.Trial != _trial)
        {
            Foreign++;
            return;
        }
        ulong sequence = stamp.Sequence;
        if (sequence >= _next)
        {
            Advance(sequence);
        }
        else if (_next - sequence > WindowBits || !Mark(sequence))
        {
            Duplicates++;
            return;
        }
        else
        {
            OutOfOrder++;
        }
        Received++;
        Latency.Add(now > stamp.SentAt ? now - stamp.SentAt : 0);
    }

    /// <summary>Moves the window up to a number that is the highest so far, and marks it.</summary>
    private void Advance(ulong sequence)
    {
        if (sequence - _next >= WindowBits)
            Array.Clear(_seen);
        else
            for (ulong skipped = _next; skipped < sequence; skipped++)
                _seen[skipped % WindowBits / 64] &= ~(1UL << (int)(skipped % 64));
        _seen[sequence % WindowBits / 64] |= 1UL << (int)(sequence % 64);
        _next = sequence + 1;
    }

    /// <returns>False when it was marked already.</returns>
    private bool Mark(ulong sequence)
    {
        ref ulong word = ref _seen[sequence % WindowBits / 64];
        ulong bit = 1UL << (int)(sequence % 64);
        bool isNew = (word & bit) == 0;
        word |= bit;
        return isNew;
    }
}
