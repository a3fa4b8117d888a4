using Microsoft.Extensions.Logging;

namespace Dataplane.Pmd;

/// <content>Which members are in use. On the alarms' control thread, and wherever the link is asked for.</content>
internal sealed partial class BondingPort
{
    private readonly List<Member> _live = [], _nextLive = [], _collecting = [], _nextCollecting = [], _idle = [];
    private LinkBox _link = new(default);
    private Member? _active;
    private Alarm? _alarm;
    private bool _monitoring, _linkWanted = true;
    private ulong _failovers, _changes;

    // The link as it is told, whole for readers without the lock.
    private sealed record LinkBox(LinkStatus Status)
    {
        internal bool Up => Status.Up;
    }

    /// <inheritdoc/>
    /// <remarks>Asks every member, so that what is told is how things are now.</remarks>
    public override LinkStatus GetLink()
    {
        if (State == PortState.Closed)
            return default;
        bool changed;
        lock (_lock)
            changed = _monitoring && Update();
        if (changed)
            Raise(PortEvent.LinkChanged);
        return Volatile.Read(ref _link).Status;
    }

    /// <inheritdoc/>
    /// <remarks>Members that can take their link down do so; the others are just not used.</remarks>
    protected override void OnSetLink(bool up)
    {
        ForEachMember(member => Member.Try(() => member.Port.SetLink(up)));
        lock (_lock)
            _linkWanted = up;
        _ = GetLink();
    }

    private static long Now => Environment.TickCount64;

    private void BeginMonitoring()
    {
        foreach (Member member in _members)
        {
            member.Forget();
            member.Lacp?.Reset(MacAddress);
        }
        _active = null;
        _monitoring = true;
        _live.Clear();
        _collecting.Clear();
        Publish();
        Update();
        _alarm = Eal.Alarms.Set(TimeSpan.FromMilliseconds(Options.PollMs), Tick);
    }

    private void EndMonitoring()
    {
        Alarm? alarm;
        lock (_lock)
        {
            _monitoring = false;
            (alarm, _alarm) = (_alarm, null);
            DropOutgoing();
            foreach (RxQueue queue in RxQueues)
                ((BondingRxQueue)queue).Withdraw();
            foreach (TxQueue queue in TxQueues)
                ((BondingTxQueue)queue).Withdraw();
            _link = new LinkBox(default);
        }
        alarm?.Cancel();    // it may run just now and wait for the lock
    }

    private void Tick()
    {
        bool changed;
        lock (_lock)
        {
            if (!_monitoring)
                return;
            changed = Update();
            foreach (TxQueue queue in TxQueues)
                ((BondingTxQueue)queue).ServeIdle();
            _alarm = Eal.Alarms.Set(TimeSpan.FromMilliseconds(Options.PollMs), Tick);
        }
        if (changed)
            Raise(PortEvent.LinkChanged);
    }

    private void LookSoon()
    {
        if (Volatile.Read(ref _monitoring))
            Eal.Alarms.Set(TimeSpan.Zero, () => _ = GetLink());
    }

    // Under the lock. True when the bond's own link has changed.
    private bool Update()
    {
        long now = Now;
        foreach (Member member in _members)
            member.Look(now, Options.UpDelayMs, Options.DownDelayMs);
        _nextLive.Clear();
        _nextCollecting.Clear();
        if (Options.Mode == BondingMode.Lacp)
            RunLacp(now);
        if (_linkWanted)
            Choose();
        if (!_nextLive.SequenceEqual(_live) || !_nextCollecting.SequenceEqual(_collecting))
        {
            CountChange();
            _live.Clear();
            _live.AddRange(_nextLive);
            _collecting.Clear();
            _collecting.AddRange(_nextCollecting);
            Publish();
        }
        LinkStatus link = LinkOf(_live);
        bool changed = link != _link.Status;
        if (changed)
            Volatile.Write(ref _link, new LinkBox(link));
        return changed;
    }

    private void Choose()
    {
        if (Options.Mode == BondingMode.Lacp)
        {
            _nextLive.AddRange(Usable.Where(member => member.Link.Up && member.Lacp!.Machine.IsDistributing));
            _nextCollecting.AddRange(Usable.Where(member => member.Link.Up && member.Lacp!.Machine.IsCollecting));
            return;
        }
        IEnumerable<Member> up = _members.Where(member => member.Link.Up);
        if (Options.Mode != BondingMode.ActiveBackup)
        {
            _nextLive.AddRange(up);
            _nextCollecting.AddRange(up);
            return;
        }
        Member primary = _members[Options.Primary];
        if (primary.Link.Up)
            _active = primary;
        else if (_active is not { Link.Up: true })
            _active = up.FirstOrDefault();
        if (_active is { Link.Up: true })
        {
            _nextLive.Add(_active);
            _nextCollecting.Add(_active);
        }
    }

    // A member that failed while it was in use: its share goes to the others.
    private void CountChange()
    {
        _changes++;
        if (_linkWanted && _live.Any(member => !_nextLive.Contains(member)
            && (!member.Link.Up || Options.Mode == BondingMode.Lacp)))
            _failovers++;
        LogInUse(_log, Name, _nextLive.Count == 0 ? "none" : string.Join(", ",
            _nextLive.Select(member => member.Port.Name)));
    }

    private void Publish()
    {
        _idle.Clear();
        _idle.AddRange(Usable.Where(member => !member.IsOut && !_collecting.Contains(member)));
        foreach (RxQueue queue in RxQueues)
            ((BondingRxQueue)queue).Publish(_collecting, _idle);
        foreach (TxQueue queue in TxQueues)
            ((BondingTxQueue)queue).Publish(_live);
        string how = Options.Mode switch
        {
            BondingMode.RoundRobin => "round-robin",
            BondingMode.ActiveBackup => "active-backup",
            BondingMode.Balance => $"balance {Options.Policy}",
            BondingMode.Broadcast => "broadcast",
            _ => $"802.3ad {Options.Policy}",
        };
        _info = _info with
        {
            Mode = $"{how}, in use: {(_live.Count == 0 ? "none" : string.Join(' ', _live.Select(m => m.Port.Name)))}",
        };
    }

    private LinkStatus LinkOf(List<Member> live)
    {
        if (live.Count == 0)
            return default;
        IEnumerable<uint> speeds = live.Select(member => member.Link.SpeedMbps);
        bool one = Options.Mode is BondingMode.ActiveBackup or BondingMode.Broadcast;
        return new LinkStatus(true, one ? speeds.Min() : (uint)Math.Min(uint.MaxValue, speeds.Sum(speed => speed)),
            live.All(member => member.Link.FullDuplex), live.Any(member => member.Link.Autonegotiated));
    }

    [LoggerMessage(LogLevel.Debug, "port {Port}: in use: {Members}")]
    private static partial void LogInUse(ILogger logger, string port, string members);
}
