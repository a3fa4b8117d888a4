using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>
/// Transmit: a packet is one descriptor. Its header goes into the headroom where the mbuf is ours alone and has one
/// (VIRTIO_F_VERSION_1 lets header and frame share a descriptor); else header and first bytes are copied beside the
/// queue and the rest follows by an indirect table, or as a chain.
/// </summary>
internal sealed unsafe partial class VirtioTxQueue : TxQueue
{
    private const int Batch = 64;
    private const uint OneAndOne = 0x0001_0001;   // RefCnt and NbSegs as one word

    private readonly VirtioPort _port;
    private readonly Memzone _zone;
    private readonly bool _fastFree;
    private readonly nint* _done;
    private VirtioTransport _transport = null!;
    private Virtqueue? _queue;
    private DmaAddressing _addressing;
    private uint _headerBytes;
    private MbufFlags _care;              // flags a packet of one descriptor has none of

    internal VirtioTxQueue(VirtioPort port, int index, TxQueueConfig config) : base(port, index)
    {
        _port = port;
        _fastFree = (config.Offloads & TxOffloads.FastFree) != 0;
        Layout = new VirtqueueLayout(Packed: false, config.Descriptors, IndirectParts);
        _zone = port.Reserve($"tx{index}", Layout.Bytes + (nuint)config.Descriptors * SideBytes);
        _done = (nint*)NativeMemory.Alloc(Batch, (nuint)sizeof(nint));
        _parts = (VirtioPart*)NativeMemory.Alloc(MaxParts, (nuint)sizeof(VirtioPart));
    }

    /// <summary>Room for either layout.</summary>
    private VirtqueueLayout Layout { get; }

    /// <inheritdoc/>
    public override string BurstMode => _queue is PackedVirtqueue ? "packed" : "split";

    /// <summary>The queue while the port is started.</summary>
    internal Virtqueue? Queue => _queue;

    /// <inheritdoc/>
    public override DescriptorStatus GetDescriptorStatus(int offset) =>
        _queue == null || (uint)offset >= (uint)_queue.Size ? DescriptorStatus.Unavailable
        : offset < _queue.FreeCount + _queue.CountUsed(_queue.Size) ? DescriptorStatus.Done
        : DescriptorStatus.WithDevice;

    /// <summary>Makes the queue anew. Control path.</summary>
    internal Virtqueue Open(VirtioDevice device)
    {
        _transport = device.Transport;
        _addressing = _transport.Addressing;
        _headerBytes = VirtioPort.HeaderBytes(device);
        _possible = VirtioPort.PossibleRequests(device);
        _ecn = device.Has(VirtioNet.VIRTIO_NET_F_HOST_ECN);
        _care = VnetOffload.Requests | MbufFlags.Indirect | MbufFlags.External;
        VirtqueueLayout layout = Layout with { Packed = _port.IsPacked };
        _queue = _port.CreateVirtqueue(2 * Index + 1, layout, _zone);
        _side = (byte*)_zone.Address + layout.Bytes;
        _sideIova = _queue.MemoryIova + layout.Bytes;
        return _queue;
    }

    /// <inheritdoc/>
    public override int ReclaimTx(int most = 0)
    {
        int freed = 0;
        for (int count; _queue != null && (most == 0 || freed < most); freed += count)
        {
            count = Reclaim(_queue, most == 0 ? Batch : Math.Min(Batch, most - freed));
            if (count == 0)
                break;
        }
        return freed;
    }

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        Virtqueue? queue = _queue;
        if (queue == null)
            return 0;
        // Only once half of the queue is used up: each look at what is done takes a line from the device's CPU.
        if (queue.FreeCount < queue.Size / 2 + packets.Length && queue.InFlightCount != 0)
            while (Reclaim(queue, Batch) == Batch) { }
        int taken = 0;
        ulong bytes = 0;
        while (taken < packets.Length && queue.Fault == VirtqueueFault.None)
        {
            int run = Prepare(packets.Slice(taken, Math.Min(packets.Length - taken, queue.FreeCount)), ref bytes);
            if (run != 0)
                queue.AddReadable(packets.Slice(taken, run), in _addressing, _headerBytes);
            taken += run;
            if (taken == packets.Length || queue.FreeCount == 0)
                break;
            MbufHeader* odd = packets[taken].Header;
            Outcome outcome = SendOdd(queue, odd);
            if (outcome == Outcome.Full)
            {
                if (ReclaimTx() == 0)
                    break;
                continue;
            }
            if (outcome == Outcome.Sent)
                bytes += odd->PktLen;
            else
            {
                Stats->Errors++;
                packets[taken].Free();
            }
            taken++;
        }
        Stats->Bytes += bytes;
        if (taken == 0)
            return 0;
        queue.Publish();
        if (queue.ShouldNotify())
            _transport.Notify(queue);
        return taken;
    }

    /// <inheritdoc/>
    protected internal override void Drain()
    {
        if (_queue == null)
            return;
        for (nint cookie; (cookie = _queue.TakeBack()) != 0;)
            new Mbuf((MbufHeader*)cookie).Free();
        _queue.Dispose();
        _queue = null;
    }

    /// <inheritdoc/>
    protected internal override void Release()
    {
        Drain();
        Port.Eal.Memory.FreeMemzone(_zone);
        NativeMemory.Free(_done);
        NativeMemory.Free(_parts);
    }

    /// <summary>Writes the headers of packets that are one descriptor each.</summary>
    /// <returns>How many there are before one that is not.</returns>
    private int Prepare(ReadOnlySpan<Mbuf> packets, ref ulong bytes)
    {
        uint headerBytes = _headerBytes;
        MbufFlags care = _care;
        ulong sum = 0;
        int count = 0;
        foreach (Mbuf packet in packets)
        {
            MbufHeader* mbuf = packet.Header;
            if (*(uint*)&mbuf->RefCnt != OneAndOne || (mbuf->OlFlags & care) != 0 || mbuf->DataOff < headerBytes
                || mbuf->DataLen < IfPacket.ETH_HLEN)
                break;
            byte* header = mbuf->BufAddr + (mbuf->DataOff - headerBytes);
            // Mostly zero already: then the line stays in the device's cache too.
            if ((*(ulong*)header | *(uint*)(header + 8) | *(ulong*)(header + headerBytes - 8)) != 0)
                Clear(header, headerBytes);
            sum += mbuf->PktLen;
            count++;
        }
        bytes += sum;
        return count;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Clear(byte* header, uint bytes) => new Span<byte>(header, (int)bytes).Clear();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int Reclaim(Virtqueue queue, int most)
    {
        int count = queue.Take(new Span<nint>(_done, most), default);
        if (count == 0)
            return 0;
        var packets = new ReadOnlySpan<Mbuf>(_done, count);
        if (!_fastFree)
            Mbuf.FreeBulk(packets);
        else
        {
            var pool = (MempoolHeader*)packets[0].Header->Pool;   // one for all, as the application promised
            MempoolCore.Put(pool, MempoolHeader.CurrentCache(pool), ref *_done, (uint)count);
        }
        return count;
    }
}
