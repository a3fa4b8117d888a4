using Dataplane.Native;

namespace Dataplane.Tests;

/// <summary>Who is told when: notifications and interrupts, at every place of the ring and for every place either side
/// may wait for. VIRTIO 1.2 §2.7.7, §2.7.10, §2.8.10.</summary>
public sealed unsafe class VirtqueueEventTests
{
    private const int Size = 8, Places = 2 * Size;   // of a packed ring: each place once in either round

    [Fact]
    public void Packed_EveryPlaceWaitedFor_IsToldOnceItIsPassed()
    {
        for (int start = 0; start < Places; start++)
            for (int count = 1; count <= Size; count++)
                for (int wanted = 0; wanted < Places; wanted++)
                {
                    using VirtqueueRig rig = new(packed: true, Size, VirtioRing.VIRTIO_RING_F_EVENT_IDX);
                    rig.Advance(start);
                    *(vring_packed_desc_event*)rig.Device.Device = new()
                    {
                        off_wrap = OffWrap(wanted),
                        flags = VirtioRing.VRING_PACKED_EVENT_FLAG_DESC,
                    };
                    rig.Add(count);
                    // Among the places still free it is ahead; it was passed, of late or long ago, anywhere else.
                    int ahead = (wanted - start - count + 2 * Places) % Places;
                    Assert.True(rig.Driver.ShouldNotify() == ahead >= Size - count,
                        $"{count} added at {start}, {wanted} is waited for: {rig.Driver.ShouldNotify()}");
                }
    }

    [Fact]
    public void Packed_Flags_AreHeededAtEveryPlace()
    {
        using VirtqueueRig rig = new(packed: true, Size, VirtioRing.VIRTIO_RING_F_EVENT_IDX);
        for (int place = 0; place < 2 * Places; place++)
        {
            var wanted = (vring_packed_desc_event*)rig.Device.Device;
            wanted->flags = VirtioRing.VRING_PACKED_EVENT_FLAG_DISABLE;
            Assert.False(rig.Driver.ShouldNotify());
            wanted->flags = VirtioRing.VRING_PACKED_EVENT_FLAG_ENABLE;
            Assert.True(rig.Driver.ShouldNotify());
            rig.Advance(1);
        }
    }

    /// <summary>What QEMU 10's transmit queue does when its packet was held up and goes at last: it says where it
    /// waits, finds more, takes that too, and sleeps.</summary>
    [Fact]
    public void Packed_DeviceGoesOnFromThePlaceItToldOf_IsToldOfTheNext()
    {
        using VirtqueueRig rig = new(packed: true, Size, VirtioRing.VIRTIO_RING_F_EVENT_IDX);
        for (int round = 0; round < 3 * Size; round++)
        {
            rig.Device.WantNotify(false);
            rig.Add(3);
            Assert.False(rig.Driver.ShouldNotify());
            rig.Device.WantNotify(true);
            Assert.Equal((3, 3), (rig.Use(), rig.Take()));
            rig.Add(1);
            Assert.True(rig.Driver.ShouldNotify(), $"round {round}: nobody wakes it");
            Assert.Equal((1, 1), (rig.Use(), rig.Take()));
        }
    }

    /// <summary>The same once the driver had filled the ring behind the packet held up: the place is a round behind
    /// before the next packet comes.</summary>
    [Fact]
    public void Packed_DeviceGoesOnRoundTheWholeRing_IsToldOfTheNext()
    {
        for (int start = 0; start < Places; start++)
            for (int count = 1; count <= Size; count++)
            {
                using VirtqueueRig rig = new(packed: true, Size, VirtioRing.VIRTIO_RING_F_EVENT_IDX);
                rig.Advance(start);
                rig.Device.WantNotify(false);
                rig.Add(1);
                Assert.Equal(1, rig.Use());
                rig.Add(Size - 1);
                rig.Device.WantNotify(true);
                Assert.Equal((Size - 1, Size), (rig.Use(), rig.Take()));
                rig.Add(count);
                Assert.True(rig.Driver.ShouldNotify(), $"{count} added after a round from {start}: nobody wakes it");
            }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(ushort.MaxValue - 1)]   // the index begins again at 0 among what is added
    public void Split_EveryIndexWaitedFor_IsToldWhenItIsPassed(int start)
    {
        const int most = 4;
        for (int count = 1; count <= most; count++)
            for (int back = -most; back <= 2 * most; back++)
            {
                using VirtqueueRig rig = new(packed: false, most, VirtioRing.VIRTIO_RING_F_EVENT_IDX);
                rig.Advance(start);
                *AvailEvent(rig.Device) = (ushort)(start + count - back);
                rig.Add(count);
                Assert.True(rig.Driver.ShouldNotify() == (back >= 1 && back <= count),
                    $"{count} added at {start}, {back} before the end is waited for");
            }
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Interrupt_AskedForAtEveryPlace_ComesAtTheNextAndNotUnasked(bool packed, bool eventIndex)
    {
        using VirtqueueRig rig = new(packed, Size, eventIndex ? [VirtioRing.VIRTIO_RING_F_EVENT_IDX] : []);
        rig.Advance(packed ? 0 : ushort.MaxValue - Size);
        for (int place = 0; place < 4 * Places; place++)
        {
            rig.Driver.EnableInterrupt();
            rig.Add(2);
            Assert.Equal(2, rig.Use());
            Assert.True(rig.Device.WantsInterrupt(), $"place {place}: not told");
            rig.Driver.DisableInterrupt();
            Assert.Equal(2, rig.Take());
            rig.Add(1);
            Assert.Equal(1, rig.Use());
            Assert.False(rig.Device.WantsInterrupt(), $"place {place}: told unasked");
            Assert.Equal(1, rig.Take());
        }
    }

    [Fact]
    public void NotificationData_EveryPlace_NamesQueueAndNext()
    {
        using VirtqueueRig packed = new(packed: true, Size), split = new(packed: false, Size);
        for (uint place = 0; place < 2 * Places; place++)
        {
            uint wrap = place / Size % 2 == 0 ? 1u : 0;
            Assert.Equal(VirtqueueRig.Index | place % Size << 16 | wrap << 31, packed.Driver.NotificationData);
            Assert.Equal(VirtqueueRig.Index | place << 16, split.Driver.NotificationData);
            packed.Advance(1);
            split.Advance(1);
        }
    }

    private static ushort OffWrap(int place) => (ushort)(place % Size | (place / Size % 2 == 0 ? 1 << 15 : 0));

    private static ushort* AvailEvent(ModelQueue device) =>
        (ushort*)(device.Device + 4 + device.Size * sizeof(vring_used_elem));
}
