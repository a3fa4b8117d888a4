using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;
using static Dataplane.Native.Filter;

namespace Dataplane.Tests;

/// <summary>Clients that lie about what they want, and about how far they have read.</summary>
public sealed unsafe partial class CaptureHostileTests : IDisposable
{
    private readonly CaptureRig _rig = new();
    private readonly Random _random = new(8);

    public void Dispose() => _rig.Dispose();

    /// <summary>100,000 messages, each with the writing end of a pipe: at the end none of them is held, and no capture
    /// is left.</summary>
    [Fact]
    public void Messages_100000Mutated_LeaveNoCaptureAndNoFile()
    {
        byte[] whole = Message(CaptureRig.Request(ringBytes: CaptureRequest.LeastRingBytes, queue: 0),
            new sock_filter { code = BPF_LD | BPF_H | BPF_ABS, k = 12 },
            new sock_filter { code = BPF_JMP | BPF_JEQ | BPF_K, k = 0x800, jt = 1 },
            new sock_filter { code = BPF_RET | BPF_K }, new sock_filter { code = BPF_RET | BPF_K, k = 96 });
        int made = 0;
        (SafeFileHandle reads, SafeFileHandle writes) = Pipe();
        byte[] buffer = new byte[ControlHeader.MaxBytes];
        for (int session = 0; session < 1000; session++)
        {
            using UnixSocket client = UnixSocket.Connect(_rig.Eal.Control.SocketPath!, Socket.SOCK_SEQPACKET);
            for (int i = 0; i < 100; i++)
            {
                byte[] message = Mutate(whole);
                Assert.Equal(message.Length, client.Send(message, Socket.Fd(writes)));
                var files = new List<SafeFileHandle>();
                int length = -1;
                Assert.True(SpinWait.SpinUntil(() => (length = client.Receive(buffer, files)) >= 0,
                    CaptureRig.Patience));
                Assert.True(ControlHeader.TryParse(buffer.AsSpan(0, length), out ControlHeader header, out _));
                made += files.Count / 2;
                Assert.True(files.Count == 0 || header.Error == Errno.None);
                files.ForEach(file => file.Dispose());
            }
        }
        _rig.WaitForNone();
        Assert.True(made > 1000, $"{made} captures were made: the mutations are no test");
        writes.Dispose();
        byte one;
        Assert.Equal(0, Unistd.read(reads, &one, 1));       // the end: nobody has the other one any more
        reads.Dispose();
        using ControlConnection connection = _rig.Connect();
        using CaptureReader reader = _rig.Attach(connection);
        Assert.Equal(1, _rig.Sessions);
    }

    /// <summary>The index that a client writes has any value: packets go by, and not a byte outside the rings is
    /// touched (the next ring's first page is among what would be).</summary>
    [Fact]
    public void ReaderThatLies_HarmsItsOwnCaptureAlone()
    {
        var files = new List<SafeFileHandle>();
        using ControlConnection connection = _rig.Connect(), other = _rig.Connect();
        connection.Ask(ControlType.Capture, Message(CaptureRig.Request(queue: 0,
            ringBytes: CaptureRequest.LeastRingBytes)).AsSpan(16), files);
        using CaptureReader honest = _rig.Attach(other, CaptureRig.Request(queue: 0));
        var lines = (ulong*)Mman.mmap(null, 4096, Mman.PROT_READ | Mman.PROT_WRITE, Mman.MAP_SHARED,
            Socket.Fd(files[1]), 0);
        Assert.True(lines != Mman.MAP_FAILED);
        var list = new CaptureList();
        var sent = new List<byte[]>();
        for (int i = 0; i < 5000; i++)
        {
            for (int word = 0; word < 512; word += 1 + _random.Next(16))
                lines[word] = (ulong)_random.NextInt64(long.MinValue, long.MaxValue) >> _random.Next(64);
            byte[] frame = CaptureRig.Frame((ushort)i, _random.Next(60, 1500), _random);
            sent.Add(frame);
            Assert.Equal(1, _rig.Port.TxQueues[0].TxBurst([_rig.Make(frame)]));
            Assert.Equal(1, _rig.ReceiveAll());
            honest.Read(list, ulong.MaxValue - 1);
        }
        AssertHeadersAlone(files[0], rings: 2, CaptureRequest.LeastRingBytes, seen: 5000);
        Assert.Equal(sent, list.Packets.Where(packet => honest.Rings[packet.Ring].Direction
            == CaptureDirection.Transmit).Select(packet => packet.Bytes));
        _ = Mman.munmap(lines, 4096);
        files.ForEach(file => file.Dispose());
    }

