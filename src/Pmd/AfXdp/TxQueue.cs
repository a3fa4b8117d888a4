using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>
/// Transmit: mbufs of the pool the socket's memory is laid over are given to the kernel as they are, and come back by
/// the completion ring. Others, and those that need a tag put in or several segments joined, are copied first.
/// </summary>
internal sealed unsafe class AfXdpTxQueue : TxQueue
{
    private const MbufFlags Special = VnetOffload.Requests | MbufFlags.Indirect | MbufFlags.External;
    private const int Batch = 64;
    private const int MostSegments = 17;   // MAX_SKB_FRAGS of the kernel's usual configuration

    private readonly AfXdpPort _port;
    private readonly Mbuf[] _done = new Mbuf[Batch];
    private readonly Mbuf[] _pieces = new Mbuf[MostSegments];
    private readonly uint _most;
    private XdpSocket? _socket;
    private Umem _umem = null!;
    private UmemLedger _ledger = null!;
    private XdpProducer _ring;
    private XdpConsumer _completion;
    private void* _pool;
    private uint _longest, _room, _copyRoom, _given;
    private bool _avoidSplits;
    private int _fd;

    internal AfXdpTxQueue(AfXdpPort port, int index, TxQueueConfig config) : base(port, index)
    {
        _port = port;
        _most = (uint)config.Descriptors;
    }

    /// <inheritdoc/>
    public override string BurstMode => AfXdpPort.Describe(_port.Program, _socket);

    /// <summary>Calls of the kernel to send.</summary>
    internal ulong Wakeups { get; private set; }

    /// <summary>Packets that were copied before they were sent.</summary>
    internal ulong Copied { get; private set; }

    /// <summary>What the kernel counted.</summary>
    internal XdpCounters Counters { get; } = new();

    /// <summary>Takes a bound socket. Control path.</summary>
    internal void Open(XdpSocket socket)
    {
        _umem = socket.Umem;
        _ledger = new UmemLedger(_umem);
        _ring = socket.Tx;
        _completion = socket.Completion;
        _pool = _umem.Pool.Header;
        _room = _umem.ChunkBytes;
        _copyRoom = _umem.ChunkBytes - (uint)Mbuf.DefaultHeadroom;
        _avoidSplits = socket.IsZeroCopy;
        _fd = socket.Fd;
        SetMtu(_port.Mtu);
        Counters.Begin(socket);
        _ = Socket.send(-1, null, 0, 0);   // the first call of an import takes managed memory: here, not on the lcore
        _socket = socket;
    }

