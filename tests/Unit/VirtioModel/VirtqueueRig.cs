using System.Runtime.InteropServices;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Both sides of one virtqueue, and nothing around it.</summary>
internal sealed unsafe class VirtqueueRig : IDisposable
{
    private readonly byte* _memory;
    private ModelBuffer _buffer;

    internal VirtqueueRig(bool packed, int size, params ReadOnlySpan<int> features)
    {
        var layout = new VirtqueueLayout(packed, size, IndirectParts: 4);
        _memory = (byte*)NativeMemory.AlignedAlloc(layout.Bytes, 4096);
        NativeMemory.Clear(_memory, layout.Bytes);
        Driver = Virtqueue.Create(Index, layout, _memory, (ulong)_memory, VirtioFeatures.Of(features));
        Device = ModelQueue.Of(Driver, 0, VirtioFeatures.Of(features));
    }

    /// <summary>The queue's number.</summary>
    internal const int Index = 5;

    internal Virtqueue Driver { get; }
    internal ModelQueue Device { get; }

    /// <summary>Adds buffers of so many descriptors each, and publishes them together.</summary>
    internal void Add(int buffers, int parts = 1)
    {
        Span<VirtioPart> all = stackalloc VirtioPart[parts];
        for (int i = 0; i < parts; i++)
            all[i] = new(0x1000ul * (ulong)(i + 1), 64u + (uint)i);
        for (int i = 0; i < buffers; i++)
            Assert.True(Driver.TryAddChain(all, 0, (nint)Driver.NextId + 1));
        Driver.Publish();
    }

    /// <summary>The device uses all there is, one by one. Returns how many that were.</summary>
    internal int Use()
    {
        int used = 0;
        for (; Device.TryPop(ref _buffer); used++)
            Device.Push(_buffer.Id, _buffer.Slots, 0);
        Device.Flush();
        return used;
    }

    /// <summary>The driver takes what was used. Returns how many that were.</summary>
    internal int Take()
    {
        Span<nint> cookies = stackalloc nint[Driver.Size];
        Span<uint> lengths = stackalloc uint[Driver.Size];
        return Driver.Take(cookies, lengths);
    }

    /// <summary>Buffers go round one at a time until the next place is so many further.</summary>
    internal void Advance(int places)
    {
        while (places-- > 0)
        {
            Add(1);
            _ = Driver.ShouldNotify();
            Assert.Equal((1, 1), (Use(), Take()));
        }
    }

    public void Dispose()
    {
        Driver.Dispose();
        NativeMemory.AlignedFree(_memory);
    }
}
