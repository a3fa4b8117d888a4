using System.Runtime.CompilerServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>
/// Receive over a TPACKET_V3 ring: the kernel fills blocks with frames one behind the other; a burst takes as many
/// frames as it can and the next goes on in the same block.
/// </summary>
/// <remarks>
/// B0 Volatile.Read(block_status) takes a block; its partner is the kernel's barrier in prb_close_block.
/// B1 Volatile.Write(block_status) gives it back after the last frame is copied; the kernel reads it before it opens a block.
/// </remarks>
internal sealed unsafe class AfPacketRxQueue : RxQueue
{
    private const uint NeedsCare = IfPacket.TP_STATUS_CSUMNOTREADY | IfPacket.TP_STATUS_VLAN_VALID;

    private readonly AfPacketPort _port;
    private readonly RxOffloads _offloads;
    private readonly uint _room;
    private PacketRing? _ring;
    private byte* _blocks;
    private nuint _blockBytes;
    private int _blockCount;
    private int _next;
    private tpacket_block_desc* _block;
    private byte* _frame;
    private uint _left;

    internal AfPacketRxQueue(AfPacketPort port, int index, Mempool pool, RxQueueConfig config) : base(port, index, pool)
    {
        _port = port;
        _offloads = port.Config.RxOffloads | config.Offloads;
        _room = (uint)(pool.DataRoomBytes - Mbuf.DefaultHeadroom);
    }

    /// <summary>Makes the socket and its ring, bound but closed to packets until <see cref="Admit"/>.</summary>
    internal void Open(bool share, ref int fanout)
    {
        AfPacketOptions options = _port.Options;
        _ring = new PacketRing(_port, IfPacket.TPACKET_V3);
        _ring.DenyAll();
        _ = _ring.TrySet(IfPacket.PACKET_IGNORE_OUTGOING, 1);
        _ring.Map(IfPacket.PACKET_RX_RING, new tpacket_req3
        {
            tp_block_size = (uint)options.BlockBytes,
            tp_block_nr = (uint)options.Blocks,
            tp_frame_size = 2048,
            tp_frame_nr = (uint)(options.BlockBytes / 2048 * options.Blocks),
            tp_retire_blk_tov = (uint)options.RetireMs,
            tp_feature_req_word = (_offloads & RxOffloads.RssHash) != 0 ? IfPacket.TP_FT_REQ_FILL_RXHASH : 0,
        }, options.BlockBytes, options.Blocks);
        _ring.Bind(IfPacket.ETH_P_ALL);
        if (share)
            _ring.JoinFanout(options.FanoutMode, ref fanout);
        _blocks = _ring.Base;
        _blockBytes = (nuint)options.BlockBytes;
        _blockCount = options.Blocks;
        _next = 0;
        _left = 0;
    }

    /// <summary>Lets packets in, once every queue of the port is there.</summary>
    internal void Admit() => _ring!.AllowAll();

    /// <summary>Gives ring and socket back.</summary>
    internal void Close()
    {
        _ring?.Dispose();
        _ring = null;
        _blocks = null;
        _left = 0;
    }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        int received = 0;
        while (received < burst.Length && (_left != 0 || TakeBlock()))
        {
            Span<Mbuf> mbufs = burst.Slice(received, (int)Math.Min(_left, (uint)(burst.Length - received)));
            while (!Pool.TryAllocBulk(mbufs))
            {
                if (mbufs.Length == 1)
                {
                    Stats->NoMbuf++;   // the frames stay in the ring
                    return received;
                }
                mbufs = mbufs[..(mbufs.Length / 2)];
            }
            int filled = Fill(mbufs);
            Mbuf.FreeBulk(mbufs[filled..]);
            received += filled;
        }
        return received;
    }

    /// <inheritdoc/>
    protected internal override void Drain()
    {
        if (_ring != null)
            Stats->Missed += _ring.TakeDrops();
        Close();
    }

    /// <inheritdoc/>
    protected internal override void Release() => Close();

    private bool TakeBlock()
    {
        var block = (tpacket_block_desc*)(_blocks + (nuint)_next * _blockBytes);
        if ((Volatile.Read(ref block->block_status) & IfPacket.TP_STATUS_USER) == 0)   // B0
            return false;
        _block = block;
        _left = block->num_pkts;
        _frame = (byte*)block + block->offset_to_first_pkt;
        _next = _next + 1 == _blockCount ? 0 : _next + 1;
        if (_left == 0)
            GiveBlock();
        return _left != 0;
    }

    private void GiveBlock()
    {
        if ((_block->block_status & IfPacket.TP_STATUS_LOSING) != 0)
            Stats->Missed += _ring!.TakeDrops();
        Volatile.Write(ref _block->block_status, IfPacket.TP_STATUS_KERNEL);   // B1
    }

    /// <summary>Fills mbufs from the frames of the block in hand.</summary>
    /// <returns>How many it filled; fewer when frames were bad.</returns>
    private int Fill(Span<Mbuf> mbufs)
    {
        int filled = 0;
        ulong bytes = 0;
        while (filled < mbufs.Length && _left != 0)
        {
            var header = (tpacket3_hdr*)_frame;
            byte* data = _frame + header->tp_mac;
            uint length = header->tp_len;
            MbufHeader* mbuf = mbufs[filled].Header;
            if ((header->tp_status & NeedsCare) == 0 && length == header->tp_snaplen && length <= _room)
            {
                Unsafe.CopyBlockUnaligned(mbuf->BufAddr + mbuf->DataOff, data, length);
                mbuf->PktLen = length;
                mbuf->DataLen = (ushort)length;
                mbuf->Port = Port.Id;
                bytes += length;
                filled++;
            }
            else
                Stats->Errors++;
            Advance(header);
        }
        Stats->Bytes += bytes;
        return filled;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Advance(tpacket3_hdr* header)
    {
        _frame += header->tp_next_offset;
        if (--_left == 0)
            GiveBlock();
    }
}
