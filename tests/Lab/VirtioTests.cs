namespace Dataplane.Tests;

/// <summary>What QEMU's virtio devices do that its others do not.</summary>
[Guest(Machines.Intel612)]
public sealed class VirtioTests
{
    /// <summary>Without a buffer QEMU's device holds its sender up, and goes on from there by itself once there are
    /// some. A packed queue then waits at a place that was passed (virtio_net_tx_complete): it must be told of the next
    /// packet all the same.</summary>
    [Theory]
    [InlineData("virtio")]
    [InlineData("virtio-packed")]
    public void Traffic_ReceiverHadNoBuffersForAWhile_GoesOn(string model)
    {
        using DriverRig rig = LinkInterruptTests.Rig(model);
        rig.Start();
        int buffers = rig.Rx.Config.Descriptors;
        for (int round = 0; round < 16; round++)
        {
            // One more than there are buffers waits at the receiver, the next holds the sender up, the others are
            // behind it in the ring.
            var packets = new Mbuf[buffers + 3 + round % 8];
            Assert.Equal(packets.Length, rig.Make(packets, 100));
            rig.Offer(packets);
            Assert.True(rig.WaitFor(() =>
                rig.Rx.GetDescriptorStatus(rig.Rx.WaitingCount) != DescriptorStatus.WithDevice),
                $"round {round}: buffers stay empty");
            Assert.Equal(packets.Length, Collect(rig, packets.Length));
            for (int i = 1; i <= 3; i++)
            {
                Assert.Equal(1, rig.Make(packets.AsSpan(0, 1), 100));
                rig.Offer(packets[0]);
                Assert.True(Collect(rig, 1) == 1, $"round {round}: packet {i} after it does not come");
            }
        }
        rig.Stop();
        rig.AssertAllBack("stopped");
    }

    private static int Collect(DriverRig rig, int count)
    {
        List<(int, Mbuf Packet)> arrived = rig.Collect(count, packet => DriverRig.SequenceOf(packet) != null);
        foreach ((int _, Mbuf packet) in arrived)
            packet.Free();
        return arrived.Count;
    }
}
