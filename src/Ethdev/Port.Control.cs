using Dataplane.Net;

namespace Dataplane;

/// <summary>Link, MTU, addresses, receive modes, owner and events.</summary>
public abstract unsafe partial class Port
{
    [ThreadStatic] private static Port? t_workingOn;    // whose parts this thread may change

    private readonly List<MacAddress> _addresses = [];
    private Port? _whole;                               // what this port is a part of
    private Action<Port>? _closing;

    /// <summary>Held while the port changes its state, and by those who read it from outside the control path: what
    /// telemetry shows must not go under its hands.</summary>
    internal Lock Gate { get; } = new();

    /// <summary>What happens to the port, told on the control-path thread that saw it. Handlers must be quick, not
    /// throw, and leave configuring, starting, stopping and closing ports to another thread, which may be waiting for
    /// them.</summary>
    public event Action<Port, PortEvent>? Events;

    /// <summary>
    /// The MTU in force: payload bytes of the largest frame, headers and tags not counted. Drivers set it where the
    /// device comes with another than 1,500.
    /// </summary>
    public int Mtu { get; protected set; } = 1500;

    /// <summary>The port's own address.</summary>
    public virtual MacAddress MacAddress => MacAddresses[0];

    /// <summary>All addresses the port receives frames for, its own first.</summary>
    public IReadOnlyList<MacAddress> MacAddresses
    {
        get
        {
            if (_addresses.Count == 0)
                _addresses.Add(Info.MacAddress);
            return _addresses;
        }
    }

    /// <summary>The port receives frames for any address.</summary>
    public bool Promiscuous { get; private set; }

    /// <summary>The port receives frames for any multicast address.</summary>
    public bool AllMulticast { get; private set; }

    /// <summary>Who said the port is theirs, or null. A word between parts of an application; nothing else is barred. A
    /// port that is a member of another (<c>net_bonding</c>) is that one's, and then only it may change it.</summary>
    public string? Owner { get; private set; }

    /// <summary>The link as it is now.</summary>
    public abstract LinkStatus GetLink();

    /// <summary>Waits until the link is up.</summary>
    /// <param name="timeout">How long at most.</param>
    /// <returns>The link, up or not.</returns>
    public LinkStatus WaitForLink(TimeSpan timeout)
    {
        using var changed = new ManualResetEventSlim();
        void OnEvent(Port port, PortEvent what) => changed.Set();
        Events += OnEvent;
        long start = Environment.TickCount64;
        LinkStatus link = GetLink();
        // Not every driver tells of changes, so look every 10 ms as well.
        try
        {
            while (!link.Up && Environment.TickCount64 - start < timeout.TotalMilliseconds)
            {
                changed.Wait(10);
                changed.Reset();
                link = GetLink();
            }
        }
        finally
        {
            Events -= OnEvent;
        }
        return link;
    }

    /// <summary>Takes the link up or down.</summary>
    /// <exception cref="DataplaneException">The driver cannot.</exception>
    public void SetLink(bool up)
    {
        RequireOpen("change the link of");
        OnSetLink(up);
    }

    /// <summary>Sets the MTU.</summary>
    /// <param name="mtu"><see cref="PortInfo.MinMtu"/> to <see cref="PortInfo.MaxMtu"/> bytes.</param>
    /// <exception cref="ConfigException">Out of range, or a queue's mbufs are too small and scatter is off.</exception>
    public void SetMtu(int mtu)
    {
        RequireOpen("change the MTU of");
        PortRules.CheckMtu(this, mtu);
        foreach (RxQueue? queue in _rxQueues)
            if (queue != null)
                PortRules.CheckPool(this, queue.Pool, queue.Config.Offloads, mtu);
        OnSetMtu(mtu);
        Mtu = mtu;
    }

    /// <summary>Sets the port's own address.</summary>
    /// <exception cref="ConfigException">Zero or a group address.</exception>
    /// <exception cref="DataplaneException">The driver cannot.</exception>
    public void SetMacAddress(MacAddress address)
    {
        if (address.IsMulticast || address.Value == 0)
            throw new ConfigException($"port {Name}: {address} cannot be its own address",
                why: address.IsMulticast ? "it is a group address" : "it is no address", fix: "give a unicast address");
        RequireOpen("change the address of");
        _ = MacAddresses;
        OnSetMacAddress(address);
        _addresses.RemoveAt(0);
        _addresses.Remove(address);
        _addresses.Insert(0, address);
    }

    /// <summary>Receives frames for one more address. Does nothing when it is there already.</summary>
    /// <exception cref="ConfigException">No room: see <see cref="PortInfo.MaxMacAddresses"/>.</exception>
    /// <exception cref="DataplaneException">The driver cannot.</exception>
    public void AddMacAddress(MacAddress address)
    {
        if (MacAddresses.Contains(address))
            return;
        if (_addresses.Count >= Info.MaxMacAddresses)
            throw new ConfigException($"port {Name}: cannot add address {address}",
                why: $"it holds {Info.MaxMacAddresses} at most", fix: "remove one, or use promiscuous mode");
        RequireOpen("add an address to");
        OnAddMacAddress(address);
        _addresses.Add(address);
    }

