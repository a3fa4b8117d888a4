using System.Runtime.InteropServices;
using FsCheck;
using FsCheck.Fluent;

namespace Dataplane.Tests;

/// <summary>Random sequences of heap calls against a model that remembers every byte.</summary>
public sealed unsafe class MemoryHeapPropertyTests
{
    private const int Slots = 24;

    [Fact]
    public void Heap_AnySequence_KeepsContentsAndCoalesces()
    {
        Gen<(int Slot, int Kind, int Size, int Align)[]> steps =
            (from slot in Gen.Choose(0, Slots - 1)
             from kind in Gen.Choose(0, 5)
             from size in Gen.OneOf(Gen.Choose(0, 200), Gen.Choose(1, 9000), Gen.Choose(1, 400_000))
             from align in Gen.Choose(0, 14)
             select (slot, kind, size, align)).ArrayOf(120);
        using Memory memory = Memory.Create(new EalOptions { NoHuge = true, MemoryMb = 1 });
        Prop.ForAll(steps.ToArbitrary(), sequence => RunSequence(memory, sequence))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(60));
    }

    private static bool RunSequence(Memory memory, (int Slot, int Kind, int Size, int Align)[] steps)
    {
        var model = new Model(memory);
        foreach ((int slot, int kind, int size, int align) in steps)
            model.Step(slot, kind, (nuint)size, (nuint)1 << align);
        for (int slot = 0; slot < Slots; slot++)
            model.Step(slot, Model.FreeKind, 0, 1);
        HeapStats stats = Assert.Single(memory.GetHeapStats());
        Assert.Equal(0u, stats.BusyCount);
        Assert.Equal(0u, stats.BusyBytes);
        Assert.Equal(1u, stats.FreeCount);
        Assert.Equal(stats.OrdinaryBytes, stats.FreeBytes);
        memory.Validate();
        return true;
    }

    private sealed class Model(Memory memory)
    {
        internal const int FreeKind = 1;

        private readonly nint[] _blocks = new nint[Slots];
        private readonly nuint[] _sizes = new nuint[Slots];
        private readonly byte[] _seeds = new byte[Slots];
        private byte _seed;

        internal void Step(int slot, int kind, nuint size, nuint align)
        {
            CheckContents(slot, _sizes[slot]);
            switch (kind)
            {
                case FreeKind:
                    memory.Free((void*)_blocks[slot]);
                    Set(slot, null, 0);
                    break;
                case 2 or 3:
                    void* moved = memory.Realloc((void*)_blocks[slot], size, align);
                    nuint kept = Math.Min(size, _sizes[slot]);
                    _blocks[slot] = (nint)moved;
                    CheckContents(slot, kept);
                    Set(slot, moved, moved == null ? 0 : size);
                    break;
                case 4:
                    memory.Free((void*)_blocks[slot]);
                    byte* zeroed = (byte*)memory.Zmalloc(size, align);
                    Assert.Equal(-1, new ReadOnlySpan<byte>(zeroed, (int)size).IndexOfAnyExcept((byte)0));
                    Set(slot, zeroed, size);
                    break;
                default:
                    memory.Free((void*)_blocks[slot]);
                    Set(slot, memory.Malloc(size, align), size);
                    break;
            }
            Assert.Equal(0u, (nuint)_blocks[slot] % Math.Max(align, 64));
            CheckNoOverlap(slot);
            memory.Validate();
        }

        private void Set(int slot, void* block, nuint size)
        {
            _blocks[slot] = (nint)block;
            _sizes[slot] = size;
            _seeds[slot] = ++_seed;
            if (block != null)
                NativeMemory.Fill(block, size, _seed);
        }

        private void CheckContents(int slot, nuint bytes) =>
            Assert.Equal(-1, new ReadOnlySpan<byte>((void*)_blocks[slot], (int)bytes).IndexOfAnyExcept(_seeds[slot]));

        private void CheckNoOverlap(int slot)
        {
            for (int other = 0; other < Slots; other++)
                if (other != slot && _blocks[other] != 0 && _blocks[slot] != 0)
                    Assert.True((nuint)_blocks[slot] + _sizes[slot] <= (nuint)_blocks[other]
                        || (nuint)_blocks[other] + _sizes[other] <= (nuint)_blocks[slot]);
        }
    }
}
