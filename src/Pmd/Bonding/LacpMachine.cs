namespace Dataplane.Pmd;

/// <summary>
/// The state machines of one LACP port: receive, periodic transmission, mux (with independent control of collecting
/// and distributing) and transmit. IEEE 802.1AX-2008 §5.4. It knows no clock and sends nothing: time comes in as
/// milliseconds, PDUs go in and out. Control thread, under the bond's lock.
/// </summary>
internal sealed class LacpMachine
{
    internal const int FastPeriodicMs = 1000, SlowPeriodicMs = 30_000, ShortTimeoutMs = 3000, LongTimeoutMs = 90_000;

    private const int MostPerSecond = 3;    // §5.4.16: transmissions in a fast periodic time
    private const LacpState Identity = LacpState.Aggregation;
    private const LacpState Told = LacpState.Activity | LacpState.ShortTimeout | LacpState.Synchronization
        | LacpState.Aggregation;

    private readonly long[] _sentAt = new long[MostPerSecond];
    private readonly int _aggregateWaitMs;
    private LacpParty _actor, _partner;
    private long _currentUntil, _periodicDue, _waitUntil;
    private bool _needToTransmit;
    private int _sent;

    /// <summary>A port whose link is down.</summary>
    /// <param name="actor">Who it is; of its state, activity, timeout and aggregation.</param>
    /// <param name="aggregateWaitMs">How long it waits for others before it is attached.</param>
    internal LacpMachine(LacpParty actor, int aggregateWaitMs)
    {
        _actor = actor;
        _aggregateWaitMs = aggregateWaitMs;
        Array.Fill(_sentAt, long.MinValue / 2);
        RecordDefault();
    }

    internal enum ReceiveState { PortDisabled, Expired, Defaulted, Current }

    internal enum MuxState { Detached, Waiting, Attached, Collecting, Distributing }

    internal ReceiveState Receiving { get; private set; } = ReceiveState.PortDisabled;

    internal MuxState Mux { get; private set; } = MuxState.Detached;

    /// <summary>This end.</summary>
    internal LacpParty Actor => _actor;

    /// <summary>The other end, as it said.</summary>
    internal LacpParty Partner => _partner;

    /// <summary>Belongs to the aggregator in use: set by the selection; cleared here when the partner is another than
    /// before.</summary>
    internal bool IsSelected { get; set; }

    /// <summary>There is a partner to be aggregated with.</summary>
    internal bool HasPartner => Receiving is ReceiveState.Current or ReceiveState.Expired
        && (_actor.State & LacpState.Defaulted) == 0;

    /// <summary>Frames received are the bond's.</summary>
    internal bool IsCollecting => Mux is MuxState.Collecting or MuxState.Distributing;

    /// <summary>The bond may send by it.</summary>
    internal bool IsDistributing => Mux == MuxState.Distributing;

    /// <summary>What a PDU sent now says.</summary>
    internal LacpPdu Pdu => new(_actor, _partner);

    /// <summary>The link came up or went down, or is of another speed.</summary>
    internal void SetLink(bool up, ushort key, long now)
    {
        if (up && key != _actor.Key)
        {
            _actor = _actor with { Key = key };
            IsSelected = false;
            _needToTransmit = true;
        }
        if (up == (Receiving != ReceiveState.PortDisabled))
            return;
        if (up)
        {
            Expire(now);
            _periodicDue = now;
            return;
        }
        Receiving = ReceiveState.PortDisabled;
        SetPartner(LacpState.Synchronization, false);
        IsSelected = false;
    }

    /// <summary>A PDU came. Nothing happens while the link is down.</summary>
    internal void Receive(in LacpPdu pdu, long now)
    {
        if (Receiving == ReceiveState.PortDisabled)
            return;
        // update_Selected, §5.4.9: another partner than before must not slip into the same place.
        if (!pdu.Actor.Matches(_partner, Identity))
            IsSelected = false;
        // update_NTT: it must be told if it thinks otherwise of us than we are.
        if (!pdu.Partner.Matches(_actor, Told))
            _needToTransmit = true;
        bool wasShort = Has(_partner, LacpState.ShortTimeout);
        Record(pdu);
        if (!wasShort && Has(_partner, LacpState.ShortTimeout))
            _periodicDue = Math.Min(_periodicDue, now);
        _currentUntil = now + (Has(_actor, LacpState.ShortTimeout) ? ShortTimeoutMs : LongTimeoutMs);
        SetActor(LacpState.Expired, false);
        Receiving = ReceiveState.Current;
    }