    /// <summary>The same with nothing round the ring but what must stay as it is.</summary>
    [Fact]
    public void RingOfALyingReader_WritesNotAByteOutside()
    {
        const int guard = 8192, size = (int)CaptureRequest.LeastRingBytes;
        var memory = new byte[guard + CaptureRingHeader.Bytes + size + guard];
        memory.AsSpan().Fill(0xa5);
        fixed (byte* start = memory)
        {
            ulong line = 0;
            var ring = new CaptureRing(start + guard, size, &line);
            CaptureRingHeader counts = default;
            for (int i = 0; i < 200_000; i++)
            {
                line = _random.Next(2) == 0 ? ring.Head - (ulong)_random.Next(size)
                    : (ulong)_random.NextInt64(long.MinValue, long.MaxValue) >> _random.Next(64);
                uint captured = (uint)_random.Next(size / 4 - (int)CaptureRecord.Unit);
                byte* at = ring.Add(1, captured, captured, 0);
                if (at == null)
                    continue;
                new Span<byte>(at, (int)captured).Fill(0x11);
                counts.Captured++;
                ring.Publish(counts);
            }
            Assert.True(counts.Captured > 1000, $"{counts.Captured} were written: the lies are no test");
        }
        Assert.Equal(-1, memory.AsSpan(0, guard).IndexOfAnyExcept((byte)0xa5));
        Assert.Equal(-1, memory.AsSpan(guard + sizeof(CaptureRingHeader), CaptureRingHeader.Bytes
            - sizeof(CaptureRingHeader)).IndexOfAnyExcept((byte)0xa5));
        Assert.Equal(-1, memory.AsSpan(^guard..).IndexOfAnyExcept((byte)0xa5));
    }

    /// <summary>The rings' file cannot be written, cut, made longer, or emptied by a client.</summary>
    [Fact]
    public void Rings_OfAClient_AreReadOnly()
    {
        var files = new List<SafeFileHandle>();
        using ControlConnection connection = _rig.Connect();
        connection.Ask(ControlType.Capture, Message(CaptureRig.Request()).AsSpan(16), files);
        Assert.True(Mman.mmap(null, 4096, Mman.PROT_READ | Mman.PROT_WRITE, Mman.MAP_SHARED, Socket.Fd(files[0]), 0)
            == Mman.MAP_FAILED);
        byte one = 1;
        Assert.Equal(-1, Unistd.pwrite(files[0], &one, 1, 0));
        const int punch = 3;    // FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
        Assert.Equal(-1, Fcntl.fallocate(files[0], punch, 0, 4096));
        foreach (SafeFileHandle file in files)
        {
            Assert.Equal(-1, Fcntl.ftruncate(file, 0));
            Assert.Equal(-1, Fcntl.ftruncate(file, 1L << 32));
            Assert.Equal(-1, Fcntl.fcntl(file, Fcntl.F_ADD_SEALS, Fcntl.F_SEAL_SHRINK));
        }
        files.ForEach(file => file.Dispose());
    }

