using Dataplane.Native;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Devices that break the rules: counted, the queue marked and told of, nothing of ours harmed.</summary>
public sealed unsafe class VirtioHostileTests
{
    private const uint Header = 12;

    private static readonly ulong s_split = ModelDevice.Everything & ~VirtioFeatures.Of(
        VirtioConfig.VIRTIO_F_RING_PACKED);

    [Theory]
    [CombinatorialLayouts(nameof(VirtqueueFault.BadId))]
    [CombinatorialLayouts(nameof(VirtqueueFault.NotInFlight))]
    [CombinatorialLayouts(nameof(VirtqueueFault.Overrun))]
    [CombinatorialLayouts(nameof(VirtqueueFault.MergedTooMany))]
    public void Receive_RuleBroken_QueueStopsAndIsTold(bool packed, string fault)
    {
        using VirtioRig rig = Make(packed);
        rig.Start(RxOffloads.Scatter);
        var events = new List<PortEvent>();
        rig.Port.Events += (_, what) => { lock (events) events.Add(what); };
        ModelQueue model = rig.RxModel;
        ModelBuffer buffer = default;
        Assert.True(model.TryPop(ref buffer));
        byte* memory = model.Pointer(buffer.Address[0]);
        new Span<byte>(memory, 12).Clear();
        ((virtio_net_hdr_v1_hash*)memory)->num_buffers = fault == nameof(VirtqueueFault.MergedTooMany) ? (ushort)9999
            : (ushort)1;
        model.Push(fault == nameof(VirtqueueFault.BadId) ? 256 : buffer.Id, 1,
            fault == nameof(VirtqueueFault.Overrun) ? buffer.Length[0] + 1 : Header + 60);
        if (fault == nameof(VirtqueueFault.NotInFlight))
            model.Push(buffer.Id, 1, Header + 60);   // the same again
        model.Flush();
        var burst = new Mbuf[32];
        int received = rig.Rx.RxBurst(burst);
        Mbuf.FreeBulk(burst.AsSpan(0, received));
        Assert.Equal(fault == nameof(VirtqueueFault.NotInFlight) ? 1 : 0, received);
        Assert.Equal(fault, ((VirtioRxQueue)rig.Rx).Queue!.Fault.ToString());
        Assert.Equal(0, rig.Rx.RxBurst(burst));
        Assert.Equal(1ul, rig.Xstat("rx_q0_broken"));
        Assert.Equal(fault is nameof(VirtqueueFault.Overrun) or nameof(VirtqueueFault.MergedTooMany) ? 1ul : 0,
            rig.Port.GetStats().RxErrors);
        _ = rig.Port.GetLink();
        lock (events)
            Assert.Single(events, PortEvent.ResetNeeded);
        rig.Port.Stop();
        rig.AssertAllBack();
        rig.Port.Start();
        Assert.Equal(0ul, rig.Xstat("rx_q0_broken"));
    }

    [Theory]
    [InlineData(false, 257)]
    [InlineData(false, 40000)]
    public void Receive_UsedIndexJumps_QueueStops(bool packed, int jump)
    {
        using VirtioRig rig = Make(packed);
        rig.Start();
        *((ushort*)rig.RxModel.Device + 1) = (ushort)jump;
        var burst = new Mbuf[32];
        Assert.Equal(0, rig.Rx.RxBurst(burst));
        Assert.Equal(VirtqueueFault.UsedIndex, ((VirtioRxQueue)rig.Rx).Queue!.Fault);
    }

