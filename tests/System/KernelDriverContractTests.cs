namespace Dataplane.Tests;

/// <summary>Two af_packet ports at the ends of a veth pair.</summary>
public sealed class AfPacketDriverContract : DriverContract, IDisposable
{
    private NetLab? _lab;
    private (string A, string B) _veth = ("none-a", "none-b");

    protected override IReadOnlyList<string> Devices =>
        [$"net_af_packet0,iface={_veth.A},qpairs=2,framecnt=1024",
        $"net_af_packet1,iface={_veth.B},qpairs=2,framecnt=1024"];

    protected override IReadOnlyList<string> BadDevices =>
    [
        "net_af_packet0", "net_af_packet1,iface=nosuchlink", "net_af_packet2,iface=lo,blocksz=5000",
        "net_af_packet3,iface=lo,framesz=100", "net_af_packet4,iface=lo,fanout_mode=best",
        "net_af_packet5,iface=lo,qpair=1", "net_af_packet6,iface=lo,qdisc_bypass=yes",
    ];

    protected override TimeSpan Patience => TimeSpan.FromMilliseconds(300);

    protected override void Prepare()
    {
        Host.Require();
        _lab = new NetLab();
        _veth = _lab.AddVeth("c");
    }

    public void Dispose() => _lab?.Dispose();
}

/// <summary>Two tap ports whose interfaces pass frames on to each other.</summary>
public sealed class TapDriverContract : DriverContract, IDisposable
{
    private NetLab? _lab;
    private (string A, string B) _taps = ("none-a", "none-b");

    protected override IReadOnlyList<string> Devices => [$"net_tap0,iface={_taps.A}", $"net_tap1,iface={_taps.B}"];

    protected override IReadOnlyList<string> BadDevices =>
    [
        "net_tap0,iface=a-name-far-too-long", "net_tap1,iface=a/b", "net_tap2,mac=01:00:5e:00:00:01", "net_tap3,mtu=1",
        "net_tap4,ifname=x", "net_tap5,iface=lo",
    ];

    protected override TimeSpan Patience => TimeSpan.FromMilliseconds(300);

    protected override void Prepare()
    {
        Host.Require("tc");
        _lab = new NetLab();
        _taps = _lab.AddTaps();
    }

    public void Dispose() => _lab?.Dispose();
}
