using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>
/// Transmit over a TPACKET_V2 ring: frames are copied into slots, one <c>send</c> per burst has the kernel take them.
/// Frames too long for a slot, superframes above all, go straight from their mbufs by <c>sendmsg</c>.
/// </summary>
/// <remarks>
/// Every slot starts with a virtio-net header whose hdr_len covers the whole frame: the kernel then copies the frame
/// into the linear part of its own buffer (1.0 against 0.76 Mpps on veth) and never refers to the ring's pages.
/// S0 Volatile.Write(tp_status) publishes a slot; its partner is the kernel's read of the status inside <c>send</c>.
/// S1 Volatile.Read(tp_status) takes a slot back; its partner is the kernel's barrier in tpacket_destruct_skb.
/// </remarks>
internal sealed unsafe class AfPacketTxQueue : TxQueue
{
    private const uint TimestampBits = 0xe000_0000;
    private static readonly int HeaderBytes = sizeof(virtio_net_hdr);
    private static readonly long RetryTicks = Stopwatch.Frequency / 100;

    private readonly AfPacketPort _port;
    private readonly int _wantedSlots;
    private PacketRing? _ring;
    private PacketRing? _plain;   // has no ring: a socket that has one takes frames from there only
    private PacketVector? _vector;
    private byte* _slots;
    private nuint _slotBytes;
    private int _slotCount;
    private int _next;
    private uint _room;
    private uint _longest;
    private int _fd;
    private bool _unsent;
    private long _retryAt;

    internal AfPacketTxQueue(AfPacketPort port, int index, TxQueueConfig config) : base(port, index)
    {
        _port = port;
        _wantedSlots = config.Descriptors;
    }

    /// <inheritdoc/>
    public override string BurstMode => "TPACKET_V2 slots, linear";

    /// <summary>Makes the sockets and the ring.</summary>
    internal void Open()
    {
        SetMtu(_port.Netdev.GetMtu());
        int header = IfPacket.Tpacket2DataOffset + HeaderBytes;
        // An odd number of cache lines: a power of two would put every slot's header in the same cache set.
        int fitting = ((int)Math.Min(_longest, 9018) + IfPacket.VLAN_HLEN + header + 63) / 64 | 1;
        int slotBytes = _port.Options.FrameBytes != 0 ? _port.Options.FrameBytes : fitting * 64;
        int page = Environment.SystemPageSize;
        // slots end with their block, so they are one array
        int perBlock = page / (int)CommonDivisor(page, slotBytes);
        int blocks = (_wantedSlots + perBlock - 1) / perBlock;
        _slotBytes = (nuint)slotBytes;
        _slotCount = blocks * perBlock;
        _room = (uint)(slotBytes - header);
        _ring = new PacketRing(_port, IfPacket.TPACKET_V2);
        Prepare(_ring, _slotCount * (slotBytes + 1024));
        _ring.Map(IfPacket.PACKET_TX_RING, new tpacket_req
        {
            tp_block_size = (uint)(perBlock * slotBytes),
            tp_block_nr = (uint)blocks,
            tp_frame_size = (uint)slotBytes,
            tp_frame_nr = (uint)_slotCount,
        }, perBlock * slotBytes, blocks);
        _ring.Bind(0);
        _plain = new PacketRing(_port, IfPacket.TPACKET_V2);
        _vector = new PacketVector();
        Prepare(_plain, 4 << 20);
        _plain.Bind(0);
        // The first call of an import binds it, which takes managed memory: here, then, and not on the lcore.
        _ = Socket.send(-1, null, 0, 0);
        _ = Socket.sendmsg(-1, null, 0);
        _slots = _ring.Base;
        _fd = _ring.Fd;
        _next = 0;
        _unsent = false;
        _retryAt = 0;
    }

    /// <summary>From the next burst on, longer frames are errors. Any thread.</summary>
    internal void SetMtu(int mtu) => Volatile.Write(ref _longest, (uint)(mtu + IfPacket.ETH_HLEN));

