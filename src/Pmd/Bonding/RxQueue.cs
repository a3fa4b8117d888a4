using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Pmd;

/// <summary>A bond's receive queue: the members' queues of its number, polled in turn.</summary>
internal sealed unsafe class BondingRxQueue : RxQueue
{
    private const int IdleEvery = 16;           // polls between two looks at members whose packets are dropped
    private const ushort SlowEtherType = 0x0988; // 0x8809 as it lies in memory

    private readonly RxShare?[] _shares;      // null: the member was gone before
    private readonly ushort _portId;
    private readonly bool _lacp;
    private readonly Mbuf[] _dropped = new Mbuf[32];
    private readonly Mbuf[] _keeping = new Mbuf[32];    // received by the control thread for whoever polls next
    private RingHold<RxView> _hold;
    private ulong _idleDropped;
    private uint _polls, _pollsSeen;
    private int _next, _kept, _keptFirst;

    internal BondingRxQueue(BondingPort port, int index, Mempool pool, RxShare?[] shares) : base(port, index, pool)
    {
        _shares = shares;
        _portId = port.Id;
        _lacp = port.Options.Mode == BondingMode.Lacp;
    }

    /// <inheritdoc/>
    public override string BurstMode => "scalar, of members";

    /// <summary>Packets of members that are not in use, freed.</summary>
    internal ulong IdleDropped => Volatile.Read(ref _idleDropped);

    /// <summary>Which members deliver from now on, and from which packets are taken and dropped. When it returns, no
    /// burst is in any other. Control path.</summary>
    internal void Publish(IReadOnlyList<Member> live, IReadOnlyList<Member> idle) =>
        _hold.Set(new RxView(Pick(live), Pick(idle)));

    /// <summary>The bond stops. Control path.</summary>
    internal void Withdraw() => _hold.Set(null);

    /// <summary>
    /// LACP must go on also while nobody polls, for some wait for the link first: where nobody did since the last call,
    /// polls. Packets of members in use are kept for whoever comes, a burst at most, and then those are left alone.
    /// Control path.
    /// </summary>
    internal void PollForLacp()
    {
        uint polls = Volatile.Read(ref _polls);
        if (polls != _pollsSeen || _hold.Ring is not { } view)
        {
            _pollsSeen = polls;
            return;
        }
        _hold.Set(null);
        Discard(view.Idle);
        foreach (RxShare share in view.Live)
            if (_kept == 0)
                (_keptFirst, _kept) = (0, Poll(share, _keeping));
        _hold.Set(view);
    }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        int received = 0;
        if (_hold.Enter() is { } view)
        {
            RxShare[] live = view.Live;
            int at = _next;
            if (_kept != 0)
                received = TakeKept(burst);
            for (int i = 0; i < live.Length && received < burst.Length; i++)
            {
                if (at >= live.Length)
                    at = 0;
                received += Poll(live[at++], burst[received..]);
            }
            _next = at;
            if (++_polls % IdleEvery == 0 && view.Idle.Length != 0)
                Discard(view.Idle);
            Stamp(burst[..received]);
        }
        _hold.Leave();
        return received;
    }

    /// <inheritdoc/>
    protected internal override void Drain()
    {
        Mbuf.FreeBulk(_keeping.AsSpan(_keptFirst, _kept));
        Stats->Missed += (uint)_kept;
        _kept = 0;
    }

    /// <inheritdoc/>
    protected internal override ulong ReadMissed()
    {
        ulong missed = 0;
        foreach (RxShare? share in _shares)
            missed += share?.ReadMissed() ?? 0;
        return missed;
    }

    private RxShare[] Pick(IReadOnlyList<Member> members)
    {
        var picked = new RxShare[members.Count];
        for (int i = 0; i < picked.Length; i++)
            picked[i] = _shares[members[i].Index]!;
        return picked;
    }

    private int Poll(RxShare share, Span<Mbuf> burst)
    {
        int received = share.Queue.RxBurst(burst);
        share.Count(Stats);
        return _lacp ? SetAside(share, burst[..received]) : received;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private int TakeKept(Span<Mbuf> burst)
    {
        int taken = Math.Min(_kept, burst.Length);
        _keeping.AsSpan(_keptFirst, taken).CopyTo(burst);
        (_keptFirst, _kept) = (_keptFirst + taken, _kept - taken);
        return taken;
    }

    private void Stamp(ReadOnlySpan<Mbuf> burst)
    {
        ulong bytes = 0;
        foreach (Mbuf packet in burst)
        {
            MbufHeader* header = packet.Header;
            header->Port = _portId;
            bytes += header->PktLen;
        }
        Stats->Bytes += bytes;
    }

    // A burst of each: what a member that is not in use receives must not lie in its queue until it is.
    private void Discard(RxShare[] idle)
    {
        foreach (RxShare share in idle)
        {
            int received = Poll(share, _dropped);
            Mbuf.FreeBulk(_dropped.AsSpan(0, received));
            _idleDropped += (uint)received;
        }
    }

    // Frames of the slow protocols that are ours go to the control thread; the others move up.
    private static int SetAside(RxShare share, Span<Mbuf> burst)
    {
        int kept = 0;
        for (int i = 0; i < burst.Length; i++)
        {
            Mbuf packet = burst[i];
            ReadOnlySpan<byte> data = packet.Data;
            if (data.Length > LacpPdu.SubtypeOffset && MemoryMarshal.Read<ushort>(data[12..]) == SlowEtherType
                && data[LacpPdu.SubtypeOffset] is LacpPdu.LacpSubtype or LacpPdu.MarkerSubtype)
                Divert(share, packet);
            else
                burst[kept++] = packet;
        }
        return kept;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Divert(RxShare share, Mbuf packet)
    {
        share.Member.Lacp!.Deliver(packet.Data);
        packet.Free();
    }
}

/// <summary>A member's part in a bond's receive queue.</summary>
internal sealed unsafe class RxShare(Member member, RxQueue queue)
{
    private ulong _errors = queue.Stats->Errors, _missed = queue.Stats->Missed, _noMbuf = queue.Stats->NoMbuf;
    private ulong _missedByDevice;

    internal Member Member => member;

    internal RxQueue Queue => queue;

    /// <summary>Adds what the member's queue counted since the last call. Polling thread.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Count(QueueStats* to)
    {
        QueueStats* from = queue.Stats;
        to->Errors += from->Errors - _errors;
        to->Missed += from->Missed - _missed;
        to->NoMbuf += from->NoMbuf - _noMbuf;
        (_errors, _missed, _noMbuf) = (from->Errors, from->Missed, from->NoMbuf);
    }

    /// <summary>What the device says it lost. Control path.</summary>
    internal ulong ReadMissed() => member.IsClosed ? _missedByDevice
        : _missedByDevice = Math.Max(_missedByDevice, queue.ReadMissed());
}

/// <summary>Which members a receive queue polls. Never changes.</summary>
/// <param name="Live">Their packets are delivered.</param>
/// <param name="Idle">Theirs are dropped.</param>
internal sealed record RxView(RxShare[] Live, RxShare[] Idle);
