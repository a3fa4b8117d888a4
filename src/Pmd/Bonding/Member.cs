using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>A port that is part of a bond, and how it was before, so that it can be given back so. Under the bond's
/// lock.</summary>
internal sealed class Member
{
    private readonly MacAddress _mac;
    private readonly int _mtu;
    private readonly bool _promiscuous, _allMulticast;
    private readonly MacAddress[] _addresses;

    internal Member(Port port, int index)
    {
        Port = port;
        Index = index;
        _addresses = [.. port.MacAddresses];
        (_mac, _mtu, _promiscuous, _allMulticast) = (port.MacAddress, port.Mtu, port.Promiscuous, port.AllMulticast);
    }

    internal Port Port { get; }

    /// <summary>Place among the bond's members, from 0.</summary>
    internal int Index { get; }

    /// <summary>Its own address, from which it speaks LACP.</summary>
    internal MacAddress OwnMac => _mac;

    /// <summary>Not to be used: it must be started anew, or is gone. Any thread.</summary>
    internal bool IsOut { get; private set; }

    /// <summary>The device was removed, or somebody closed the port: never used again.</summary>
    internal bool IsGone { get; private set; }

    /// <summary>Somebody closed the port: not to be touched.</summary>
    internal bool IsClosed { get; set; }

    /// <summary>Its link as it counts, delays observed.</summary>
    internal LinkStatus Link { get; private set; }

    /// <summary>Its end of LACP; null in other modes.</summary>
    internal LacpLink? Lacp { get; set; }

    /// <summary>The link went down and came up between two looks: LACP begins anew.</summary>
    internal bool HasBounced { get; private set; }

    private LinkStatus _seen;
    private long _seenSince;
    private bool _told;

    /// <summary>The bond starts: nothing is known.</summary>
    internal void Forget()
    {
        IsOut = IsGone;
        (Link, _seen, _seenSince) = (default, default, long.MinValue / 2);
        (HasBounced, _told) = (false, false);
    }

    /// <summary>It is used no more before the bond is started again, or never. Any thread.</summary>
    internal void MarkOut(bool forGood)
    {
        IsGone |= forGood;
        IsOut = true;
    }

    /// <summary>The port tells that its link has changed. Any thread.</summary>
    internal void NoteLinkChange() => Volatile.Write(ref _told, true);

    /// <summary>Looks at the link.</summary>
    /// <param name="now">Milliseconds.</param>
    /// <param name="upDelay">How long it must be up before that counts.</param>
    /// <param name="downDelay">How long it must be down before that counts.</param>
    internal void Look(long now, int upDelay, int downDelay)
    {
        bool told = Volatile.Read(ref _told);
        LinkStatus link = IsOut ? default : Port.GetLink();
        HasBounced = told && link.Up && Link.Up;
        _told = false;      // what a port tells while it is asked is in its answer
        if (link.Up != _seen.Up)
            _seenSince = now;
        _seen = link;
        bool counts = link.Up == Link.Up || IsOut || now - _seenSince >= (link.Up ? upDelay : downDelay);
        if (counts)
            Link = link;
    }

    /// <summary>Puts back what the bond changed, as far as the port lets it.</summary>
    internal void Restore()
    {
        foreach (MacAddress address in (MacAddress[])[.. Port.MacAddresses.Skip(1)])
            if (!_addresses.Contains(address))
                Try(() => Port.RemoveMacAddress(address));
        Try(() => Port.SetPromiscuous(_promiscuous));
        Try(() => Port.SetAllMulticast(_allMulticast));
        if (Port.MacAddress != _mac)
            Try(() => Port.SetMacAddress(_mac));
        if (Port.Mtu != _mtu)
            Try(() => Port.SetMtu(_mtu));
    }

    /// <summary>Does what a port may not be able to.</summary>
    /// <returns>False when it cannot.</returns>
    internal static bool Try(Action set)
    {
        try
        {
            set();
            return true;
        }
        catch (DataplaneException)
        {
            return false;
        }
    }
}
