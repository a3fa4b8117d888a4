using System.Runtime.CompilerServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// Receive: mbufs go to the kernel by the fill ring and come back with a frame in them by the receive ring. The frame
/// lies where the kernel or the device wrote it.
/// </summary>
internal sealed unsafe class AfXdpRxQueue : RxQueue
{
    private const uint Batch = 32;

    private readonly AfXdpPort _port;
    private readonly Mbuf[] _fresh = new Mbuf[Batch];
    private readonly bool _strip, _scatter;
    private readonly uint _most;     // mbufs the kernel may have
    private readonly ulong _rearm;   // MbufHeader.RearmData of a received packet, without the offset of its data
    private XdpSocket? _socket;
    private Umem _umem = null!;
    private UmemLedger _ledger = null!;
    private XdpConsumer _ring;
    private XdpProducer _fill;
    private Mbuf[] _aside = [];      // lie over the end of a page: not for a device
    private int _asideCount, _fd;
    private uint _given;
    private bool _busyPolls, _avoidSplits;
    private MbufHeader* _head, _last;   // a packet whose further buffers have not come yet

    internal AfXdpRxQueue(AfXdpPort port, int index, Mempool pool, RxQueueConfig config) : base(port, index, pool)
    {
        _port = port;
        _strip = (config.Offloads & RxOffloads.VlanStrip) != 0;
        _scatter = (config.Offloads & RxOffloads.Scatter) != 0;
        _most = (uint)config.Descriptors;
        _rearm = 1ul << 16 | 1ul << 32 | (ulong)port.Id << 48;
    }

    /// <inheritdoc/>
    public override string BurstMode => AfXdpPort.Describe(_port.Program, _socket);

    /// <inheritdoc/>
    public override int WaitingCount => _socket == null ? 0 : (int)_ring.Count;

    /// <inheritdoc/>
    /// <remarks>The socket itself, readable as long as a packet waits: there is nothing to arm.</remarks>
    public override SafeFileHandle? InterruptFd => _port.Config.RxInterrupts ? _socket?.Handle : null;

    /// <summary>Calls of the kernel to poll or to take buffers.</summary>
    internal ulong Wakeups { get; private set; }

    /// <summary>What the kernel counted.</summary>
    internal XdpCounters Counters { get; } = new();

    /// <inheritdoc/>
    public override DescriptorStatus GetDescriptorStatus(int offset) =>
        _socket == null || (uint)offset >= _most ? DescriptorStatus.Unavailable
        : offset < _ring.Count ? DescriptorStatus.Done
        : offset < _given ? DescriptorStatus.WithDevice : DescriptorStatus.Unavailable;

    /// <summary>Gives the first mbufs to the kernel. The socket is not bound yet. Control path.</summary>
    /// <param name="socket">The queue's socket.</param>
    /// <param name="avoidSplits">A device may be given the mbufs: none that lies over the end of a page.</param>
    internal void Open(XdpSocket socket, bool avoidSplits)
    {
        _avoidSplits = avoidSplits;
        Counters.Begin(socket);
        _umem = socket.Umem;
        _ledger = new UmemLedger(_umem);
        _aside = new Mbuf[_umem.MostSplits];
        _ring = socket.Rx;
        _fill = socket.Fill;
        _fd = socket.Fd;
        _socket = socket;
        Refill();
    }

