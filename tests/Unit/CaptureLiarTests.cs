using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>Applications that lie to the tool about a capture, and change what it has looked at.</summary>
public sealed unsafe class CaptureLiarTests : IDisposable
{
    private const uint RingBytes = CaptureRequest.LeastRingBytes, SnapLength = 2000;

    private readonly CaptureRig _rig = new();
    private readonly CaptureMemory _memory = new(2, RingBytes);
    private readonly Random _random = new(4);

    public void Dispose()
    {
        _memory.Dispose();
        _rig.Dispose();
    }

    private static CaptureReply Reply => new() { RingCount = 2, RingBytes = RingBytes, SnapLength = SnapLength };

    [Fact]
    public void Replies_ThatMakeNoSense_AreRefused()
    {
        void Refused(CaptureReply reply, uint ringBytes, params SafeFileHandle[] files) =>
            Assert.Equal(Errno.EBADMSG, Assert.Throws<DataplaneException>(() =>
            {
                using CaptureReader reader = Attach(reply, ringBytes, files);
            }).Errno);
        SafeFileHandle[] files = [_memory.RingsFile, _memory.LinesFile];
        Attach(Reply, RingBytes, files).Dispose();
        foreach (int rings in (int[])[0, -1, int.MinValue, 3, CaptureRequest.MostRings + 1])
            Refused(Reply with { RingCount = rings }, RingBytes, files);
        Refused(Reply with { RingBytes = RingBytes / 2 }, RingBytes / 2, files);
        Refused(Reply with { RingBytes = RingBytes / 2 }, RingBytes, files);
        Refused(Reply, RingBytes * 2, files);
        Refused(Reply with { RingBytes = RingBytes + 4096 }, RingBytes + 4096, files);
        foreach (uint snapLength in (uint[])[0, CaptureRequest.LeastSnapLength - 1, SnapLength + 1, uint.MaxValue])
            Refused(Reply with { SnapLength = snapLength }, RingBytes, files);
        Refused(Reply, RingBytes, _memory.RingsFile);
        Refused(Reply, RingBytes);
        Refused(Reply, RingBytes, _memory.LinesFile, _memory.RingsFile);
        using SafeFileHandle unsealed = Mman.memfd_create("unsealed", Mman.MFD_CLOEXEC | Mman.MFD_ALLOW_SEALING);
        Assert.Equal(0, Fcntl.ftruncate(unsealed, (long)_memory.RingsBytes));
        Refused(Reply, RingBytes, unsealed, _memory.LinesFile);
        Refused(Reply, RingBytes, _memory.RingsFile, unsealed);
        string path = Path.GetTempFileName();
        using (SafeFileHandle file = File.OpenHandle(path, access: FileAccess.ReadWrite))
        {
            Assert.Equal(0, Fcntl.ftruncate(file, (long)_memory.RingsBytes));
            Refused(Reply, RingBytes, file, _memory.LinesFile);
        }
        File.Delete(path);
    }

    /// <summary>The second ring's record changes after it was found to be good.</summary>
    [Fact]
    public void Record_ThatChangesAfterItWasChecked_IsTakenAsItWas()
    {
        using CaptureReader reader = Attach(Reply, RingBytes, _memory.RingsFile, _memory.LinesFile);
        for (int i = 0; i < 2; i++)
        {
            var ring = new CaptureRing(_memory.Ring(i), RingBytes, _memory.Line(i));
            new Span<byte>(ring.Add((ulong)i + 1, 60, 60, 0), 60).Fill((byte)(i + 1));
            ring.Publish(default);
        }
        var record = (CaptureRecord*)(_memory.Ring(1) + CaptureRingHeader.Bytes);
        var sink = new LyingSink(() => (record->Captured, record->Length, record->Lost) = (int.MaxValue,
            uint.MaxValue, 7));
        Assert.Equal(2, reader.Read(sink, ulong.MaxValue - 1));
        Assert.Equal([(60u, 60), (60u, 60)], sink.Lengths);
        Assert.Equal((ulong)CaptureRecord.Bytes(60), *_memory.Line(1));
    }

    /// <summary>Any words in the rings, also while they are read: packets come out no longer than was asked for, or it
    /// is refused.</summary>
    [Fact]
    public void Rings_OfAnyWords_AreReadSafelyOrRefused()
    {
        int read = 0, refused = 0;
        for (int run = 0; run < 500; run++)
        {
            using CaptureReader reader = Attach(Reply, RingBytes, _memory.RingsFile, _memory.LinesFile);
            for (int i = 0; i < 2; i++)
            {
                new Span<byte>(_memory.Ring(i), CaptureRingHeader.Bytes).Clear();
                *_memory.Line(i) = 0;
                var ring = new CaptureRing(_memory.Ring(i), RingBytes, _memory.Line(i));
                for (ulong tsc = 0; ring.Add(tsc, 1500, (uint)_random.Next((int)SnapLength / 2), 0) != null;)
                    tsc += (ulong)_random.Next(100);
                ring.Publish(default);
            }
            var sink = new LyingSink(() => Scribble(_random.Next(2)));
            try
            {
                for (int i = _random.Next(3); i >= 0; i--)
                    Scribble(_random.Next(20));
                reader.Read(sink, ulong.MaxValue - 1);
            }
            catch (DataplaneException e) when (e.Errno == Errno.EBADMSG)
            {
                refused++;
            }
            read += sink.Lengths.Count;
            Assert.All(sink.Lengths, lengths => Assert.InRange((uint)lengths.Bytes, 0u, Math.Min(SnapLength,
                lengths.Length)));
        }
        Assert.True(read > 500 && refused is > 50 and < 500, $"{read} read, {refused} refused: the words are no test");
    }

    private void Scribble(int words)
    {
        ReadOnlySpan<uint> values = [0, 1, 60, SnapLength, SnapLength + 1, RingBytes - 24, RingBytes, int.MaxValue,
            CaptureRecord.Wrap];
        for (; words > 0; words--)
        {
            byte* ring = _memory.Ring(_random.Next(2));
            uint value = _random.Next(4) == 0 ? (uint)_random.NextInt64(1L << 32) : values[_random.Next(values.Length)];
            if (_random.Next(50) == 0)
                ((CaptureRingHeader*)ring)->Head = value & (uint)-(_random.Next(2) * 31 + 1);
            else
                *(uint*)(ring + CaptureRingHeader.Bytes + _random.Next((int)RingBytes / 4) * 4) = value;
        }
    }

    private CaptureReader Attach(CaptureReply reply, uint ringBytes, params SafeFileHandle[] files)
    {
        var body = new byte[sizeof(CaptureReply) + Math.Clamp(reply.RingCount, 0, 600) * sizeof(CaptureRingInfo)];
        if (reply.RingCount == 3)
            body = body[..^1];
        MemoryMarshal.Write(body, reply);
        using IDisposable registration = _rig.Eal.Control.Register(ControlType.Capture, (_, _) => new(body, files));
        using ControlConnection connection = _rig.Connect();
        return _rig.Attach(connection, CaptureRig.Request(snapLength: SnapLength, ringBytes: ringBytes));
    }

    /// <summary>Lies each time it has been given a packet.</summary>
    private sealed class LyingSink(Action lie) : ICaptureSink
    {
        internal List<(uint Length, int Bytes)> Lengths { get; } = [];

        public bool OnPacket(int ring, in CaptureRecord record, ReadOnlySpan<byte> data)
        {
            Lengths.Add((record.Length, data.Length));
            _ = data.IndexOf((byte)0xee);       // touches them all
            lie();
            return true;
        }
    }
}
