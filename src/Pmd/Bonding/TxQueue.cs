using System.Runtime.CompilerServices;

namespace Dataplane.Pmd;

/// <summary>A bond's transmit queue: the members' queues of its number.</summary>
internal sealed unsafe class BondingTxQueue : TxQueue
{
    private const int Chunk = TxShare.BatchSize;

    private readonly TxShare?[] _shares;      // null: the member was gone before
    private readonly BondingMode _mode;
    private readonly TransmitPolicy _policy;
    private RingHold<TxView> _hold;
    private OwnFrame[]? _own;
    private ulong _copiesLost;
    private uint _calls, _callsSeen;
    private int _turn, _held;   // _held: packets in all shares' batches between bursts

    internal BondingTxQueue(BondingPort port, int index, TxShare?[] shares) : base(port, index)
    {
        _shares = shares;
        _mode = port.Options.Mode;
        _policy = port.Options.Policy;
    }

    /// <inheritdoc/>
    public override string BurstMode => "scalar, of members";

    /// <summary>Broadcast: copies that one member did not take while another did.</summary>
    internal ulong CopiesLost => Volatile.Read(ref _copiesLost);

    /// <summary>Which members send from now on. When it returns, no burst is in any other. Control path.</summary>
    internal void Publish(IReadOnlyList<Member> live)
    {
        var picked = new TxShare[live.Count];
        for (int i = 0; i < picked.Length; i++)
            picked[i] = _shares[live[i].Index]!;
        _hold.Set(null);
        foreach (TxShare? share in _shares)
            share?.IsLive = Array.IndexOf(picked, share) >= 0;
        _hold.Set(new TxView(picked));
    }

    /// <summary>The bond stops. Control path.</summary>
    internal void Withdraw() => _hold.Set(null);

    /// <summary>The frames offered last are sent, or given up.</summary>
    internal bool CanOffer => Volatile.Read(ref _own) == null;     // B3

    /// <summary>Hands over frames of the bond's own: the sender's next burst sends them first, so that nothing of its
    /// own waits. Control path, while <see cref="CanOffer"/>.</summary>
    internal void Offer(OwnFrame[] frames) => Volatile.Write(ref _own, frames);   // B0

    /// <summary>Does the sender's part where it did not come since the last call: sends what is held back, and the
    /// bond's own frames. Control path.</summary>
    internal void ServeIdle()
    {
        uint calls = Volatile.Read(ref _calls);
        if (calls != _callsSeen || (Volatile.Read(ref _held) == 0 && CanOffer) || _hold.Ring is not { } view)
        {
            _callsSeen = calls;
            return;
        }
        _hold.Set(null);
        Serve();
        _hold.Set(view);
    }

    /// <inheritdoc/>
    public override int TxPrepare(ReadOnlySpan<Mbuf> packets)
    {
        int fit = packets.Length;
        if (_hold.Enter() is { } view)
            foreach (TxShare share in view.Live)
                fit = share.Queue.TxPrepare(packets[..fit]);
        _hold.Leave();
        return fit;
    }

