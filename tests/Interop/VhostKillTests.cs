using System.Diagnostics;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>The other end is killed with buffers in its hands, and the next one goes on: DPDK's, and ours.</summary>
public sealed class VhostKillTests : IDisposable
{
    private const int Lives = 4, Enough = 5000;

    private readonly PcapFolder _folder = new();
    private readonly Mbuf[] _burst = new Mbuf[32];
    private uint _next;

    private string Socket => _folder["vhost.sock"];

    public void Dispose() => _folder.Dispose();

    /// <summary>Back ends that send back what comes die; what they had in flight is done by those after
    /// them.</summary>
    [Theory]
    [InlineData("testpmd", false)]
    [InlineData("testpmd", true)]
    [InlineData("Forward", false)]
    [InlineData("Forward", true)]
    public void BackEnd_KilledInMidBurst_TheNextOneGoesOn(string program, bool packed)
    {
        using DriverRig rig = Start(program, $"net_virtio_user0,path={Socket},server=1,packed_vq={(packed ? 1 : 0)}");
        for (int life = 0; life < Lives; life++)
        {
            if (program == "testpmd")
            {
                using var testpmd = new TestpmdProcess($"net_vhost0,iface={Socket},client=1", "io", null,
                    "--port-topology=loop");
                Exchange(rig);
                testpmd.KillNine();
            }
            else
            {
                using Process forward = AppProcess.Start("Forward", ["--no-huge", "--no-pci", "-m", "64", "-l",
                    AppProcess.Lcores(2), "--vdev", $"net_vhost0,iface={Socket},client=1", "--", "--stats-period", "0",
                    "--port-topology", "Loop"]);
                Exchange(rig);
                forward.Kill();
                forward.WaitForExit();
            }
            WaitForNobody(rig);
        }
        // One that lives: it gives back all that those before it were given.
        using var last = new TestpmdProcess($"net_vhost0,iface={Socket},client=1", "io", null,
            "--port-topology=loop");
        Exchange(rig);
        var tx = (VirtioTxQueue)rig.Tx;
        var rx = (VirtioRxQueue)rig.Rx;
        Assert.True(SpinWait.SpinUntil(() =>
        {
            Check(rig, _burst.AsSpan(0, rig.Rx.RxBurst(_burst)));
            tx.ReclaimTx();
            return tx.Queue!.InFlightCount == 0;
        }, TimeSpan.FromMinutes(1)), $"{tx.Queue!.InFlightCount} packets are with the back end for ever");
        Assert.Equal(DriverRig.PoolSize, rig.Pool.AvailableCount + rx.Queue!.InFlightCount);
        Assert.Equal((VirtqueueFault.None, VirtqueueFault.None), (tx.Queue!.Fault, rx.Queue!.Fault));
        rig.Stop();
        rig.AssertAllBack("stopped");
    }

    /// <summary>Front ends die, and their memory goes with them, while our back end copies to and fro.</summary>
    [Theory]
    [InlineData("testpmd", false)]
    [InlineData("testpmd", true)]
    [InlineData("Forward", false)]
    [InlineData("Forward", true)]
    public void FrontEnd_KilledInMidBurst_TheNextOneIsServed(string program, bool packed)
    {
        using DriverRig rig = Start(program, $"net_vhost0,iface={Socket}");
        string device = $"net_virtio_user0,path={Socket},packed_vq={(packed ? 1 : 0)}";
        for (int life = 0; life < Lives; life++)
        {
            if (program == "testpmd")
            {
                using var testpmd = new TestpmdProcess(device, "io", null, "--port-topology=loop");
                Exchange(rig);
                testpmd.KillNine();
            }
            else
            {
                using Process forward = AppProcess.Start("Forward", ["--no-huge", "--no-pci", "-m", "64", "-l",
                    AppProcess.Lcores(2), "--vdev", device, "--", "--stats-period", "0", "--port-topology", "Loop"]);
                Exchange(rig);
                forward.Kill();
                forward.WaitForExit();
            }
            WaitForNobody(rig);
            Assert.Equal(DriverRig.PoolSize, rig.Pool.AvailableCount);   // a back end keeps nothing
        }
        Assert.DoesNotContain(rig.Sender.GetXstats(), x => x.Name.EndsWith("broken", StringComparison.Ordinal)
            && x.Value != 0);
        rig.Stop();
        rig.AssertAllBack("stopped");
    }

    private static DriverRig Start(string program, string device)
    {
        if (program == "testpmd")
            Host.Require("dpdk-testpmd", "stdbuf");
        var rig = new DriverRig(Drivers.All, [device], TimeSpan.FromMilliseconds(600),
            new EalOptions { NoHuge = true, NoPci = true });
        rig.Sender.Start(new PortConfig(), rig.Pool, 256);
        return rig;
    }

    /// <summary>Sends at full rate until enough has come back in this life; the ring is full of buffers then.</summary>
    private void Exchange(DriverRig rig)
    {
        rig.WaitForLinks();
        long start = Environment.TickCount64;
        for (int back = 0; back < Enough;)
        {
            Assert.True(Environment.TickCount64 - start < 120_000, $"{back} packets came back");
            back += Poll(rig);
        }
    }

    /// <summary>Polls on while the other end is dead, until that is noticed.</summary>
    private void WaitForNobody(DriverRig rig)
    {
        long start = Environment.TickCount64;
        while (rig.Sender.GetLink().Up)
        {
            Assert.True(Environment.TickCount64 - start < 60_000, "it was killed, and the link is up");
            Poll(rig);
        }
        while (Poll(rig) > 0)
            ;
        _next -= Math.Min(_next, 1024);   // as many as can have been in flight
    }

    private int Poll(DriverRig rig)
    {
        int made = rig.Make(_burst);
        int sent = rig.Tx.TxBurst(_burst.AsSpan(0, made));
        Mbuf.FreeBulk(_burst.AsSpan(sent, made - sent));
        int received = rig.Rx.RxBurst(_burst);
        Check(rig, _burst.AsSpan(0, received));
        return received;
    }

    /// <summary>Every packet is one that was sent, whole, and later than the one before in this life: who takes over
    /// may do again what the dead one had done without saying so.</summary>
    private void Check(DriverRig rig, Span<Mbuf> packets)
    {
        foreach (Mbuf packet in packets)
        {
            if (DriverRig.SequenceOf(packet) is not { } sequence)
                continue;
            Assert.Equal(DriverRig.Expected(sequence, packet.PacketLength), DriverRig.BytesOf(packet));
            Assert.InRange(sequence, _next, rig.NextSequence - 1);
            _next = sequence + 1;
        }
        Mbuf.FreeBulk(packets);
    }
}