    /// <summary>Gives rings and sockets back.</summary>
    internal void Close()
    {
        _vector?.Dispose();
        _vector = null;
        _plain?.Dispose();
        _plain = null;
        _ring?.Dispose();
        _ring = null;
        _slots = null;
    }

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        if (_unsent)
            Kick();
        ulong bytes = 0;
        int taken = 0;
        for (; taken < packets.Length; taken++)
        {
            MbufHeader* mbuf = packets[taken].Header;
            uint length = mbuf->PktLen;
            if ((mbuf->OlFlags & VnetOffload.Requests) != 0 || length - IfPacket.ETH_HLEN > _longest - IfPacket.ETH_HLEN
                || length > _room)
            {
                int outcome = TransmitWithCare(mbuf);
                if (outcome < 0)
                    break;
                bytes += (uint)outcome;
                continue;
            }
            tpacket2_hdr* slot = Slot(_next);
            if (!IsFree(slot))
                break;
            byte* data = (byte*)slot + IfPacket.Tpacket2DataOffset;
            *(ulong*)data = (ulong)length << 16;   // virtio_net_hdr: hdr_len = length, all else 0
            *(ushort*)(data + 8) = 0;
            PacketVector.Gather(mbuf, data + HeaderBytes, length);
            Publish(slot, length);
            bytes += length;
        }
        if (_unsent)
            Kick();
        Mbuf.FreeBulk(packets[..taken]);
        Stats->Bytes += bytes;
        return taken;
    }

    /// <inheritdoc/>
    /// <remarks>Packets are freed as they are taken; this only has the kernel try again what it could not
    /// take.</remarks>
    public override int ReclaimTx(int most = 0)
    {
        if (_unsent)
            Kick();
        return 0;
    }

    /// <inheritdoc/>
    protected internal override void Drain()
    {
        if (_ring == null)
            return;
        if (_unsent)
            Kick();
        for (int i = 0; i < _slotCount; i++)
            if ((Slot(i)->tp_status & IfPacket.TP_STATUS_SEND_REQUEST) != 0)
            {
                Stats->Missed++;
                Stats->Bytes -= Slot(i)->tp_len - (uint)HeaderBytes;
            }
        Close();
    }

    /// <inheritdoc/>
    protected internal override void Release() => Close();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private tpacket2_hdr* Slot(int index) => (tpacket2_hdr*)(_slots + (nuint)index * _slotBytes);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsFree(tpacket2_hdr* slot) =>
        (Volatile.Read(ref slot->tp_status) & ~TimestampBits) == IfPacket.TP_STATUS_AVAILABLE;   // S1

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Publish(tpacket2_hdr* slot, uint length)
    {
        slot->tp_len = length + (uint)HeaderBytes;
        Volatile.Write(ref slot->tp_status, IfPacket.TP_STATUS_SEND_REQUEST);   // S0
        _unsent = true;
        _next = _next + 1 == _slotCount ? 0 : _next + 1;
    }

    /// <summary>A packet with offload requests, or one that is long, or one that cannot be sent.</summary>
    /// <returns>Bytes sent, 0 when it was bad and is counted, -1 when there is no room for it now.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private int TransmitWithCare(MbufHeader* mbuf)
    {
        MbufFlags requests = mbuf->OlFlags & VnetOffload.Requests;
        uint tag = (requests & MbufFlags.TxVlan) != 0 ? (uint)IfPacket.VLAN_HLEN : 0;
        uint length = mbuf->PktLen + tag;
        bool cut = (requests & VnetOffload.Segmentation) != 0;
        if ((requests & ~VnetOffload.Possible) != 0 || mbuf->PktLen < IfPacket.ETH_HLEN
            || mbuf->DataLen < IfPacket.ETH_HLEN)
            return Refuse();
        uint longest = _longest + (tag != 0 || VnetOffload.IsTagged(mbuf->BufAddr + mbuf->DataOff)
            ? (uint)IfPacket.VLAN_HLEN : 0);
        if (!cut && length > longest)
            return Refuse();
        return cut || length > _room ? TransmitLong(mbuf) : TransmitRequests(mbuf, length, requests);
    }

    private int TransmitRequests(MbufHeader* mbuf, uint length, MbufFlags requests)
    {
        tpacket2_hdr* slot = Slot(_next);
        if (!IsFree(slot))
            return -1;
        var vnet = (virtio_net_hdr*)((byte*)slot + IfPacket.Tpacket2DataOffset);
        byte* frame = (byte*)(vnet + 1);
        *vnet = new virtio_net_hdr { hdr_len = (ushort)length };
        PacketVector.GatherTagged(mbuf, frame, length);
        int tag = (int)(length - mbuf->PktLen);
        if ((requests & ~MbufFlags.TxVlan) != 0
            && !VnetOffload.TryRequest(vnet, frame, (int)length, (int)length, mbuf, tag))
            return Refuse();
        Publish(slot, length);
        return (int)length;
    }

    private int TransmitLong(MbufHeader* mbuf)
    {
        if (_unsent)
            Kick();
        if (_unsent)
            return -1;   // it would overtake frames of the ring
        switch (Send(mbuf))
        {
            case Errno.None:
                return (int)mbuf->PktLen;
            case Errno.EAGAIN or Errno.ENOBUFS or Errno.ENETDOWN or Errno.ENXIO or Errno.ENODEV:
                return -1;
            default:
                return Refuse();
        }
    }

    private Errno Send(MbufHeader* mbuf)
    {
        if (!_vector!.TryBuild(mbuf, out int count))
            return Errno.EINVAL;
        var message = new msghdr { msg_iov = _vector.Parts, msg_iovlen = (nuint)count };
        return Socket.sendmsg(_plain!.Fd, &message, Socket.MSG_DONTWAIT) < 0
            ? (Errno)Marshal.GetLastPInvokeError() : Errno.None;
    }

    private int Refuse()
    {
        Stats->Errors++;
        return 0;
    }

    private void Kick()
    {
        if (_retryAt != 0 && Stopwatch.GetTimestamp() < _retryAt)
            return;
        _retryAt = 0;
        while (Socket.send(_fd, null, 0, Socket.MSG_DONTWAIT) < 0)
        {
            var errno = (Errno)Marshal.GetLastPInvokeError();
            if (errno is Errno.EAGAIN or Errno.ENOBUFS)
                break;   // the kernel's queue is full; the slots stay ours to send
            if (errno is Errno.ENETDOWN or Errno.ENXIO or Errno.ENODEV || !DropRefused())
            {
                _retryAt = Stopwatch.GetTimestamp() + RetryTicks;
                break;
            }
        }
        int last = _next == 0 ? _slotCount - 1 : _next - 1;
        _unsent = (Volatile.Read(ref Slot(last)->tp_status) & IfPacket.TP_STATUS_SEND_REQUEST) != 0;
    }

    /// <summary>
    /// Takes out the frame the kernel refused and moves those behind it up, for the kernel goes on where it stopped.
    /// Nothing else touches these slots: the kernel looks at them only inside <c>send</c>.
    /// </summary>
    /// <returns>False when no frame was refused.</returns>
    private bool DropRefused()
    {
        int bad = _next, behind = -1;
        do
        {
            bad = bad == 0 ? _slotCount - 1 : bad - 1;
            behind++;
        }
        while (Slot(bad)->tp_status == IfPacket.TP_STATUS_SEND_REQUEST && behind < _slotCount);
        if (Slot(bad)->tp_status != IfPacket.TP_STATUS_WRONG_FORMAT)
            return false;
        Stats->Bytes -= Slot(bad)->tp_len - (uint)HeaderBytes;
        for (; behind > 0; behind--)
        {
            int from = bad + 1 == _slotCount ? 0 : bad + 1;
            Buffer.MemoryCopy(Slot(from), Slot(bad), _slotBytes, _slotBytes);
            bad = from;
        }
        Slot(bad)->tp_status = IfPacket.TP_STATUS_AVAILABLE;
        _next = bad;
        _ = Refuse();
        return true;
    }

    private void Prepare(PacketRing socket, int sendBufferBytes)
    {
        if (_port.Options.QdiscBypass)
            socket.Set(IfPacket.PACKET_QDISC_BYPASS, 1, "PACKET_QDISC_BYPASS");
        // Without CAP_NET_ADMIN the system's limit holds, and bursts are taken in more steps.
        if (!socket.TrySetSocket(Socket.SO_SNDBUFFORCE, sendBufferBytes))
            _ = socket.TrySetSocket(Socket.SO_SNDBUF, sendBufferBytes);
    }

    private static long CommonDivisor(long a, long b) => b == 0 ? a : CommonDivisor(b, a % b);
}
