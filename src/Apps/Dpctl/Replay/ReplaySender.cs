using System.Runtime.CompilerServices;
using Dataplane.Pmd;

namespace Dataplane.Dpctl;

/// <summary>Where the sender reads the time; tests bring their own.</summary>
internal interface IReplayClock
{
    /// <summary>Cycles.</summary>
    ulong Read();
}

internal readonly struct TscClock : IReplayClock
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Read() => Tsc.Read();
}

/// <summary>What became of the packets. Written by the sending lcore alone, read by anyone.</summary>
internal sealed class ReplayCounters
{
    /// <summary>Read from the file.</summary>
    public ulong Read;

    /// <summary>Taken by the port, and their bytes.</summary>
    public ulong Sent, SentBytes;

    /// <summary>Times the port had no room for one that was due; it was offered again.</summary>
    public ulong Refused;

    /// <summary>Never taken: freed when the replay ended.</summary>
    public ulong Dropped;

    /// <summary>Came in at the port meanwhile, and were freed.</summary>
    public ulong Received;

    /// <summary>How much later than due the port had a packet, cycles.</summary>
    public LatencyHistogram Late { get; } = new();
}

/// <summary>Takes packets of a pcap port and sends each when it is due. Polled by one lcore.</summary>
/// <param name="source">The file, as a receive queue whose packets carry their stamps.</param>
/// <param name="tx">Where they go.</param>
/// <param name="back">The same port's receive queue: emptied, so that a port that loops back does not fill up.</param>
/// <param name="stamp">Where a packet's stamp is.</param>
/// <param name="plan">How often and how long.</param>
/// <param name="pace">When.</param>
/// <param name="clock">The time.</param>
internal sealed class ReplaySender<TClock>(PcapRxQueue source, TxQueue tx, RxQueue back, MbufField<ulong> stamp,
    ReplayPlan plan, ReplayPace pace, TClock clock) where TClock : struct, IReplayClock
{
    private readonly Mbuf[] _packets = new Mbuf[plan.Burst], _spare = new Mbuf[32];
    private readonly ulong[] _due = new ulong[plan.Burst];
    private readonly uint[] _length = new uint[plan.Burst];
    private ReplayPace _pace = pace;
    private int _next, _count;
    private ulong _inPass, _start, _progress;
    private bool _begun;

    public ReplayCounters Counters { get; } = new();

    /// <summary>Nothing is left to do.</summary>
    public bool IsDone { get; private set; }

    /// <summary>The port took nothing for so long that the rest was given up.</summary>
    public bool GaveUp { get; private set; }

    /// <summary>The file ended before it should have: it was changed meanwhile.</summary>
    public bool EndedEarly { get; private set; }

    /// <summary>Cycles from the first step to the last packet.</summary>
    public ulong Cycles { get; private set; }

    /// <summary>Sends what is due, at most a burst; gets more when all are sent.</summary>
    /// <returns>True when something was sent.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool Step()
    {
        if (!_begun)
            Begin();
        ulong now = clock.Read() - _start;
        if (IsDone || now >= plan.Cycles)
        {
            IsDone = true;
            return false;
        }
        if (_next == _count && !Fetch())
        {
            EndedEarly = !IsDone && source.Ended;
            IsDone |= EndedEarly;
            Wait(now);
            return false;
        }
        int ready = _next;
        while (ready < _count && _due[ready] <= now)
            ready++;
        if (ready == _next)
        {
            _progress = now;
            if (_due[ready] - now > plan.QuietCycles)
                TidyUp();
            return false;
        }
        int sent = tx.TxBurst(_packets.AsSpan(_next, ready - _next));
        Account(sent, clock.Read() - _start);
        Counters.Refused += (uint)(ready - _next);
        if (sent == 0)
            Wait(now);
        return sent > 0;
    }

    /// <summary>Frees what was not sent. After the last step, on the same lcore.</summary>
    public void Finish()
    {
        Mbuf.FreeBulk(_packets.AsSpan(_next, _count - _next));
        Counters.Dropped += (uint)(_count - _next);
        _next = _count;
    }

    /// <summary>The first packets are read, and the code is compiled, before the clock starts.</summary>
    private void Begin()
    {
        Fetch();
        TidyUp();
        tx.TxBurst([]);
        Account(0, 0);
        Counters.Late.Add(0);
        Counters.Late.Clear();
        _begun = true;
        _start = clock.Read();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Account(int sent, ulong after)
    {
        if (sent == 0)
            return;
        ulong bytes = 0;
        for (int i = _next; i < _next + sent; i++)
        {
            bytes += _length[i];
            if (plan.IsTimed)
                Counters.Late.Add(after - _due[i]);
        }
        _next += sent;
        _progress = after;
        Cycles = after;
        Counters.SentBytes += bytes;
        Counters.Sent += (uint)sent;
    }

    /// <summary>The next packets of the file, never beyond the end of a pass.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private bool Fetch()
    {
        if (Counters.Read == plan.Packets)
        {
            IsDone = true;
            return false;
        }
        if (_inPass == plan.PassPackets)
        {
            source.Rewind();
            _inPass = 0;
        }
        int most = (int)Math.Min((ulong)plan.Burst, Math.Min(plan.PassPackets - _inPass, plan.Packets - Counters.Read));
        int got = source.RxBurst(_packets.AsSpan(0, most));
        for (int i = 0; i < got; i++)
        {
            _length[i] = (uint)_packets[i].PacketLength;
            _due[i] = _pace.Next(stamp.Of(_packets[i]), _length[i], _inPass + (uint)i == 0);
        }
        (_next, _count) = (0, got);
        _inPass += (uint)got;
        Counters.Read += (uint)got;
        return got > 0;
    }

    /// <summary>The port is full, or holds all mbufs: gives up where that has lasted for too long.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private void Wait(ulong now)
    {
        TidyUp();
        if (IsDone || now - _progress <= plan.PatienceCycles)
            return;
        IsDone = GaveUp = true;
    }

    /// <summary>Takes back mbufs that are sent, and empties the receive queue.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private void TidyUp()
    {
        tx.ReclaimTx();
        int received = back.RxBurst(_spare);
        Mbuf.FreeBulk(_spare.AsSpan(0, received));
        Counters.Received += (uint)received;
    }
}

/// <summary>How much a replay sends.</summary>
/// <param name="PassPackets">Packets of the file.</param>
/// <param name="Packets">Of all passes; <see cref="ulong.MaxValue"/> for ever.</param>
/// <param name="Cycles">How long at most; <see cref="ulong.MaxValue"/> for ever.</param>
/// <param name="PatienceCycles">How long a port may take nothing.</param>
/// <param name="QuietCycles">A pause longer than this is used to tidy up.</param>
/// <param name="IsTimed">Packets have times that they can be late for.</param>
/// <param name="Burst">Packets per call.</param>
internal sealed record ReplayPlan(ulong PassPackets, ulong Packets, ulong Cycles, ulong PatienceCycles,
    ulong QuietCycles, bool IsTimed, int Burst = 32);