    /// <summary>Lets time pass, and moves on as far as it can.</summary>
    internal void Advance(long now)
    {
        if (Receiving is ReceiveState.Current or ReceiveState.Expired && now >= _currentUntil)
        {
            if (Receiving == ReceiveState.Current)
                Expire(now);
            else
            {
                Receiving = ReceiveState.Defaulted;
                IsSelected = false;
                RecordDefault();
                SetActor(LacpState.Expired, false);
            }
        }
        if (Receiving != ReceiveState.PortDisabled && now >= _periodicDue
            && (Has(_actor, LacpState.Activity) || Has(_partner, LacpState.Activity)))
        {
            _needToTransmit = true;
            _periodicDue = now + (Has(_partner, LacpState.ShortTimeout) ? FastPeriodicMs : SlowPeriodicMs);
        }
        for (MuxState next; (next = NextMux(now)) != Mux;)
            Enter(next, now);
    }

    /// <summary>A PDU is to be sent now.</summary>
    internal bool WantsToSend(long now) => _needToTransmit && Receiving != ReceiveState.PortDisabled
        && (Has(_actor, LacpState.Activity) || Has(_partner, LacpState.Activity))
        && now - _sentAt[_sent % MostPerSecond] >= FastPeriodicMs;

    /// <summary>It was sent.</summary>
    internal void Sent(long now)
    {
        _needToTransmit = false;
        _sentAt[_sent++ % MostPerSecond] = now;
    }

    /// <summary>It could not be sent after all.</summary>
    internal void Unsent() => _needToTransmit = true;

    private void Expire(long now)
    {
        // §5.4.12, EXPIRED: the partner is asked to hurry.
        Receiving = ReceiveState.Expired;
        SetPartner(LacpState.Synchronization, false);
        SetPartner(LacpState.ShortTimeout, true);
        SetActor(LacpState.Expired, true);
        _currentUntil = now + ShortTimeoutMs;
        _periodicDue = Math.Min(_periodicDue, now);
    }

    // recordPDU, §5.4.9. The partner is in step when it means us and says so, or wants to be alone.
    private void Record(in LacpPdu pdu)
    {
        _partner = pdu.Actor;
        SetActor(LacpState.Defaulted, false);
        bool meansUs = pdu.Partner.Matches(_actor, Identity) || !Has(pdu.Actor, LacpState.Aggregation);
        bool isKeptUp = Has(pdu.Actor, LacpState.Activity)
            || (Has(_actor, LacpState.Activity) && Has(pdu.Partner, LacpState.Activity));
        SetPartner(LacpState.Synchronization, Has(pdu.Actor, LacpState.Synchronization) && meansUs && isKeptUp);
    }

    private void RecordDefault()
    {
        _partner = default;
        SetActor(LacpState.Defaulted, true);
    }

    private MuxState NextMux(long now) => Mux switch
    {
        _ when !IsSelected => Mux == MuxState.Distributing ? MuxState.Collecting
            : Mux == MuxState.Collecting ? MuxState.Attached : MuxState.Detached,
        MuxState.Detached => MuxState.Waiting,
        MuxState.Waiting => now >= _waitUntil ? MuxState.Attached : Mux,
        MuxState.Attached => Has(_partner, LacpState.Synchronization) ? MuxState.Collecting : Mux,
        MuxState.Collecting => !Has(_partner, LacpState.Synchronization) ? MuxState.Attached
            : Has(_partner, LacpState.Collecting) ? MuxState.Distributing : Mux,
        _ => Has(_partner, LacpState.Synchronization | LacpState.Collecting) ? Mux : MuxState.Collecting,
    };

    private void Enter(MuxState next, long now)
    {
        Mux = next;
        SetActor(LacpState.Synchronization, next >= MuxState.Attached);
        SetActor(LacpState.Collecting, next >= MuxState.Collecting);
        SetActor(LacpState.Distributing, next >= MuxState.Distributing);
        if (next == MuxState.Waiting)
            _waitUntil = now + _aggregateWaitMs;
        else
            _needToTransmit = true;
    }

    private void SetActor(LacpState bits, bool on) => _actor = _actor with { State = Set(_actor.State, bits, on) };

    private void SetPartner(LacpState bits, bool on) =>
        _partner = _partner with { State = Set(_partner.State, bits, on) };

    private static LacpState Set(LacpState state, LacpState bits, bool on) => on ? state | bits : state & ~bits;

    private static bool Has(in LacpParty party, LacpState bits) => (party.State & bits) == bits;
}