    /// <summary>Receives no frames for an address any more.</summary>
    /// <returns>False when it was not there.</returns>
    /// <exception cref="ConfigException">It is the port's own.</exception>
    public bool RemoveMacAddress(MacAddress address)
    {
        if (MacAddresses[0] == address)
            throw new ConfigException($"port {Name}: {address} is its own address and stays", fix: "use SetMacAddress");
        if (!_addresses.Contains(address))
            return false;
        RequireOpen("remove an address of");
        OnRemoveMacAddress(address);
        return _addresses.Remove(address);
    }

    /// <summary>Receives frames for any address, or not.</summary>
    /// <exception cref="DataplaneException">The driver cannot.</exception>
    public void SetPromiscuous(bool on)
    {
        if (on == Promiscuous)
            return;
        RequireOpen("change the receive modes of");
        OnSetPromiscuous(on);
        Promiscuous = on;
    }

    /// <summary>Receives frames for any multicast address, or not.</summary>
    /// <exception cref="DataplaneException">The driver cannot.</exception>
    public void SetAllMulticast(bool on)
    {
        if (on == AllMulticast)
            return;
        RequireOpen("change the receive modes of");
        OnSetAllMulticast(on);
        AllMulticast = on;
    }

    /// <summary>Says whose the port is.</summary>
    /// <exception cref="DataplaneException">Somebody else's.</exception>
    public void SetOwner(string owner)
    {
        if (Owner != null && Owner != owner)
            throw new DataplaneException($"port {Name} cannot be owned by '{owner}'", why: $"'{Owner}' owns it",
                errno: Errno.EPERM);
        Owner = owner;
    }

    /// <summary>Says the port is nobody's any more.</summary>
    /// <exception cref="DataplaneException">It is somebody else's.</exception>
    public void UnsetOwner(string owner)
    {
        SetOwner(owner);
        Owner = null;
    }

    /// <summary>Makes this port a part of another, which alone may change it from now on. Its owner then is the
    /// other.</summary>
    /// <param name="whole">The other.</param>
    /// <param name="closing">Called when somebody closes this port, before anything is done to it. It is a part no more
    /// then.</param>
    /// <exception cref="DataplaneException">It is somebody else's, or started or closed.</exception>
    internal void Join(Port whole, Action<Port> closing)
    {
        if (Owner == null && State is PortState.Started or PortState.Closed)
            throw WrongState($"make a member of {whole.Name} of", State == PortState.Started ? "call Stop first"
                : "attach it anew");
        SetOwner(whole.Name);
        (_whole, _closing) = (whole, closing);
    }

    /// <summary>Undoes <see cref="Join"/>; does nothing for a port of its own.</summary>
    internal void Leave()
    {
        Port? whole = Interlocked.Exchange(ref _whole, null);
        if (whole == null)
            return;
        _closing?.Invoke(this);
        UnsetOwner(whole.Name);
    }

    /// <summary>Lets the calling thread change the parts of this port until the result is disposed.</summary>
    internal WorkOnParts BeginWorkOnParts()
    {
        Port? before = t_workingOn;
        t_workingOn = this;
        return new WorkOnParts(before);
    }

    /// <summary>Ends <see cref="BeginWorkOnParts"/>.</summary>
    internal readonly ref struct WorkOnParts(Port? before)
    {
        internal void Dispose() => t_workingOn = before;
    }

    private void RequireFree(string action)
    {
        if (Volatile.Read(ref _whole) is { } whole && t_workingOn != whole)
            throw new DataplaneException($"cannot {action} port {Name}", why: $"it is a member of {whole.Name}, which "
                + "sees to that", fix: $"do it to {whole.Name}, or close that first", errno: Errno.EBUSY);
    }

    /// <summary>For drivers: tells of an event.</summary>
    protected void Raise(PortEvent what) => Events?.Invoke(this, what);

    /// <summary>Take the link up or down.</summary>
    protected virtual void OnSetLink(bool up) => throw Unsupported("take its link up or down");

    /// <summary>Apply an MTU that is in range.</summary>
    protected virtual void OnSetMtu(int mtu) { }

    /// <summary>Apply the port's own address; a unicast one.</summary>
    protected virtual void OnSetMacAddress(MacAddress address) => throw Unsupported("change its address");

    /// <summary>Receive frames for one more address.</summary>
    protected virtual void OnAddMacAddress(MacAddress address) => throw Unsupported("receive for several addresses");

    /// <summary>Receive no frames for an address any more.</summary>
    protected virtual void OnRemoveMacAddress(MacAddress address) { }

    /// <summary>Apply promiscuous mode.</summary>
    protected virtual void OnSetPromiscuous(bool on) => throw Unsupported("change its promiscuous mode");

    /// <summary>Apply all-multicast mode.</summary>
    protected virtual void OnSetAllMulticast(bool on) => throw Unsupported("change its all-multicast mode");

    private DataplaneException Unsupported(string what) =>
        new($"port {Name} cannot {what}", why: $"driver {Info.DriverName} has no such feature",
        errno: Errno.EOPNOTSUPP);
}
