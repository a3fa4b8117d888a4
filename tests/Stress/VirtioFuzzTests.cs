using Dataplane.Native;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Devices and back ends that lie to the driver of virtio in their part of the rings.</summary>
public sealed unsafe class VirtioFuzzTests
{
    private const int Rings = 100_000;

    /// <summary>Whatever the device writes, every mbuf is whole, and all of them come back.</summary>
    [Theory]
    [InlineData(false, RxOffloads.None)]
    [InlineData(true, RxOffloads.None)]
    [InlineData(false, RxOffloads.Scatter | RxOffloads.TcpChecksum | RxOffloads.VlanStrip)]
    [InlineData(true, RxOffloads.Scatter | RxOffloads.TcpChecksum | RxOffloads.VlanStrip)]
    [InlineData(true, RxOffloads.TcpLro | RxOffloads.RssHash)]
    public void Device_WritesAnything_NothingOfOursIsHarmed(bool packed, RxOffloads offloads)
    {
        using var rig = new VirtioRig(new ModelDevice
        {
            Silent = true,
            Offered = (packed ? ModelDevice.Everything
                : ModelDevice.Everything & ~VirtioFeatures.Of(VirtioConfig.VIRTIO_F_RING_PACKED))
                | (offloads == RxOffloads.None ? VirtioFeatures.Of(VirtioConfig.VIRTIO_F_IN_ORDER) : 0),
        });
        var burst = new Mbuf[48];
        int faults = 0, received = 0, rings = 0;
        for (int seed = 1; rings < Rings; seed++)
        {
            var random = new Random(seed);
            rig.Start(offloads);
            for (int step = 0; step < 40 && faults < seed; step++, rings++)
            {
                Play(rig, random);
                int count = rig.Rx.RxBurst(burst.AsSpan(0, random.Next(1, burst.Length)));
                received += count;
                foreach (Mbuf packet in burst.AsSpan(0, count))
                    Assert.True(packet.Check(isPacket: true, out string? reason), $"seed {seed}: {reason}");
                int sent = rig.Tx.TxBurst(burst.AsSpan(0, count));
                Mbuf.FreeBulk(burst.AsSpan(sent, count - sent));
                faults += ((VirtioRxQueue)rig.Rx).Queue!.Fault != VirtqueueFault.None ? 1 : 0;
            }
            rig.Port.Stop();
            Assert.True(rig.Pool.AvailableCount == VirtioRig.PoolSize, $"seed {seed}: "
                + $"{VirtioRig.PoolSize - rig.Pool.AvailableCount} mbufs are missing");
        }
        rig.Eal.Memory.Validate();
        Assert.InRange(faults, 50, int.MaxValue);
        Assert.InRange(received, 500, int.MaxValue);
    }

    /// <summary>Some buffers given back as they should be, with noise in the header and the length; now and then
    /// something else.</summary>
    private static void Play(VirtioRig rig, Random random)
    {
        ModelQueue rx = rig.RxModel, tx = rig.TxModel;
        ModelBuffer buffer = default;
        for (int i = random.Next(20); i > 0 && rx.TryPop(ref buffer) && buffer.Length[0] != 0; i--)
        {
            var memory = new Span<byte>(rx.Pointer(buffer.Address[0]), (int)buffer.Length[0]);
            memory[..20].Clear();
            random.NextBytes(memory[20..100]);
            var header = (virtio_net_hdr_v1_hash*)rx.Pointer(buffer.Address[0]);
            header->num_buffers = (ushort)(random.Next(20) == 0 ? random.Next(300) : random.Next(1, 4));
            if (random.Next(3) == 0)
                random.NextBytes(memory[..10]);
            bool wrong = random.Next(100) == 0;
            rx.Push(wrong ? (uint)random.Next(300) : buffer.Id, 1,
                wrong ? (uint)random.Next() : (uint)random.Next(12, (int)buffer.Length[0] + 1));
        }
        rx.Flush();
        while (random.Next(10) != 0 && tx.TryPop(ref buffer))
            tx.Push(random.Next(200) == 0 ? (uint)random.Next(300) : buffer.Id, buffer.Slots, (uint)random.Next());
        tx.Flush();
        if (random.Next(30) == 0)      // anywhere in what only the device writes
            random.NextBytes(new Span<byte>((random.Next(2) == 0 ? rx : tx).Device, 64));
    }
}
