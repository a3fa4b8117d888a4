using System.Diagnostics;
using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// Receive: one <c>readv</c> per packet straight into mbufs that wait for it, enough of them for the longest packet.
/// </summary>
internal sealed unsafe class TapRxQueue : RxQueue
{
    /// <summary>The longest superframe the kernel makes, with its headers.</summary>
    private const int LongestWhole = 65_536 + IfPacket.ETH_HLEN + IfPacket.VLAN_HLEN;

    private static readonly long RetryTicks = Stopwatch.Frequency / 100;

    private readonly bool _strip, _chain;
    private readonly int _room;
    private readonly int _l2;
    private Mbuf[] _waiting = [];
    private int _waitingCount;
    private iovec* _parts;
    private virtio_net_hdr* _vnet;
    private int _fd;
    private TunFile? _file;
    private long _retryAt;

    internal TapRxQueue(TapPort port, int index, Mempool pool, RxQueueConfig config) : base(port, index, pool)
    {
        _room = pool.DataRoomBytes - Mbuf.DefaultHeadroom;
        _l2 = port.Options.IsTap ? IfPacket.ETH_HLEN : 0;
        _strip = (config.Offloads & RxOffloads.VlanStrip) != 0;
        _chain = (config.Offloads & (RxOffloads.TcpLro | RxOffloads.Scatter)) != 0;
    }

    /// <inheritdoc/>
    public override string BurstMode => "readv";

    /// <inheritdoc/>
    /// <remarks>The file itself, readable as long as a packet waits: there is nothing to arm.</remarks>
    public override SafeFileHandle? InterruptFd => Port.Config.RxInterrupts ? _file?.Handle : null;

    /// <summary>Receives by this file from now on; what waits there from before is dropped.</summary>
    internal void Open(TunFile file)
    {
        Drain();   // of a start that failed half-way
        _file = file;
        _fd = file.Fd;
        _retryAt = 0;
        // One byte more than the longest, also after an MTU set later: a read that fills everything was cut short,
        // which readv does not tell.
        _waiting = new Mbuf[_chain ? LongestWhole / _room + 1 : 1];
        _parts = (iovec*)NativeMemory.Alloc((nuint)_waiting.Length + 1, (nuint)sizeof(iovec));
        _vnet = (virtio_net_hdr*)NativeMemory.Alloc((nuint)sizeof(virtio_net_hdr));
        _parts[0] = new iovec { iov_base = _vnet, iov_len = (nuint)sizeof(virtio_net_hdr) };
        while (Uio.readv(_fd, _parts, 1) > 0) { }
    }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        if (_retryAt != 0 && Stopwatch.GetTimestamp() < _retryAt)
            return 0;
        _retryAt = 0;
        int received = 0;
        ulong bytes = 0;
        while (received < burst.Length && Refill())
        {
            nint read = Uio.readv(_fd, _parts, _waiting.Length + 1);
            if (read <= 0)
            {
                var errno = (Errno)Marshal.GetLastPInvokeError();
                if (errno != Errno.EAGAIN)
                    _retryAt = Stopwatch.GetTimestamp() + RetryTicks;   // gone
                break;
            }
            uint length = (uint)read - (uint)sizeof(virtio_net_hdr);
            if (read <= sizeof(virtio_net_hdr) || length >= (uint)_room * (uint)_waiting.Length || !TryFinish(length))
            {
                Stats->Errors++;
                continue;
            }
            burst[received++] = Take(length);
            bytes += burst[received - 1].Header->PktLen;
        }
        Stats->Bytes += bytes;
        return received;
    }

    /// <inheritdoc/>
    protected internal override void Drain()
    {
        Mbuf.FreeBulk(_waiting.AsSpan(0, _waitingCount));
        _waitingCount = 0;
        NativeMemory.Free(_parts);
        NativeMemory.Free(_vnet);
        _parts = null;
        _vnet = null;
    }

    /// <inheritdoc/>
    protected internal override void Release() => Drain();

    /// <summary>Has every place of the vector filled with a mbuf: with fewer the kernel would cut the packet.</summary>
    private bool Refill()
    {
        for (; _waitingCount < _waiting.Length; _waitingCount++)
        {
            if (!Pool.TryAlloc(out Mbuf mbuf))
            {
                Stats->NoMbuf++;
                return false;
            }
            _waiting[_waitingCount] = mbuf;
            _parts[_waitingCount + 1] = new iovec { iov_base = mbuf.DataPointer, iov_len = (nuint)_room };
        }
        return true;
    }

    /// <summary>Says in the first mbuf what the kernel left to be done.</summary>
    private bool TryFinish(uint length)
    {
        MbufHeader* mbuf = _waiting[0].Header;
        mbuf->OlFlags = MbufFlags.None;
        byte* frame = mbuf->BufAddr + mbuf->DataOff;
        if ((_vnet->flags & VirtioNet.VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0)
            return true;
        return VnetOffload.TryMark(_vnet, frame, mbuf, _l2) || (length <= (uint)_room
            && _vnet->gso_type == VirtioNet.VIRTIO_NET_HDR_GSO_NONE
            && VnetOffload.TryComplete(_vnet, frame, (int)length));
    }

    /// <summary>Makes a packet of the mbufs that were read into; those behind move up.</summary>
    private Mbuf Take(uint length)
    {
        Mbuf first = _waiting[0];
        first.Header->PktLen = length;
        first.Header->Port = Port.Id;
        int used = 0;
        for (uint left = length; left != 0; used++)
        {
            MbufHeader* segment = _waiting[used].Header;
            segment->DataLen = (ushort)Math.Min(left, (uint)_room);
            left -= segment->DataLen;
            segment->Next = left == 0 ? null : _waiting[used + 1].Header;
        }
        first.Header->NbSegs = (ushort)used;
        _waitingCount -= used;
        for (int i = 0; i < _waitingCount; i++)
        {
            _waiting[i] = _waiting[i + used];
            _parts[i + 1] = _parts[i + 1 + used];
        }
        if (_strip)
            VlanTag.Strip(first.Header);
        return first;
    }
}