    /// <summary>The socket is bound: packets may be there. Control path.</summary>
    internal void Begin()
    {
        _busyPolls = _socket!.BusyPolls;
        _ = Socket.recv(-1, null, 0, 0);   // the first call of an import takes managed memory: here, not on the lcore
    }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        uint ready = _ring.Ready((uint)burst.Length);
        if (ready == 0)
        {
            if (_most - _given >= Batch)
                Refill();
            if (_busyPolls ? HasPolled() : !_fill.NeedsWakeup)
                return 0;
            Wakeups++;
            _ = Socket.recv(_fd, null, 0, Socket.MSG_DONTWAIT);
            ready = _ring.Ready((uint)burst.Length);
            if (ready == 0)
                return 0;
        }
        uint count = Math.Min(ready, (uint)burst.Length);
        int received = 0;
        ulong bytes = 0;
        for (uint i = 0; i < count; i++)
        {
            xdp_desc* descriptor = _ring.Descriptor(i);
            ulong chunk = descriptor->addr & IfXdp.XSK_UNALIGNED_BUF_ADDR_MASK;
            if (!_ledger.TryTake(chunk))
            {
                Stats->Errors++;
                continue;
            }
            MbufHeader* mbuf = _umem.MbufOf(chunk);
            uint length = descriptor->len;
            mbuf->RearmData = _rearm | descriptor->addr >> IfXdp.XSK_UNALIGNED_BUF_OFFSET_SHIFT;
            mbuf->OlFlags = MbufFlags.None;
            *(ulong*)&mbuf->PacketType = (ulong)length << 32;   // and PktLen
            *(ulong*)&mbuf->DataLen = length;                   // and no tag, no hash
            if ((descriptor->options & IfXdp.XDP_PKT_CONTD) != 0 || _head != null)
            {
                mbuf = Chain(mbuf, (descriptor->options & IfXdp.XDP_PKT_CONTD) != 0);
                if (mbuf == null)
                    continue;
            }
            if (_strip)
                VlanTag.Strip(mbuf);
            bytes += mbuf->PktLen;
            burst[received++] = new Mbuf(mbuf);
        }
        _ring.Release(count);
        _given -= count;
        Stats->Bytes += bytes;
        if (_most - _given >= Batch)
            Refill();
        return received;
    }

    /// <inheritdoc/>
    protected internal override ulong ReadMissed()
    {
        xdp_statistics all = Counters.Read();
        return all.rx_dropped + all.rx_ring_full;
    }

    /// <inheritdoc/>
    /// <remarks>The port has closed the socket.</remarks>
    protected internal override void Drain()
    {
        if (_socket == null)
            return;
        _ledger.FreeAll();
        _ledger.Dispose();
        Mbuf.FreeBulk(_aside.AsSpan(0, _asideCount));
        _asideCount = 0;
        if (_head != null)
            new Mbuf(_head).Free();
        _head = null;
        _given = 0;
        _socket = null;
    }

    /// <inheritdoc/>
    protected internal override void Release() => Drain();

    /// <summary>One more buffer of a packet that has several.</summary>
    /// <returns>The packet when this was its last, else null.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private MbufHeader* Chain(MbufHeader* mbuf, bool more)
    {
        if (_head == null)
            _head = mbuf;
        else
        {
            _last->Next = mbuf;
            _head->NbSegs++;
            _head->PktLen += mbuf->DataLen;
        }
        _last = mbuf;
        if (more)
            return null;
        MbufHeader* whole = _head;
        _head = null;
        if (_scatter)
            return whole;
        Stats->Errors++;
        new Mbuf(whole).Free();
        return null;
    }

    /// <summary>A burst was sent since the last look: the kernel has polled by that, a moment ago.</summary>
    private bool HasPolled()
    {
        bool polled = _socket!.HasPolled;
        _socket.HasPolled = false;
        return polled;
    }

    /// <summary>Gives mbufs to the kernel until it has all it may have, or the pool has none.</summary>
    private void Refill()
    {
        while (_most - _given is uint room && room >= Math.Min(Batch, _most))
        {
            Span<Mbuf> fresh = _fresh.AsSpan(0, (int)Math.Min(Batch, room));
            while (!Pool.TryAllocRawBulk(fresh))
            {
                if (fresh.Length == 1 || _given != 0)
                {
                    Stats->NoMbuf += (uint)fresh.Length;
                    return;
                }
                fresh = fresh[..(fresh.Length / 2)];
            }
            uint filled = 0;
            foreach (Mbuf mbuf in fresh)
            {
                ulong chunk = _umem.ChunkOf(mbuf.Header);
                if (_avoidSplits && _umem.IsSplit(chunk, _umem.ChunkBytes))
                {
                    _aside[_asideCount++] = mbuf;
                    continue;
                }
                _ledger.TryGive(chunk);
                *_fill.Address(filled++) = chunk;
            }
            _fill.Publish(filled);
            _given += filled;
        }
    }
}
