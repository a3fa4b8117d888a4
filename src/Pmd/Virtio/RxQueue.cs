using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// Receive: every descriptor is one mbuf, which the device fills with its header and the frame behind it.
/// </summary>
/// <remarks>
/// Where the mbufs have room to spare, the header is put at the start of a cache line and the frame behind it, 12 bytes
/// later than usual: one line less for the device to write, and for <see cref="VirtioTxQueue"/>, which puts its header
/// at the same place. Not so before another process, which leaves a header as it is that says already what it would
/// write: then the frame has its lines to itself, and the header's moves no more. Where nothing was negotiated that
/// needs the header (offloads, merged buffers, hashes), it is not read.
/// </remarks>
internal sealed unsafe partial class VirtioRxQueue : RxQueue
{
    private const int Batch = 64;

    private readonly VirtioPort _port;
    private readonly Memzone _zone;
    private readonly bool _strip;
    private readonly uint* _lengths;      // of a batch, as the device gave them
    private readonly Mbuf[] _fresh = new Mbuf[Batch];
    private VirtioTransport _transport = null!;
    private Virtqueue? _queue;
    private DmaAddressing _addressing;
    private uint _headerBytes, _dataOffset, _bufferBytes;
    private int _refillAt;
    private ulong _rearm;                 // MbufHeader.RearmData of a received packet
    private bool _plain, _merge, _checksum, _whole, _hash;

    internal VirtioRxQueue(VirtioPort port, int index, Mempool pool, RxQueueConfig config) : base(port, index, pool)
    {
        _port = port;
        _strip = (config.Offloads & RxOffloads.VlanStrip) != 0;
        Layout = new VirtqueueLayout(Packed: false, config.Descriptors, IndirectParts: 0);
        _zone = port.Reserve($"rx{index}", Layout.Bytes);
        _lengths = (uint*)NativeMemory.Alloc(Batch, sizeof(uint));
    }

    /// <summary>Room for either layout.</summary>
    private VirtqueueLayout Layout { get; }

    /// <inheritdoc/>
    public override string BurstMode => (_queue is PackedVirtqueue ? "packed" : "split") + (_merge ? ", mergeable" : "")
        + (_plain ? "" : ", headers read");

    /// <inheritdoc/>
    public override int WaitingCount => _queue?.CountUsed(_queue.Size) ?? 0;

    /// <inheritdoc/>
    public override SafeFileHandle? InterruptFd => _port.RxInterrupt(Index);

    /// <summary>The queue while the port is started.</summary>
    internal Virtqueue? Queue => _queue;

    /// <summary>Longest frame that fits one buffer.</summary>
    internal int LongestFrame => (int)(_bufferBytes - _headerBytes);

    /// <inheritdoc/>
    public override DescriptorStatus GetDescriptorStatus(int offset) =>
        _queue == null || (uint)offset >= (uint)_queue.Size ? DescriptorStatus.Unavailable
        : offset < _queue.CountUsed(offset + 1) ? DescriptorStatus.Done
        : offset < _queue.InFlightCount ? DescriptorStatus.WithDevice : DescriptorStatus.Unavailable;

    /// <inheritdoc/>
    /// <remarks>What was signalled before is taken away first: a device may interrupt at the first used buffer of all
    /// though nobody asked, as QEMU's do.</remarks>
    public override void EnableInterrupt()
    {
        if (InterruptFd is { } fd)
            _ = Eventfd.Drain(fd);
        _queue?.EnableInterrupt();
    }

    /// <inheritdoc/>
    public override void DisableInterrupt()
    {
        _queue?.DisableInterrupt();
        if (InterruptFd is { } fd)
            _ = Eventfd.Drain(fd);
    }

    /// <summary>Makes the queue anew and fills it; the device is not told yet. Control path.</summary>
    internal Virtqueue Open(VirtioDevice device, int mtu)
    {
        _transport = device.Transport;
        _addressing = _transport.Addressing;
        _merge = device.Has(VirtioNet.VIRTIO_NET_F_MRG_RXBUF);
        _checksum = device.Has(VirtioNet.VIRTIO_NET_F_GUEST_CSUM);
        _whole = device.Has(VirtioNet.VIRTIO_NET_F_GUEST_TSO4) || device.Has(VirtioNet.VIRTIO_NET_F_GUEST_TSO6);
        _hash = device.Has(VirtioNet.VIRTIO_NET_F_HASH_REPORT);
        _plain = !_merge && !_checksum && !_whole && !_hash && !_strip;
        _headerBytes = VirtioPort.HeaderBytes(device);
        int room = Pool.DataRoomBytes - Mbuf.DefaultHeadroom;
        bool shift = _merge || (!_transport.LeavesHeaders
            && room - (int)_headerBytes >= mtu + Port.FrameOverheadBytes);
        _dataOffset = (uint)Mbuf.DefaultHeadroom + (shift ? _headerBytes : 0);
        _bufferBytes = (uint)Pool.DataRoomBytes - _dataOffset + _headerBytes;
        _rearm = _dataOffset | 1ul << 16 | 1ul << 32 | (ulong)Port.Id << 48;
        _queue = _port.CreateVirtqueue(2 * Index, Layout with { Packed = _port.IsPacked }, _zone);
        _refillAt = Math.Min(32, _queue.Size / 4);
        if (InterruptFd is { } fd)
            _ = Eventfd.Drain(fd);   // the first call takes managed memory: not on the lcore
        Fill(_queue, 1);
        return _queue;
    }