    /// <inheritdoc/>
    public override int ReclaimTx(int most = 0)
    {
        int freed = 0;
        _calls++;
        if (_hold.Enter() is { } view)
        {
            Serve();
            foreach (TxShare share in view.Live)
                if (most == 0 || freed < most)
                    freed += share.Queue.ReclaimTx(most == 0 ? 0 : most - freed);
        }
        _hold.Leave();
        return freed;
    }

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        int sent = 0;
        _calls++;
        if (_hold.Enter() is { } view)
        {
            Serve();
            TxShare[] live = view.Live;
            sent = live.Length switch
            {
                0 => 0,
                1 when _held == 0 => live[0].Send(packets, Stats),
                _ => _mode switch
                {
                    BondingMode.RoundRobin => SendInTurn(live, packets),
                    BondingMode.Broadcast => SendToAll(live, packets),
                    _ => SendByHash(view, packets),
                },
            };
        }
        _hold.Leave();
        return sent;
    }

    /// <inheritdoc/>
    protected internal override void Drain()
    {
        foreach (TxShare? share in _shares)
            share?.DropHeld(Stats);
        _held = 0;
        foreach (OwnFrame frame in _own ?? [])
            frame.Packet.Free();
        _own = null;
    }

    private int SendInTurn(TxShare[] live, ReadOnlySpan<Mbuf> packets)
    {
        if (++_turn >= live.Length)
            _turn = 0;
        return live[_turn].Send(packets, Stats);
    }

    // What is held back of a member is sent before anything else by it, so a flow stays in order; while some is, a
    // packet for it is not taken, nor one behind that.
    private int SendByHash(TxView view, ReadOnlySpan<Mbuf> packets)
    {
        int sent = 0;
        while (sent < packets.Length)
        {
            ReadOnlySpan<Mbuf> chunk = packets.Slice(sent, Math.Min(Chunk, packets.Length - sent));
            int sorted = Sort(view, chunk, out TxShare? only);
            if (only != null)
            {
                int taken = only.Send(chunk[..sorted], Stats);
                only.Clear();
                sent += taken;
                if (taken < chunk.Length)
                    return sent;
                continue;
            }
            foreach (TxShare share in view.Live)
                _held += share.SendBatch(Stats);
            sent += sorted;
            if (sorted < chunk.Length)
                return sent;
        }
        return sent;
    }

    // Puts packets into the batches of those who are to send them. Only: that of all, if it is one.
    private int Sort(TxView view, ReadOnlySpan<Mbuf> packets, out TxShare? only)
    {
        TxShare[] byHash = view.ByHash;
        TransmitPolicy policy = _policy;
        only = null;
        bool several = false;
        int i = 0;
        for (; i < packets.Length; i++)
        {
            TxShare share = byHash[(byte)TransmitHash.Compute(packets[i].Data, policy)];
            if (share.IsHolding)
                break;
            share.Add(packets[i]);
            several |= only != null && only != share;
            only = share;
        }
        if (several)
            only = null;
        return i;
    }

    private int SendToAll(TxShare[] live, ReadOnlySpan<Mbuf> packets)
    {
        int more = live.Length - 1, most = 0;
        ulong bytes = 0;
        foreach (Mbuf packet in packets)
        {
            packet.AddPacketReferences(more);
            bytes += packet.Header->PktLen;
        }
        foreach (TxShare share in live)
        {
            share.Taken = share.Queue.TxBurst(packets);
            most = Math.Max(most, share.Taken);
        }
        foreach (TxShare share in live)
        {
            share.Skip();
            Mbuf.FreeBulk(packets[share.Taken..most]);
            _copiesLost += (uint)(most - share.Taken);
        }
        foreach (Mbuf packet in packets[most..])
        {
            packet.AddPacketReferences(-more);
            bytes -= packet.Header->PktLen;
        }
        Stats->Bytes += bytes;
        return most;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Serve()
    {
        if (_held != 0)
            Flush();
        if (Volatile.Read(ref _own) is { } frames)      // B1
            SendOwn(frames);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void SendOwn(OwnFrame[] frames)
    {
        Span<Mbuf> one = stackalloc Mbuf[1];
        foreach (OwnFrame frame in frames)
        {
            one[0] = frame.Packet;
            if (frame.Member.IsOut || !_shares[frame.Member.Index]!.SendOwn(one, Stats))
            {
                frame.Packet.Free();
                frame.Member.Lacp!.NoteRefused();
            }
        }
        Volatile.Write(ref _own, null);     // B2
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Flush()
    {
        int held = 0;
        foreach (TxShare? share in _shares)
        {
            if (share == null)
                continue;
            if (share.IsLive)
                held += share.SendHeld(Stats);
            else
                share.DropHeld(Stats);
        }
        _held = held;
    }
}

/// <summary>A frame of the bond's own.</summary>
/// <param name="Member">Who is to send it.</param>
/// <param name="Packet">Whoever sends it owns it.</param>
internal readonly record struct OwnFrame(Member Member, Mbuf Packet);

/// <summary>Which members a transmit queue sends by. Never changes.</summary>
internal sealed class TxView
{
    internal TxView(TxShare[] live)
    {
        Live = live;
        ByHash = new TxShare[live.Length == 0 ? 0 : TransmitHash.Count];
        for (int hash = 0; hash < ByHash.Length; hash++)
            ByHash[hash] = live[hash % live.Length];
    }

    internal TxShare[] Live { get; }

    /// <summary>Who sends what has a hash: its rest by their number.</summary>
    internal TxShare[] ByHash { get; }
}
