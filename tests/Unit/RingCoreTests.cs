using System.Runtime.InteropServices;

namespace Dataplane.Tests;

public unsafe class RingCoreTests
{
    public static TheoryData<RingSync, RingSync> AllModes()
    {
        var modes = new TheoryData<RingSync, RingSync>();
        foreach (RingSync producer in Enum.GetValues<RingSync>())
            foreach (RingSync consumer in Enum.GetValues<RingSync>())
                modes.Add(producer, consumer);
        return modes;
    }

    [Theory, MemberData(nameof(AllModes))]
    public void RingCore_FillAndDrainRoundTheWrap_KeepsOrder(RingSync producerSync, RingSync consumerSync)
    {
        void* memory = NativeMemory.AlignedAlloc(RingHeader.BytesFor(64, 8), RingHeader.Separation);
        try
        {
            var ring = (RingHeader*)memory;
            RingHeader.Init(ring, "t", 64, 8, producerSync, consumerSync, exactSize: false);
            ulong sent = 0, received = 0;
            ulong[] items = new ulong[64];
            for (uint round = 0; round < 200; round++)
            {
                uint count = round % 63 + 1;
                for (int i = 0; i < count; i++)
                    items[i] = sent++;
                Assert.Equal(count, RingDispatch.Enqueue(ring, ref items[0], count, RingClaim.Bulk, out _));
                Assert.Equal(count, RingHeader.Count(ring));
                Array.Clear(items);
                Assert.Equal(count, RingDispatch.Dequeue(ring, ref items[0], 64, RingClaim.Burst, out uint left));
                Assert.Equal(0u, left);
                for (int i = 0; i < count; i++)
                    Assert.Equal(received++, items[i]);
            }
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    [Theory, MemberData(nameof(AllModes))]
    public void RingCore_BulkThatDoesNotFit_MovesNothing(RingSync producerSync, RingSync consumerSync)
    {
        void* memory = NativeMemory.AlignedAlloc(RingHeader.BytesFor(16, 8), RingHeader.Separation);
        try
        {
            var ring = (RingHeader*)memory;
            RingHeader.Init(ring, "t", 10, 8, producerSync, consumerSync, exactSize: true);
            ulong[] items = new ulong[16];
            Assert.Equal(0u, RingDispatch.Enqueue(ring, ref items[0], 11, RingClaim.Bulk, out uint free));
            Assert.Equal(10u, free);
            Assert.Equal(10u, RingDispatch.Enqueue(ring, ref items[0], 16, RingClaim.Burst, out free));
            Assert.Equal(0u, free);
            Assert.Equal(0u, RingDispatch.Dequeue(ring, ref items[0], 11, RingClaim.Bulk, out uint available));
            Assert.Equal(10u, available);
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }
}