    /// <summary>The device runs: tells it of the buffers.</summary>
    internal void Announce()
    {
        if (_queue!.ShouldNotify())
            _transport.Notify(_queue);
    }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        Virtqueue? queue = _queue;
        if (queue == null)
            return 0;
        int received = 0;
        while (received < burst.Length)
        {
            Span<Mbuf> part = burst.Slice(received, Math.Min(Batch, burst.Length - received));
            int taken = queue.Take(MemoryMarshal.Cast<Mbuf, nint>(part), new Span<uint>(_lengths, Batch));
            if (taken != 0)
                received += _plain ? Finish(part[..taken]) : Assemble(part[..taken]);
            if (queue.FreeCount >= _refillAt)
                Refill(queue);
            if (taken < part.Length)
                break;
        }
        return received;
    }

    /// <inheritdoc/>
    protected internal override void Drain()
    {
        if (_queue == null)
            return;
        for (nint cookie; (cookie = _queue.TakeBack()) != 0;)
            new Mbuf((MbufHeader*)cookie).Free();
        ForgetPartial();
        _queue.Dispose();
        _queue = null;
    }

    /// <inheritdoc/>
    protected internal override void Release()
    {
        Drain();
        Port.Eal.Memory.FreeMemzone(_zone);
        NativeMemory.Free(_lengths);
    }

    /// <summary>Packets of one buffer each whose headers say nothing.</summary>
    private int Finish(Span<Mbuf> packets)
    {
        const uint least = IfPacket.ETH_HLEN;   // what nobody downstream checks again
        uint headerBytes = _headerBytes, most = _bufferBytes - headerBytes - least;
        ulong rearm = _rearm, bytes = 0;
        uint* lengths = _lengths;
        int i = 0;
        foreach (Mbuf packet in packets)
        {
            uint length = lengths[i] - headerBytes;
            if (length - least > most)
                return FinishBad(packets, i, bytes);
            ulong* header = &packet.Header->RearmData;
            header[0] = rearm;
            header[1] = 0;
            header[2] = (ulong)length << 32;
            header[3] = length;
            bytes += length;
            i++;
        }
        Stats->Bytes += bytes;
        return packets.Length;
    }

    /// <summary>One length makes no sense. Too short, that buffer is dropped; too long, and with it what came behind:
    /// the device wrote where it must not.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private int FinishBad(Span<Mbuf> packets, int bad, ulong bytes)
    {
        Stats->Bytes += bytes;
        int rest = packets.Length - bad - 1;
        if (_lengths[bad] > _bufferBytes)
        {
            _queue!.Break(VirtqueueFault.Overrun);
            Stats->Errors += (uint)rest + 1;
            Mbuf.FreeBulk(packets[bad..]);
            return bad;
        }
        Stats->Errors++;
        packets[bad].Free();
        packets[(bad + 1)..].CopyTo(packets[bad..]);
        new Span<uint>(_lengths + bad + 1, rest).CopyTo(new Span<uint>(_lengths, rest));
        return bad + Finish(packets.Slice(bad, rest));
    }

    private void Refill(Virtqueue queue)
    {
        if (queue.Fault != VirtqueueFault.None || !Fill(queue, _refillAt))
            return;
        queue.Publish();
        if (queue.ShouldNotify())
            _transport.Notify(queue);
    }

    /// <summary>Gives the device mbufs until fewer than <paramref name="least"/> descriptors are free.</summary>
    /// <returns>Some were given.</returns>
    private bool Fill(Virtqueue queue, int least)
    {
        bool any = false;
        for (int free = queue.FreeCount; free >= least; free = queue.FreeCount)
        {
            Span<Mbuf> mbufs = _fresh.AsSpan(0, Math.Min(free, Batch));
            while (!Pool.TryAllocRawBulk(mbufs))
            {
                if (mbufs.Length == 1)
                {
                    Stats->NoMbuf++;
                    return any;
                }
                mbufs = mbufs[..(mbufs.Length / 2)];
            }
            queue.AddWritable(mbufs, in _addressing, _dataOffset - _headerBytes, _bufferBytes);
            any = true;
        }
        return any;
    }
}
