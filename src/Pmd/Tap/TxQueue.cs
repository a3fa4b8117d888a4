using System.Diagnostics;
using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>Transmit: one <c>writev</c> per packet, its segments in place behind an offload header.</summary>
internal sealed unsafe class TapTxQueue : TxQueue
{
    private static readonly long RetryTicks = Stopwatch.Frequency / 100;

    private readonly TapPort _port;
    private PacketVector? _vector;
    private uint _longest;
    private uint _shortest;
    private int _fd;
    private long _retryAt;

    internal TapTxQueue(TapPort port, int index) : base(port, index) => _port = port;

    /// <inheritdoc/>
    public override string BurstMode => "writev";

    /// <summary>Sends by this file from now on.</summary>
    internal void Open(TunFile file)
    {
        _vector ??= new PacketVector();
        _fd = file.Fd;
        _shortest = _port.Options.IsTap ? (uint)IfPacket.ETH_HLEN : 1;
        SetMtu(_port.Mtu);
        _retryAt = 0;
        _ = Uio.writev(-1, null, 0);   // the first call binds the import, which takes managed memory: not on the lcore
    }

    /// <summary>From the next burst on, longer frames are errors. Any thread.</summary>
    internal void SetMtu(int mtu) => Volatile.Write(ref _longest,
        (uint)(mtu + (_port.Options.IsTap ? IfPacket.ETH_HLEN : 0)));

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        if (_retryAt != 0 && Stopwatch.GetTimestamp() < _retryAt)
            return 0;
        _retryAt = 0;
        ulong bytes = 0;
        int taken = 0;
        for (; taken < packets.Length; taken++)
        {
            MbufHeader* mbuf = packets[taken].Header;
            Errno errno = Write(mbuf);
            if (errno == Errno.None)
                bytes += mbuf->PktLen;
            else if (errno is Errno.EAGAIN or Errno.ENOBUFS or Errno.ENOMEM)
                break;
            else if (errno is Errno.EIO or Errno.EBADFD)
            {
                _retryAt = Stopwatch.GetTimestamp() + RetryTicks;   // down, or gone
                break;
            }
            else
                Stats->Errors++;
        }
        Mbuf.FreeBulk(packets[..taken]);
        Stats->Bytes += bytes;
        return taken;
    }

    /// <inheritdoc/>
    protected internal override void Release()
    {
        _vector?.Dispose();
        _vector = null;
    }

    private Errno Write(MbufHeader* mbuf)
    {
        MbufFlags requests = mbuf->OlFlags & VnetOffload.Requests;
        if (mbuf->DataLen < _shortest || (requests & ~VnetOffload.Possible) != 0
            || (mbuf->PktLen > _longest && !IsLongAllowed(mbuf, requests)) || !_vector!.TryBuild(mbuf, out int count))
            return Errno.EINVAL;
        return Uio.writev(_fd, _vector.Parts, count) < 0 ? (Errno)Marshal.GetLastPInvokeError() : Errno.None;
    }

    private bool IsLongAllowed(MbufHeader* mbuf, MbufFlags requests) => (requests & VnetOffload.Segmentation) != 0
        || (_port.Options.IsTap && mbuf->PktLen <= _longest + IfPacket.VLAN_HLEN
            && (requests & MbufFlags.TxVlan) == 0 && VnetOffload.IsTagged(mbuf->BufAddr + mbuf->DataOff));
}
