using System.Runtime.CompilerServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// Receive over a TPACKET_V3 ring: the kernel fills blocks with frames one behind the other; a burst takes as many
/// frames as it can and the next goes on in the same block.
/// </summary>
/// <remarks>
/// B0 Volatile.Read(block_status) takes a block; its partner is the kernel's barrier in prb_close_block.
/// B1 Volatile.Write(block_status) gives it back after the last frame is copied; the kernel reads it before it opens
/// a block. What a frame still needs (its VLAN tag back, its checksum finished, to be cut) is done in the block,
/// which is ours until B1, and each step leaves the frame in a state to start over from: with no mbuf to be had, it
/// waits there.
/// </remarks>
internal sealed unsafe class AfPacketRxQueue : RxQueue
{
    private const uint NeedsCare = IfPacket.TP_STATUS_CSUMNOTREADY | IfPacket.TP_STATUS_VLAN_VALID;

    private readonly AfPacketPort _port;
    private readonly Lock _dropLock = new();
    private readonly uint _room;
    private readonly bool _strip, _whole, _chain;
    private readonly MbufFlags _everyFlags, _goodFlags;
    private PacketRing? _ring;
    private ulong _drops;
    private byte* _blocks;
    private nuint _blockBytes;
    private int _blockCount;
    private int _next;
    private tpacket_block_desc* _block;
    private byte* _frame;
    private uint _left;
    private Segmenter _segmenter;

    internal AfPacketRxQueue(AfPacketPort port, int index, Mempool pool, RxQueueConfig config) : base(port, index, pool)
    {
        _port = port;
        _room = (uint)(pool.DataRoomBytes - Mbuf.DefaultHeadroom);
        _strip = (config.Offloads & RxOffloads.VlanStrip) != 0;
        _whole = (config.Offloads & RxOffloads.TcpLro) != 0;
        _chain = (config.Offloads & (RxOffloads.TcpLro | RxOffloads.Scatter)) != 0;
        _everyFlags = (config.Offloads & RxOffloads.RssHash) != 0 ? MbufFlags.RxRssHash : MbufFlags.None;
        _goodFlags = (config.Offloads & (RxOffloads.TcpChecksum | RxOffloads.UdpChecksum)) != 0
            ? MbufFlags.RxL4ChecksumGood : MbufFlags.None;
    }

    private enum Outcome
    {
        Filled,
        Bad,
        Starved,
    }

    /// <inheritdoc/>
    public override string BurstMode => "TPACKET_V3 blocks";

    /// <inheritdoc/>
    /// <remarks>The socket itself, readable as long as a block is ours: there is nothing to arm.</remarks>
    public override SafeFileHandle? InterruptFd => _port.Config.RxInterrupts ? _ring?.Handle : null;

