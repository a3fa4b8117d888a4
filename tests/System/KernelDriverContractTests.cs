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

/// <summary>Two af_xdp ports at the ends of a veth pair.</summary>
public abstract class AfXdpContract(string arguments, int queues) : DriverContract, IDisposable
{
    private NetLab? _lab;
    private (string A, string B) _veth = ("none-a", "none-b");

    protected override IReadOnlyList<string> Devices =>
        [$"net_af_xdp0,iface={_veth.A},{arguments}", $"net_af_xdp1,iface={_veth.B},{arguments}"];

    protected override IReadOnlyList<string> BadDevices =>
    [
        "net_af_xdp0", "net_af_xdp1,iface=nosuchlink", "net_af_xdp2,iface=lo,queue_count=65",
        "net_af_xdp3,iface=lo,start_queue=1", "net_af_xdp4,iface=lo,mode=best", "net_af_xdp5,iface=lo,queues=1",
        "net_af_xdp6,iface=lo,force_copy=yes", "net_af_xdp7,iface=lo,use_cni=1,use_pinned_map=1",
        "net_af_xdp8,iface=lo,dp_path=/tmp/x", "net_af_xdp9,iface=lo,use_pinned_map=1,dp_path=/nosuch/map",
        "net_af_xdp10,iface=lo,use_cni=1,dp_path=/nosuch/socket", "net_af_xdp11,iface=lo,attach=glue",
    ];

    protected override TimeSpan Patience => TimeSpan.FromMilliseconds(300);

    protected override void Prepare()
    {
        Host.Require();
        _lab = new NetLab();
        _veth = _lab.AddVeth("x", queues);
    }

    public void Dispose() => _lab?.Dispose();
}

/// <summary>The program in the driver, with busy polling.</summary>
public sealed class AfXdpNativeContract() : AfXdpContract("mode=drv", queues: 2);

/// <summary>The program in the general path, memory shared between both ports, no busy polling. One queue: there, the
/// kernel gives all that comes by a veth to the first.</summary>
public sealed class AfXdpGenericContract() : AfXdpContract("mode=skb,shared_umem=1,busy_budget=0", queues: 1);

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