    /// <summary>Shorter than a header and an Ethernet header: nothing anybody could look at.</summary>
    [Theory]
    [InlineData(false, RxOffloads.None)]
    [InlineData(true, RxOffloads.None)]
    [InlineData(true, RxOffloads.Scatter)]
    public void Receive_TooShort_IsAnErrorAlone(bool packed, RxOffloads offloads)
    {
        using VirtioRig rig = Make(packed);
        rig.Start(offloads);
        ModelBuffer buffer = default;
        foreach (uint length in (uint[])[0, Header + 60, 11, Header, Header + 13, Header + 14, Header + 13])
        {
            Assert.True(rig.RxModel.TryPop(ref buffer));
            byte* memory = rig.RxModel.Pointer(buffer.Address[0]);
            *(virtio_net_hdr_v1_hash*)memory = default;
            ((virtio_net_hdr_v1_hash*)memory)->num_buffers = 1;
            rig.RxModel.Push(buffer.Id, 1, length);
        }
        rig.RxModel.Flush();
        var burst = new Mbuf[32];
        int received = rig.Rx.RxBurst(burst);
        Assert.Equal([60, 14], burst.Take(received).Select(packet => packet.PacketLength));
        Mbuf.FreeBulk(burst.AsSpan(0, received));
        PortStats stats = rig.Port.GetStats();
        Assert.Equal((2ul, 74ul, 5ul), (stats.RxPackets, stats.RxBytes, stats.RxErrors));
        Assert.Equal(VirtqueueFault.None, ((VirtioRxQueue)rig.Rx).Queue!.Fault);
        rig.Port.Stop();
        rig.AssertAllBack();
    }

    /// <summary>Every length that a buffer cannot hold, with what came behind it: none is believed.</summary>
    [Theory]
    [InlineData(false, RxOffloads.None)]
    [InlineData(true, RxOffloads.None)]
    [InlineData(false, RxOffloads.Scatter)]
    public void Receive_LongerThanItsBuffer_QueueStops(bool packed, RxOffloads offloads)
    {
        using VirtioRig rig = Make(packed);
        foreach (uint more in (uint[])[1, 13, 14, 0xffff, 0x7fff_ffff, 0xffff_ffff - 3000])
        {
            rig.Start(offloads);
            ModelBuffer buffer = default;
            for (int i = 0; i < 3; i++)
            {
                Assert.True(rig.RxModel.TryPop(ref buffer));
                byte* memory = rig.RxModel.Pointer(buffer.Address[0]);
                *(virtio_net_hdr_v1_hash*)memory = default;
                ((virtio_net_hdr_v1_hash*)memory)->num_buffers = 1;
                rig.RxModel.Push(buffer.Id, 1, i == 1 ? buffer.Length[0] + more : buffer.Length[0]);
            }
            rig.RxModel.Flush();
            var burst = new Mbuf[32];
            ulong errors = rig.Port.GetStats().RxErrors;
            int received = rig.Rx.RxBurst(burst);
            Assert.True(received == 1, $"{received} packets with {more} bytes too many");
            Mbuf.FreeBulk(burst.AsSpan(0, received));
            Assert.Equal(errors + 2, rig.Port.GetStats().RxErrors);
            Assert.Equal(VirtqueueFault.Overrun, ((VirtioRxQueue)rig.Rx).Queue!.Fault);
            rig.Port.Stop();
            rig.AssertAllBack();
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Transmit_BadIdGivenBack_QueueStopsAndStopFreesAll(bool packed)
    {
        using VirtioRig rig = Make(packed);
        rig.Start();
        Assert.Equal(1, rig.Tx.TxBurst([rig.Packet(100)]));
        rig.TxModel.Push(77, 1, 0);
        rig.TxModel.Flush();
        Assert.Equal(0, rig.Tx.ReclaimTx());
        Mbuf second = rig.Packet(100);
        Assert.Equal(0, rig.Tx.TxBurst([second]));
        second.Free();
        Assert.Equal(1ul, rig.Xstat("tx_q0_broken"));
        rig.Port.Stop();
        rig.AssertAllBack();
    }

    private static VirtioRig Make(bool packed) => new(new ModelDevice
    {
        Silent = true, Offered = packed ? ModelDevice.Everything : s_split,
    });

    [AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
    private sealed class CombinatorialLayoutsAttribute(string fault) : Xunit.v3.DataAttribute
    {
        public override ValueTask<IReadOnlyCollection<ITheoryDataRow>> GetData(System.Reflection.MethodInfo testMethod,
            Xunit.Sdk.DisposalTracker disposalTracker) => new([new TheoryDataRow(false, fault), new TheoryDataRow(true,
            fault)]);

        public override bool SupportsDiscoveryEnumeration() => true;
    }
}