    /// <summary>Makes the socket and its ring, bound but closed to packets until <see cref="Admit"/>.</summary>
    /// <param name="share">The port has more queues: join their fanout group.</param>
    /// <param name="fanout">The group, -1 before its first member.</param>
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
            tp_feature_req_word = _everyFlags != 0 ? IfPacket.TP_FT_REQ_FILL_RXHASH : 0,
        }, options.BlockBytes, options.Blocks);
        _ring.Bind(IfPacket.ETH_P_ALL);
        if (share)
            _ring.JoinFanout(options.FanoutMode, ref fanout);
        _blocks = _ring.Base;
        _blockBytes = (nuint)options.BlockBytes;
        _blockCount = options.Blocks;
        _next = 0;
    }

    /// <summary>Lets packets in, once every queue of the port is there.</summary>
    internal void Admit() => _ring!.AllowAll();

    /// <summary>Gives ring and socket back; frames not yet received are lost and not counted, as on any port that
    /// stops.</summary>
    internal void Close()
    {
        lock (_dropLock)
        {
            _drops += _ring?.TakeDrops() ?? 0;
            _ring?.Dispose();
            _ring = null;
        }
        _blocks = null;
        _left = 0;
        _segmenter.Reset();
    }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        int received = 0;
        while (received < burst.Length && (_left != 0 || TakeBlock()))
        {
            int wanted = _segmenter.IsActive ? burst.Length - received
                : (int)Math.Min(_left, (uint)(burst.Length - received));
            Span<Mbuf> mbufs = burst.Slice(received, wanted);
            while (!Pool.TryAllocBulk(mbufs))
            {
                if (mbufs.Length == 1)
                {
                    Stats->NoMbuf++;   // the frames stay in the ring
                    return received;
                }
                mbufs = mbufs[..(mbufs.Length / 2)];
            }
            int filled = Fill(mbufs, out bool starved);
            Mbuf.FreeBulk(mbufs[filled..]);
            received += filled;
            if (starved)
                break;
        }
        return received;
    }

    /// <inheritdoc/>
    protected internal override ulong ReadMissed()
    {
        lock (_dropLock)
            return _drops += _ring?.TakeDrops() ?? 0;
    }

    /// <inheritdoc/>
    protected internal override void Drain() => Close();

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

    private void GiveBlock() => Volatile.Write(ref _block->block_status, IfPacket.TP_STATUS_KERNEL);   // B1

    /// <summary>Fills mbufs from the frames of the block in hand.</summary>
    /// <returns>How many it filled; fewer when frames were bad, or <paramref name="starved"/> of further
    /// mbufs.</returns>
    private int Fill(Span<Mbuf> mbufs, out bool starved)
    {
        int filled = 0;
        ulong bytes = 0;
        starved = false;
        while (filled < mbufs.Length && _left != 0)
        {
            var header = (tpacket3_hdr*)_frame;
            byte* data = _frame + header->tp_mac;
            uint length = header->tp_len;
            MbufHeader* mbuf = mbufs[filled].Header;
            if ((header->tp_status & NeedsCare) != 0 || length != header->tp_snaplen || length > _room)
            {
                Outcome outcome = FillWithCare(header, mbuf);
                if (outcome == Outcome.Starved)
                {
                    Stats->NoMbuf++;
                    starved = true;
                    break;
                }
                if (outcome == Outcome.Bad)
                    Stats->Errors++;
                else
                {
                    bytes += mbuf->PktLen;
                    filled++;
                }
                if (!_segmenter.IsActive)
                    Advance(header);
                continue;
            }
            Unsafe.CopyBlockUnaligned(mbuf->BufAddr + mbuf->DataOff, data, length);
            mbuf->PktLen = length;
            mbuf->DataLen = (ushort)length;
            Describe(header, mbuf);
            bytes += length;
            filled++;
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

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Describe(tpacket3_hdr* header, MbufHeader* mbuf)
    {
        mbuf->Port = Port.Id;
        mbuf->RssHash = header->tp_rxhash;
        mbuf->OlFlags = _everyFlags | ((header->tp_status & IfPacket.TP_STATUS_CSUM_VALID) != 0 ? _goodFlags : 0);
    }

    /// <summary>A frame that is tagged, unfinished, a superframe, longer than a mbuf, or cut short.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private Outcome FillWithCare(tpacket3_hdr* header, MbufHeader* mbuf)
    {
        if (header->tp_len != header->tp_snaplen || header->tp_len < IfPacket.ETH_HLEN)
            return Outcome.Bad;   // longer than a block
        Describe(header, mbuf);
        if ((header->tp_status & IfPacket.TP_STATUS_VLAN_VALID) != 0)
            TakeTag(header, mbuf);
        if ((header->tp_status & IfPacket.TP_STATUS_CSUMNOTREADY) == 0)
            return Copy(mbuf, (byte*)header + header->tp_mac, header->tp_len);
        return FillUnfinished(header, mbuf);
    }

    private Outcome FillUnfinished(tpacket3_hdr* header, MbufHeader* mbuf)
    {
        byte* frame = (byte*)header + header->tp_mac;
        var vnet = (virtio_net_hdr*)(frame - sizeof(virtio_net_hdr));
        if (_whole && VnetOffload.TryMark(vnet, frame, mbuf))
            return Copy(mbuf, frame, header->tp_len);
        if (vnet->gso_type != VirtioNet.VIRTIO_NET_HDR_GSO_NONE)
            return FillPiece(vnet, frame, header->tp_len, mbuf);
        if (!VnetOffload.TryComplete(vnet, frame, (int)header->tp_len))
            return Outcome.Bad;
        header->tp_status &= ~IfPacket.TP_STATUS_CSUMNOTREADY;
        mbuf->OlFlags |= _goodFlags;
        return Copy(mbuf, frame, header->tp_len);
    }

    /// <summary>One of the frames a superframe stands for; the superframe stays in hand until the last.</summary>
    private Outcome FillPiece(virtio_net_hdr* vnet, byte* frame, uint length, MbufHeader* mbuf)
    {
        if (!_segmenter.IsActive && !_segmenter.TryBegin(vnet, frame, (int)length))
            return Outcome.Bad;
        byte* piece = _segmenter.Make(out int bytes);
        Outcome outcome = Copy(mbuf, piece, (uint)bytes);
        mbuf->OlFlags |= _goodFlags;
        if (outcome != Outcome.Starved)
            _segmenter.Advance();
        return outcome;
    }

    /// <summary>The kernel took the VLAN tag out: it goes into the mbuf, or back into the frame.</summary>
    private void TakeTag(tpacket3_hdr* header, MbufHeader* mbuf)
    {
        if (_strip)
        {
            mbuf->VlanTci = (ushort)header->tp_vlan_tci;
            mbuf->OlFlags |= MbufFlags.RxVlan | MbufFlags.RxVlanStripped;
            return;
        }
        byte* frame = (byte*)header + header->tp_mac;
        var vnet = (virtio_net_hdr*)(frame - sizeof(virtio_net_hdr));
        vnet->csum_start += IfPacket.VLAN_HLEN;
        vnet->hdr_len += IfPacket.VLAN_HLEN;
        // Offload header and addresses move 4 bytes down; before them is the gap the kernel leaves for alignment.
        int moved = sizeof(virtio_net_hdr) + 12;
        Buffer.MemoryCopy(vnet, (byte*)vnet - IfPacket.VLAN_HLEN, moved, moved);
        bool known = (header->tp_status & IfPacket.TP_STATUS_VLAN_TPID_VALID) != 0;
        WriteBigEndian(frame + 8, known ? header->tp_vlan_tpid : IfPacket.ETH_P_8021Q);
        WriteBigEndian(frame + 10, (ushort)header->tp_vlan_tci);
        header->tp_mac -= IfPacket.VLAN_HLEN;
        header->tp_len += IfPacket.VLAN_HLEN;
        header->tp_snaplen += IfPacket.VLAN_HLEN;
        header->tp_status &= ~IfPacket.TP_STATUS_VLAN_VALID;
    }

    private static void WriteBigEndian(byte* at, ushort value)
    {
        at[0] = (byte)(value >> 8);
        at[1] = (byte)value;
    }

    /// <summary>Copies a frame into a mbuf and, where allowed, further ones behind it.</summary>
    private Outcome Copy(MbufHeader* first, byte* data, uint length)
    {
        if (length > _room && !_chain)
            return Outcome.Bad;
        MbufHeader* last = first;
        first->PktLen = length;
        while (true)
        {
            uint part = Math.Min(length, _room);
            Unsafe.CopyBlockUnaligned(last->BufAddr + last->DataOff, data, part);
            last->DataLen = (ushort)part;
            data += part;
            length -= part;
            if (length == 0)
                return Outcome.Filled;
            if (!Pool.TryAlloc(out Mbuf more))
                break;
            last->Next = more.Header;
            last = more.Header;
            first->NbSegs++;
        }
        if (first->Next != null)
        {
            first->Next->NbSegs = (ushort)(first->NbSegs - 1);   // else it is freed as one segment
            new Mbuf(first->Next).Free();
        }
        first->Next = null;
        first->NbSegs = 1;
        return Outcome.Starved;
    }
}
