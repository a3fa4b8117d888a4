using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;

namespace Dataplane.Tests;

/// <summary>DPDK's net_af_xdp at the other end of a veth pair: it sends back what it gets.</summary>
public sealed class AfXdpInteropTests
{
    [Theory]
    [InlineData("drv")]
    [InlineData("skb")]
    public void AfXdp_TestpmdSendsBack_EveryFrameAsItWasAndInOrder(string mode)
    {
        using var echo = new Echo(mode);
        for (int i = 0; i < 20_000; i++)
            echo.Step(60 + i % 1455);
        echo.Finish();
    }

    /// <summary>At full rate, for DATAPLANE_SOAK_SECONDS (10).</summary>
    [Theory]
    [InlineData("drv")]
    [InlineData("skb")]
    public void AfXdp_SoakAgainstTestpmd_LosesAndMixesNothing(string mode)
    {
        string? text = Environment.GetEnvironmentVariable("DATAPLANE_SOAK_SECONDS");
        double seconds = text == null ? 10 : double.Parse(text, CultureInfo.InvariantCulture);
        using var echo = new Echo(mode);
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed.TotalSeconds < seconds)
            for (int i = 0; i < 1000; i++)
                echo.Step(64);
        echo.Finish();
        TestContext.Current.SendDiagnosticMessage($"af_xdp {mode}, {seconds} s: {echo.Sent} packets there and back, "
            + $"none lost, none out of order; stood {echo.Stood}");
    }

    /// <summary>Frames in a window, so that nobody's queue runs over, and what comes back held against them.</summary>
    private sealed class Echo : IDisposable
    {
        private const int Window = 192;     // fewer than veth's own ring has places

        private readonly NetLab _lab = new();
        private readonly PortRig _rig;
        private readonly TestpmdProcess _testpmd;
        private readonly Port _port;
        private readonly string _links;
        private readonly Mbuf[] _out = new Mbuf[32], _in = new Mbuf[64];
        private readonly int[] _lengths = new int[2 * Window];   // of those on their way and those still to be sent
        private int _waiting;
        private long _received;

        internal Echo(string mode)
        {
            Host.Require("dpdk-testpmd", "stdbuf");
            (string ours, string theirs) = _lab.AddVeth("i");
            _links = $"ip -s -s link show {ours}; ip -s -s link show {theirs}; ethtool -S {theirs}; "
                + "cat /proc/net/softnet_stat";
            _rig = new PortRig();
            _port = _rig.Start($"net_af_xdp0,iface={ours},mode={mode}");
            _testpmd = new TestpmdProcess($"net_af_xdp0,iface={theirs}", "io");
        }

        internal long Sent { get; private set; }

        internal long Stood { get; private set; }

        /// <summary>One more frame, and whatever has come back.</summary>
        internal void Step(int length)
        {
            byte[] frame = Frames.Numbered((int)(Sent + _waiting), length);
            _lengths[(Sent + _waiting) % _lengths.Length] = length;
            _out[_waiting++] = _rig.Packet(frame);
            if (_waiting == _out.Length)
                Flush();
        }

        /// <summary>Waits for the rest, and holds the counters against each other.</summary>
        internal void Finish()
        {
            Flush();
            Await(() => _received == Sent);
            Assert.True(_testpmd.WaitFor("TX-packets", Sent), "testpmd counts fewer");
            (long received, long sent) = _testpmd.Stop();
            PortStats stats = _port.GetStats();
            Assert.Equal((Sent, Sent, Sent, Sent, 0L),
                (received, sent, (long)stats.TxPackets, (long)stats.RxPackets, (long)stats.RxMissed));
        }

        public void Dispose()
        {
            Mbuf.FreeBulk(_out.AsSpan(0, _waiting));
            _testpmd.Dispose();
            _rig.Dispose();
            _lab.Dispose();
        }

        private void Flush()
        {
            Await(() => Sent + _waiting - _received <= Window);
            PortRig.SendAll(_port.TxQueues[0], _out.AsSpan(0, _waiting));
            Sent += _waiting;
            _waiting = 0;
            Receive();
        }

        private void Await(Func<bool> condition)
        {
            var clock = Stopwatch.StartNew();
            while (!condition())
            {
                long before = _received;
                Receive();
                if (clock.Elapsed.TotalSeconds > 5 && _received == before)
                {
                    Stood++;
                    _port.TxQueues[0].ReclaimTx();   // as an idle sender does: what the kernel had no room for goes now
                }
                if (_received != before)
                    clock.Restart();
                Assert.True(clock.Elapsed.TotalSeconds < 60, $"{Sent - _received} of {Sent} packets do not come back; "
                    + $"{_port.GetStats()}\n{string.Join(' ', _port.GetXstats())}\n{Host.TryRun("sh", "-c", _links)}");
            }
        }

        private void Receive()
        {
            int count = _port.RxQueues[0].RxBurst(_in);
            byte[][] frames = [.. _in.Take(count).Select(packet => packet.Data.ToArray())];
            Mbuf.FreeBulk(_in.AsSpan(0, count));
            foreach (byte[] frame in frames)
            {
                Assert.Equal((int)_received, BinaryPrimitives.ReadInt32BigEndian(frame.AsSpan(14)));
                Assert.Equal(Frames.Numbered((int)_received, _lengths[_received % _lengths.Length]), frame);
                _received++;
            }
        }
    }
}
