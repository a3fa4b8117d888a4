using Dataplane.Native;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>A virtqueue against a device that does, at random, all that the specification lets it do; and then what it
/// does not.</summary>
public sealed unsafe class VirtqueueModelTests
{
    private const int Size = 16, MostParts = 6;   // more parts than an indirect table of the rig has

    private readonly Random _random = new(20260);
    private readonly Queue<Sent> _fresh = new();                        // added
    private readonly Queue<Sent> _visible = new();                      // published; the device has not looked
    private readonly List<Sent> _with = [];                             // with the device
    private readonly Queue<(nint Cookie, uint Length)> _used = new();   // the driver has not taken
    private nint _lastCookie;

    /// <summary>A buffer on its way: what the driver gave, and what the device saw of it.</summary>
    private sealed record Sent(nint Cookie, VirtioPart[] Parts, int Writable)
    {
        internal uint Id { get; set; }
        internal uint Slots { get; set; }
    }

    public static TheoryData<bool, bool, bool, bool> Kinds()
    {
        var rows = new TheoryData<bool, bool, bool, bool>();
        for (int bits = 0; bits < 16; bits++)
            rows.Add((bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0);
        return rows;
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Random_AddsAndUses_EachBufferComesBackOnceWithItsLength(bool packed, bool indirect, bool inOrder,
        bool batches)
    {
        batches &= inOrder;
        List<int> features = indirect ? [VirtioRing.VIRTIO_RING_F_INDIRECT_DESC] : [];
        if (inOrder)
            features.Add(VirtioConfig.VIRTIO_F_IN_ORDER);
        using VirtqueueRig rig = new(packed, Size, [.. features]);
        for (int step = 0; step < 20_000; step++)
        {
            Add(rig.Driver, indirect ? 4 : 1);
            if (_random.Next(4) == 0)
            {
                Pop(rig.Device, int.MaxValue);
                ModelBuffer none = default;
                Assert.False(rig.Device.TryPop(ref none), "seen before it was published");
            }
            rig.Driver.Publish();
            while (_fresh.TryDequeue(out Sent? buffer))
                _visible.Enqueue(buffer);
            Pop(rig.Device, _random.Next(6));
            Push(rig.Device, inOrder, batches);
            Assert.Equal(_used.Count != 0, rig.Driver.HasUsed);
            if (!batches)
                Assert.Equal(_used.Count, rig.Driver.CountUsed(Size));
            Take(rig.Driver);
            Assert.Equal(_visible.Count + _with.Count + _used.Count, rig.Driver.InFlightCount);
        }
        Assert.Equal(VirtqueueFault.None, rig.Driver.Fault);
        Assert.InRange(_lastCookie, 10_000, nint.MaxValue);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Id_OutsideTheQueue_IsNotLookedUp(bool packed)
    {
        foreach (uint id in (uint[])[Size, Size + 1, 255, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x1_0003, 0x7fff_ffff,
            0x8000_0000, uint.MaxValue])
            for (int place = 0; place < 2 * Size && (!packed || id <= ushort.MaxValue); place++)
            {
                using VirtqueueRig rig = new(packed, Size);
                rig.Advance(place);
                rig.Add(3);
                rig.Device.Push(id, 1, 0);
                rig.Device.Flush();
                Assert.Equal(0, rig.Take());
                Assert.Equal(VirtqueueFault.BadId, rig.Driver.Fault);
                Assert.Equal(0, rig.Take());
                Assert.Equal(3, rig.Driver.InFlightCount);
            }
    }

    /// <summary>No buffer comes back that was not out, none twice, and the tables hold no more than there is.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Device_WritesAnything_NoBufferComesTwice(bool packed, bool inOrder)
    {
        var cookies = new nint[Size];
        var lengths = new uint[Size];
        int faults = 0, taken = 0;
        for (int run = 0; run < 1000; run++)
        {
            using VirtqueueRig rig = new(packed, Size, inOrder ? [VirtioConfig.VIRTIO_F_IN_ORDER] : []);
            var out_ = new HashSet<nint>();
            bool honest = true;
            for (int step = 0; step < 40; step++)
            {
                Add(rig.Driver, 1);
                rig.Driver.Publish();
                while (_fresh.TryDequeue(out Sent? buffer))
                    out_.Add(buffer.Cookie);
                Lie(rig.Device, packed, ref honest);
                _ = rig.Driver.ShouldNotify();
                Assert.InRange(rig.Driver.CountUsed(Size), 0, rig.Driver.InFlightCount);
                int count = rig.Driver.Take(cookies, lengths);
                foreach (nint cookie in cookies.AsSpan(0, count))
                    Assert.True(out_.Remove(cookie), $"run {run}: {cookie} came, and was not out");
                taken += count;
                Assert.Equal(out_.Count, rig.Driver.InFlightCount);
                Assert.InRange(rig.Driver.FreeCount, 0, Size - out_.Count);
            }
            faults += rig.Driver.Fault == VirtqueueFault.None ? 0 : 1;
            for (nint cookie; (cookie = rig.Driver.TakeBack()) != 0;)
                Assert.True(out_.Remove(cookie));
            Assert.Empty(out_);
        }
        Assert.InRange(faults, 100, int.MaxValue);
        Assert.InRange(taken, 1000, int.MaxValue);
    }

    private void Add(Virtqueue driver, int mostInOne)
    {
        for (int i = _random.Next(4); i > 0; i--)
        {
            var parts = new VirtioPart[_random.Next(2) == 0 ? 1 : _random.Next(1, MostParts + 1)];
            for (int part = 0; part < parts.Length; part++)
                parts[part] = new((ulong)_random.NextInt64(), (uint)_random.Next());
            var buffer = new Sent(_lastCookie + 1, parts, _random.Next(parts.Length + 1));
            int slots = parts.Length <= mostInOne ? 1 : parts.Length, free = driver.FreeCount;
            bool fits = driver.TryAddChain(parts, buffer.Writable, buffer.Cookie);
            Assert.Equal(slots <= free, fits);
            Assert.Equal(free - (fits ? slots : 0), driver.FreeCount);
            if (!fits)
                return;
            _fresh.Enqueue(buffer);
            _lastCookie++;
        }
    }

    /// <summary>The device sees each buffer as it was given.</summary>
    private void Pop(ModelQueue device, int most)
    {
        ModelBuffer seen = default;
        for (; most > 0 && _visible.TryDequeue(out Sent? buffer); most--)
        {
            Assert.True(device.TryPop(ref seen), "the device does not see what was published");
            Assert.Equal((buffer.Parts.Length - buffer.Writable, buffer.Writable), (seen.Readable, seen.Writable));
            for (int part = 0; part < buffer.Parts.Length; part++)
                Assert.Equal(buffer.Parts[part], new VirtioPart(seen.Address[part], seen.Length[part]));
            (buffer.Id, buffer.Slots) = (seen.Id, seen.Slots);
            _with.Add(buffer);
        }
    }

    private void Push(ModelQueue device, bool inOrder, bool batches)
    {
        for (int i = _random.Next(4); i > 0 && _with.Count > 0; i--)
        {
            uint length = (uint)_random.Next();
            int at = inOrder ? 0 : _random.Next(_with.Count), count = batches ? _random.Next(1, _with.Count + 1) : 1;
            List<Sent> batch = _with.GetRange(at, count);
            _with.RemoveRange(at, count);
            if (count == 1)
                device.Push(batch[0].Id, batch[0].Slots, length);
            else
                device.PushBatch(batch[^1].Id, (uint)batch.Sum(buffer => buffer.Slots), (uint)count, length);
            // Those a batch does not name were used whole; here nobody has said how long that is.
            foreach (Sent buffer in batch)
                _used.Enqueue((buffer.Cookie, buffer == batch[^1] ? length : 0));
        }
        device.Flush();
    }

    private void Take(Virtqueue driver)
    {
        int want = _random.Next(1, 6);
        Span<nint> cookies = stackalloc nint[want];
        Span<uint> lengths = stackalloc uint[want];
        int taken = driver.Take(cookies, lengths);
        Assert.Equal(Math.Min(want, _used.Count), taken);
        for (int i = 0; i < taken; i++)
            Assert.Equal(_used.Dequeue(), (cookies[i], lengths[i]));
    }

    /// <summary>The device gives back what it has; now and then what it has not, or writes over what it can.</summary>
    private void Lie(ModelQueue device, bool packed, ref bool honest)
    {
        int what = _random.Next(100);
        ModelBuffer seen = default;
        for (int i = _random.Next(4); i > 0 && honest && device.TryPop(ref seen); i--)
            device.Push(seen.Id, seen.Slots, (uint)_random.Next());
        if (what < 3)
            device.Push((uint)_random.Next(what == 0 ? 300 : Size), 1, (uint)_random.Next());
        device.Flush();
        if (what == 3)
            _random.NextBytes(new Span<byte>(device.Device, packed ? 4 : 6 + 8 * Size));
        if (what is 4 or 5 && packed)
            _random.NextBytes(new Span<byte>(device.Table + _random.Next(Size) * 16, 16));
        honest &= what > 5;     // it would not find its own way any more
    }
}