    /// <summary>From the next burst on, longer frames are errors. Any thread.</summary>
    internal void SetMtu(int mtu) => Volatile.Write(ref _longest, (uint)(mtu + IfPacket.ETH_HLEN));

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        Reclaim(_given);
        uint free = Math.Min(_ring.Free((uint)packets.Length), _most - _given), used = 0;
        uint longest = Math.Min(_longest, _room);
        ulong bytes = 0;
        int taken = 0;
        for (; taken < packets.Length && used < free; taken++)
        {
            MbufHeader* mbuf = packets[taken].Header;
            uint length = mbuf->PktLen;
            ulong chunk = _umem.ChunkOf(mbuf);
            bool simple = mbuf->Pool == _pool && mbuf->NbSegs == 1 && (mbuf->OlFlags & Special) == 0
                && length - IfPacket.ETH_HLEN <= longest - IfPacket.ETH_HLEN
                && !(_avoidSplits && _umem.IsSplit(chunk + mbuf->DataOff, length)) && _ledger.TryGive(chunk);
            if (!simple)
            {
                int slots = TransmitWithCare(mbuf, used, free, ref bytes);
                if (slots < 0)
                    break;
                used += (uint)slots;
                continue;
            }
            xdp_desc* descriptor = _ring.Descriptor(used++);
            descriptor->addr = chunk | (ulong)mbuf->DataOff << IfXdp.XSK_UNALIGNED_BUF_OFFSET_SHIFT;
            descriptor->len = length;
            descriptor->options = 0;
            bytes += length;
        }
        if (used != 0)
        {
            _ring.Publish(used);
            _given += used;
        }
        Stats->Bytes += bytes;
        if (_given != 0)
            Kick();
        return taken;
    }

    /// <inheritdoc/>
    public override int ReclaimTx(int most = 0)
    {
        if (_socket == null)
            return 0;
        if (_given != 0)
            Kick();
        return Reclaim(most == 0 ? uint.MaxValue : (uint)most);
    }

    /// <summary>The last try before the socket is closed; what the kernel has not taken then is dropped. No thread
    /// sends. Control path.</summary>
    internal void Settle()
    {
        if (_socket == null)
            return;
        Kick();
        for (uint back = _ring.Untaken; back != 0; back--)
        {
            xdp_desc* descriptor = _ring.Published(back);
            Stats->Bytes -= descriptor->len;
            if ((descriptor->options & IfXdp.XDP_PKT_CONTD) == 0)
                Stats->Missed++;
        }
        Reclaim(uint.MaxValue);
        Counters.End();
    }

    /// <inheritdoc/>
    /// <remarks>The port has closed the socket.</remarks>
    protected internal override void Drain()
    {
        if (_socket == null)
            return;
        _ledger.FreeAll();
        _ledger.Dispose();
        _given = 0;
        _socket = null;
    }

    /// <inheritdoc/>
    protected internal override void Release() => Drain();

    /// <summary>Frees mbufs the kernel is done with.</summary>
    private int Reclaim(uint most)
    {
        uint ready = Math.Min(_completion.Ready(most), most);
        for (uint left = ready; left != 0;)
        {
            uint count = Math.Min(left, Batch);
            int freed = 0;
            for (uint i = 0; i < count; i++)
            {
                ulong chunk = _completion.Address(i) & IfXdp.XSK_UNALIGNED_BUF_ADDR_MASK;
                if (_ledger.TryTake(chunk))
                    _done[freed++] = new Mbuf(_umem.MbufOf(chunk));
            }
            _completion.Release(count);
            _given -= count;
            left -= count;
            Mbuf.FreeBulk(_done.AsSpan(0, freed));
        }
        return (int)ready;
    }

    /// <summary>Has the kernel send what is in the ring, where it waits to be called.</summary>
    private void Kick()
    {
        uint untaken = _ring.Untaken;
        while (untaken != 0 && _ring.NeedsWakeup)
        {
            Wakeups++;
            _socket!.HasPolled = true;
            if (Socket.send(_fd, null, 0, Socket.MSG_DONTWAIT) < 0)
            {
                var errno = (Errno)Marshal.GetLastPInvokeError();
                if (errno == Errno.EBUSY)
                    Stats->Missed++;   // copying: the device dropped one, as one does whose carrier is off
                else if (errno != Errno.EAGAIN)
                    return;            // no memory, or the interface is down or gone: they stay in the ring
            }
            uint now = _ring.Untaken;
            if (now == untaken)
                return;
            untaken = now;
        }
    }

    /// <summary>A packet that cannot go as it is.</summary>
    /// <returns>Descriptors used, 0 when it was bad and is counted and freed, -1 when there is no room for it
    /// now.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private int TransmitWithCare(MbufHeader* mbuf, uint used, uint free, ref ulong bytes)
    {
        MbufFlags requests = mbuf->OlFlags & VnetOffload.Requests;
        uint tag = requests != 0 ? (uint)IfPacket.VLAN_HLEN : 0, length = mbuf->PktLen + tag;
        if ((requests & ~MbufFlags.TxVlan) != 0 || mbuf->PktLen < IfPacket.ETH_HLEN
            || mbuf->DataLen < IfPacket.ETH_HLEN)
            return Refuse(mbuf);
        bool tagged = tag != 0 || VnetOffload.IsTagged(mbuf->BufAddr + mbuf->DataOff);
        uint longest = _longest + (tagged ? (uint)IfPacket.VLAN_HLEN : 0);
        if (length > longest || (length > _copyRoom && !_socket!.HasFragments))
            return Refuse(mbuf);
        int pieces = (int)((length + _copyRoom - 1) / _copyRoom);
        if (pieces > MostSegments || (tag != 0 && pieces > 1))
            return Refuse(mbuf);
        if (used + pieces > free)
            return -1;
        if (pieces == 1 && mbuf->NbSegs == 1 && tag == 0 && IsOurs(mbuf, length)
            && _ledger.TryGive(_umem.ChunkOf(mbuf)))
            Put(used, mbuf, more: false);   // a tagged frame at the limit
        else if (!TryCopy(mbuf, used, length, pieces))
            return -1;
        bytes += length;
        return pieces;
    }

    /// <summary>Copies a packet into mbufs of the pool and gives those to the kernel.</summary>
    private bool TryCopy(MbufHeader* mbuf, uint used, uint length, int count)
    {
        Span<Mbuf> pieces = _pieces.AsSpan(0, count);
        if (!_umem.Pool.TryAllocBulk(pieces))
            return false;
        MbufHeader* from = mbuf;
        uint skip = 0;
        for (int i = 0; i < count; i++)
        {
            MbufHeader* to = pieces[i].Header;
            uint part = Math.Min(length, _copyRoom);
            if (count == 1)
                PacketVector.GatherTagged(mbuf, to->BufAddr + to->DataOff, part);
            else
                PacketVector.GatherOn(ref from, ref skip, to->BufAddr + to->DataOff, part);
            to->DataLen = (ushort)part;
            length -= part;
            if (_avoidSplits && _umem.IsSplit(_umem.ChunkOf(to) + to->DataOff, part))
            {
                Mbuf.FreeBulk(pieces);   // the next try gets others
                return false;
            }
        }
        for (int i = 0; i < count; i++)
        {
            _ = _ledger.TryGive(_umem.ChunkOf(pieces[i].Header));   // fresh: nobody else gave it
            Put(used + (uint)i, pieces[i].Header, i + 1 < count);
        }
        Copied++;
        new Mbuf(mbuf).Free();
        return true;
    }

    private void Put(uint slot, MbufHeader* mbuf, bool more)
    {
        xdp_desc* descriptor = _ring.Descriptor(slot);
        descriptor->addr = _umem.ChunkOf(mbuf) | (ulong)mbuf->DataOff << IfXdp.XSK_UNALIGNED_BUF_OFFSET_SHIFT;
        descriptor->len = mbuf->DataLen;
        descriptor->options = more ? IfXdp.XDP_PKT_CONTD : 0;
    }

    private bool IsOurs(MbufHeader* mbuf, uint length) => mbuf->Pool == _pool && (mbuf->OlFlags & Special) == 0
        && length <= _room && !(_avoidSplits && _umem.IsSplit(_umem.ChunkOf(mbuf) + mbuf->DataOff, length));

    private int Refuse(MbufHeader* mbuf)
    {
        Stats->Errors++;
        new Mbuf(mbuf).Free();
        return 0;
    }
}
