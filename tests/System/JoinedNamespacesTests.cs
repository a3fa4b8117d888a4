using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>Two namespaces that reach each other only through two ports and a forwarding loop.</summary>
public class JoinedNamespacesTests
{
    private const RxOffloads WholeRx = RxOffloads.TcpLro | RxOffloads.Scatter;
    private const TxOffloads WholeTx = TxOffloads.TcpTso | TxOffloads.TcpChecksum | TxOffloads.UdpChecksum
        | TxOffloads.Ipv4Checksum | TxOffloads.MultiSegments;

    private static readonly PortConfig s_plain = new();
    private static readonly PortConfig s_whole = new() { RxOffloads = WholeRx, TxOffloads = WholeTx };

    [Theory]
    [InlineData("af_packet", false)]
    [InlineData("af_packet", true)]
    [InlineData("tap", false)]
    [InlineData("tap", true)]
    public void Namespaces_FloodPing_LosesNothing(string kind, bool whole)
    {
        Host.Require("ping");
        using var lab = new NetLab();
        using var rig = new PortRig();
        using var join = new Join(lab, rig, kind, whole ? s_whole : s_plain);

        NetLab.FloodPing(join.Near, Join.FarAddress, 500);
        join.Stop();
    }

    [Theory]
    [InlineData("af_packet", false, 4, 4)]
    [InlineData("af_packet", true, 10, 4)]
    [InlineData("af_packet", false, 3, 6)]
    [InlineData("af_packet", true, 3, 6)]
    [InlineData("tap", false, 3, 4)]
    [InlineData("tap", true, 3, 4)]
    [InlineData("tap", true, 3, 6)]
    public void Namespaces_Iperf_RunsWithEveryPacketAccountedFor(string kind, bool whole, int seconds, int version)
    {
        Host.Require("iperf3");
        using var lab = new NetLab();
        using var rig = new PortRig(mbufs: 16384);
        using var join = new Join(lab, rig, kind, whole ? s_whole : s_plain);
        using Process server = NetLab.StartIperfServer(join.Far);

        string report = Host.Run("ip", "netns", "exec", join.Near, "iperf3", "-J", "-t",
            seconds.ToString(CultureInfo.InvariantCulture), "-c", version == 4 ? Join.FarAddress : Join.FarAddress6);

        server.WaitForExit();
        join.Stop();
        using JsonDocument json = JsonDocument.Parse(report);
        double gigabits = json.RootElement.GetProperty("end").GetProperty("sum_received")
            .GetProperty("bits_per_second").GetDouble() / 1e9;
        TestContext.Current.SendDiagnosticMessage(
            $"{kind}, whole {whole}, IPv{version}: {gigabits:f2} Gbit/s, dropped {join.Dropped}");
        Assert.True(gigabits > 0.005, $"only {gigabits} Gbit/s");
    }

    /// <summary>The two namespaces, their ports, and the loop between.</summary>
    private sealed class Join : IDisposable
    {
        internal const string NearAddress = "10.91.0.1", FarAddress = "10.91.0.2", FarAddress6 = "fd91::2";
        private readonly Port _left;
        private readonly Port _right;
        private readonly Forwarder _forwarder;
        private readonly string _near;
        private readonly string _far;
        private readonly bool _whole;

        internal Join(NetLab lab, PortRig rig, string kind, PortConfig config)
        {
            Near = lab.AddNamespace("near");
            Far = lab.AddNamespace("far");
            _whole = config == s_whole;
            (_left, _near) = AddEnd(lab, rig, kind, 0, Near, NearAddress, "fd91::1", config);
            (_right, _far) = AddEnd(lab, rig, kind, 1, Far, FarAddress, FarAddress6, config);
            _forwarder = new Forwarder(_left, _right);
        }

        internal string Near { get; }

        internal string Far { get; }

        internal long Dropped => _forwarder.Dropped;

        /// <summary>Stops the loop and holds the counters against each other.</summary>
        internal void Stop()
        {
            Host.Run("ip", "-n", Near, "link", "set", _near, "down");
            Host.Run("ip", "-n", Far, "link", "set", _far, "down");
            _forwarder.Dispose();
            PortStats left = _left.GetStats(), right = _right.GetStats();
            Assert.Equal(left.RxPackets + right.RxPackets,
                left.TxPackets + right.TxPackets + (ulong)_forwarder.Dropped);
            Assert.Equal((0ul, 0ul, 0ul), (left.RxErrors, left.TxErrors, left.RxNoMbuf));
            Assert.Equal((0ul, 0ul, 0ul), (right.RxErrors, right.TxErrors, right.RxNoMbuf));
            Assert.Equal(0, _forwarder.Allocated);
            if (!_whole)
                return;   // the kernel counts a superframe once, we each frame we make of it
            (long rx, long tx) near = KernelCounts(Near, _near), far = KernelCounts(Far, _far);
            Assert.Equal((near.tx, far.tx), ((long)(left.RxPackets + left.RxMissed),
                (long)(right.RxPackets + right.RxMissed)));
            Assert.Equal((near.rx, far.rx), ((long)left.TxPackets, (long)right.TxPackets));
        }

        public void Dispose() => _forwarder.Dispose();

        private static (long Rx, long Tx) KernelCounts(string space, string link)
        {
            using JsonDocument json = JsonDocument.Parse(Host.Run("ip", "-n", space, "-s", "-j", "link", "show", link));
            JsonElement stats = json.RootElement[0].GetProperty("stats64");
            return (stats.GetProperty("rx").GetProperty("packets").GetInt64(),
                stats.GetProperty("tx").GetProperty("packets").GetInt64());
        }

        private static (Port Port, string Inside) AddEnd(NetLab lab, PortRig rig, string kind, int number, string space,
            string v4, string v6, PortConfig config)
        {
            string device, inside;
            if (kind == "af_packet")
            {
                (string outside, inside) = lab.AddVeth("j" + number);
                device = $"net_af_packet{number},iface={outside}";
            }
            else
            {
                inside = lab.NewLink("t" + number);
                device = $"net_tap{number},iface={inside}";
            }
            Port port = rig.Start(device, config);
            NetLab.Place(inside, space, v4 + "/24");
            Host.Run("ip", "netns", "exec", space, "sysctl", "-qw", $"net.ipv6.conf.{inside}.disable_ipv6=0");
            Host.Run("ip", "-n", space, "addr", "add", v6 + "/64", "dev", inside, "nodad");
            return (port, inside);
        }
    }
}
