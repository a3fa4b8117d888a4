using Microsoft.Extensions.Logging;

namespace Dataplane.Pmd;

/// <summary>The <c>net_bonding</c> driver: several ports as one.</summary>
public sealed class BondingPmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_bonding";

    /// <inheritdoc/>
    public override string Help => BondingOptions.Help;

    /// <inheritdoc/>
    public override Port Create(PortContext context) => new BondingPort(context, BondingOptions.Parse(context.Args));
}

/// <summary>
/// A port over other ports. Its members are set up, started and stopped with it and by it alone; its queues poll and
/// feed theirs; which of them are in use is decided on the control thread, in <see cref="Tick"/>.
/// </summary>
internal sealed partial class BondingPort : Port
{
    private readonly ILogger _log;
    private readonly Lock _lock = new();        // guards all below; never held while a member's Gate is taken
    private readonly List<Member> _members = [];
    private PortInfo _info = new() { DriverName = "net_bonding" };
    private bool _closing;

    internal BondingPort(PortContext context, BondingOptions options) : base(context)
    {
        Options = options;
        _log = context.Eal.Log.CreateLogger("pmd.net.bonding");
        _selection = new LacpSelection(options.Choice);
        Port[] ports = [.. options.Members.Select(Find)];
        try
        {
            foreach (Port port in ports)
            {
                port.Join(this, OnMemberClosing);
                _members.Add(new Member(port, _members.Count));
            }
            _info = BondingInfo.Of(Name, options, _members);
            Mtu = _members.Min(member => member.Port.Mtu);
            if (options.Mode == BondingMode.Lacp)
                PrepareLacp();
            foreach (Port port in ports)
                port.Events += OnMemberEvent;
        }
        catch
        {
            OnClose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override PortInfo Info => _info;

    internal BondingOptions Options { get; }

    /// <summary>Its members, in order; those that were closed too.</summary>
    internal IReadOnlyList<Member> Members => _members;

    private IEnumerable<Member> Usable => _members.Where(member => !member.IsGone);

    /// <inheritdoc/>
    protected override void OnConfigure(PortConfig config)
    {
        RequireMember();
        ForEachMember(member => member.Port.Configure(config));
    }

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config)
    {
        RequireMember();
        using WorkOnParts work = BeginWorkOnParts();
        RxQueueConfig own = config with { DeferredStart = false };
        return new BondingRxQueue(this, index, pool, [.. _members.Select(member => member.IsGone ? null
            : new RxShare(member, member.Port.SetupRxQueue(index, pool, own)))]);
    }

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config)
    {
        RequireMember();
        using WorkOnParts work = BeginWorkOnParts();
        TxQueueConfig own = config with { DeferredStart = false };
        return new BondingTxQueue(this, index, [.. _members.Select(member => member.IsGone ? null
            : new TxShare(member.Port.SetupTxQueue(index, own)))]);
    }

    /// <inheritdoc/>
    protected override void OnStart()
    {
        RequireMember();
        using WorkOnParts work = BeginWorkOnParts();
        try
        {
            foreach (Member member in Usable)
            {
                Dress(member);
                member.Port.Start();
            }
            if (Usable.FirstOrDefault()?.Port is { Redirection.IsEmpty: false } first)
                InitializeRedirection(first.Redirection.ToArray());
        }
        catch
        {
            foreach (Member member in Usable)
                Member.Try(member.Port.Stop);
            throw;
        }
        lock (_lock)
            BeginMonitoring();
    }

    /// <inheritdoc/>
    protected override void OnStarted()
    {
        if (Volatile.Read(ref _link).Up)
            Raise(PortEvent.LinkChanged);
    }

    /// <inheritdoc/>
    protected override void OnStop()
    {
        EndMonitoring();
        using WorkOnParts work = BeginWorkOnParts();
        DataplaneException? failure = null;
        foreach (Member member in _members.Where(member => !member.IsClosed))
        {
            try
            {
                member.Port.Stop();
            }
            catch (DataplaneException e)
            {
                failure ??= e;      // the others are stopped all the same
            }
        }
        if (failure != null)
            throw failure;
    }

    /// <inheritdoc/>
    protected override void OnClose()
    {
        _closing = true;
        using (WorkOnParts work = BeginWorkOnParts())
        {
            foreach (Member member in _members)
            {
                member.Port.Events -= OnMemberEvent;
                if (!member.IsClosed)
                    member.Restore();
                member.Port.Leave();
            }
        }
        foreach (Member member in _members)
            member.Lacp?.Dispose();
        // Ports that hand mbufs on may have given ours to somebody who has them still.
        if (_frames?.AvailableCount == FramesPerMember * _members.Count)
            _frames.Dispose();
    }

    private Port Find(string name) => Context.Ports?.Find(name)
        ?? throw new ConfigException($"device '{Name}': member={name} is no port",
            fix: "name ports made before this one, as in --vdev net_ring0 --vdev net_bonding0,mode=1,member=net_ring0");

    private Member MemberOf(Port port) => _members.Single(member => member.Port == port);

    private void RequireMember()
    {
        if (!Usable.Any())
            throw new DataplaneException($"port {Name} has no member left", why: "all were closed or removed",
                fix: "close it, attach its members and it anew");
    }

    // The first that refuses ends it; what is done to those before it stays done.
    private void ForEachMember(Action<Member> change)
    {
        using WorkOnParts work = BeginWorkOnParts();
        foreach (Member member in Usable)
            change(member);
    }

    // Any thread, with the member's locks held: only notes what there is to see.
    private void OnMemberEvent(Port port, PortEvent what)
    {
        if (what is PortEvent.Removed or PortEvent.ResetNeeded)
        {
            MemberOf(port).MarkOut(what == PortEvent.Removed);
            LogLost(_log, Name, port.Name, what);
        }
        if (what == PortEvent.LinkChanged)
            MemberOf(port).NoteLinkChange();
        if (what != PortEvent.Closed)
            LookSoon();
    }

    // Somebody closes a member: it is out of every queue before its own are gone.
    private void OnMemberClosing(Port port)
    {
        if (_closing)
            return;
        lock (_lock)
        {
            Member member = MemberOf(port);
            member.MarkOut(forGood: true);
            if (_monitoring)
                Update();
            member.IsClosed = true;
        }
        port.Events -= OnMemberEvent;
        LookSoon();     // tells of the link, where that went down with it
    }

    [LoggerMessage(LogLevel.Warning, "port {Port}: member {Member} is out of use: {What}")]
    private static partial void LogLost(ILogger logger, string port, string member, PortEvent what);
}