    /// <summary>Captures come and go while another thread sends and receives without a pause.</summary>
    [Fact]
    public void Captures_ThatComeAndGo_UnderTraffic_LoseNoPacket()
    {
        using var stop = new CancellationTokenSource();
        ulong passed = 0;
        Exception? failure = null;
        var traffic = new Thread(() =>
        {
            try
            {
                Mbuf[] packets = [.. Enumerable.Range(0, 32).Select(i => _rig.Make(new byte[60 + i]))];
                for (; !stop.IsCancellationRequested; passed += 32)
                {
                    Assert.Equal(32, _rig.Port.TxQueues[0].TxBurst(packets));
                    Assert.Equal(32, _rig.Port.RxQueues[0].RxBurst(packets));
                }
                Mbuf.FreeBulk(packets);
            }
            catch (Exception e)
            {
                failure = e;        // to end with it would end all tests
            }
        });
        traffic.Start();
        try
        {
            for (int i = 0; i < 200 && traffic.IsAlive; i++)
            {
                using ControlConnection connection = _rig.Connect();
                using CaptureReader reader = _rig.Attach(connection,
                    CaptureRig.Request(ringBytes: CaptureRequest.LeastRingBytes));
                var list = new CaptureList { Most = 10 };
                Assert.True(SpinWait.SpinUntil(() => reader.Read(list, ulong.MaxValue - 1) > 0 || !traffic.IsAlive,
                    CaptureRig.Patience));
                Assert.All(list.Packets, packet => Assert.InRange(packet.Bytes.Length, 60, 91));
            }
            _rig.WaitForNone();
        }
        finally
        {
            stop.Cancel();
            traffic.Join();
        }
        Assert.Null(failure);
        PortStats stats = _rig.Port.GetStats();
        Assert.Equal((passed, passed), (stats.TxPackets, stats.RxPackets));
    }

    /// <summary>Of the page before each ring, only the header was written, and it counts what was sent.</summary>
    private static void AssertHeadersAlone(SafeFileHandle file, int rings, uint ringBytes, ulong seen)
    {
        nuint stride = CaptureRingHeader.Bytes + ringBytes;
        var start = (byte*)Mman.mmap(null, stride * (nuint)rings, Mman.PROT_READ, Mman.MAP_SHARED, Socket.Fd(file), 0);
        Assert.True(start != Mman.MAP_FAILED);
        for (int i = 0; i < rings; i++)
        {
            byte* page = start + stride * (nuint)i;
            CaptureRingHeader header = *(CaptureRingHeader*)page;
            Assert.Equal((seen, seen, seen), (header.Seen, header.Accepted, header.Captured + header.Dropped));
            Assert.Equal(0u, header.End);
            int used = (int)Marshal.OffsetOf<CaptureRingHeader>(nameof(CaptureRingHeader.End));
            Assert.Equal(-1, new ReadOnlySpan<byte>(page + used, CaptureRingHeader.Bytes - used)
                .IndexOfAnyExcept((byte)0));
        }
        _ = Mman.munmap(start, stride * (nuint)rings);
    }

    private byte[] Mutate(byte[] whole)
    {
        byte[] message = [.. whole];
        for (int left = _random.Next(4); left > 0; left--)
            switch (_random.Next(4))
            {
                case 0:
                    message[_random.Next(message.Length)] = (byte)_random.Next(256);
                    break;
                case 1:
                    message[_random.Next(message.Length)] ^= (byte)(1 << _random.Next(8));
                    break;
                case 2:     // a whole number of the request
                    BitConverter.TryWriteBytes(message.AsSpan(_random.Next(message.Length / 4) * 4),
                        (uint)_random.NextInt64(1L << 32) >> _random.Next(32));
                    break;
                default:
                    message = _random.Next(2) == 0 && message.Length > 8 ? message[..^_random.Next(1, 8)]
                        : [.. message, (byte)_random.Next(256)];
                    break;
            }
        return message;
    }

    private static byte[] Message(CaptureRequest request, params sock_filter[] filter)
    {
        request.Instructions = (uint)filter.Length;
        return ControlHeader.Frame(ControlType.Capture, Errno.None,
            [.. MemoryMarshal.AsBytes(new ReadOnlySpan<CaptureRequest>(in request)),
                .. MemoryMarshal.AsBytes<sock_filter>(filter)]);
    }

    private static (SafeFileHandle Reads, SafeFileHandle Writes) Pipe()
    {
        int* ends = stackalloc int[2];
        Assert.Equal(0, PipeOf(ends, Fcntl.O_CLOEXEC));
        return (new SafeFileHandle(ends[0], ownsHandle: true), new SafeFileHandle(ends[1], ownsHandle: true));
    }

    [LibraryImport("libc", EntryPoint = "pipe2", SetLastError = true)]
    private static partial int PipeOf(int* ends, int flags);
}
