using Dataplane.Native;
using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>
/// Cuts a TCP or UDP superframe into the frames it stands for, in place: each frame's headers are written straight
/// before its piece of the payload, over payload that was handed out already. RFC 9293 §3.1, RFC 768. Data path.
/// </summary>
internal unsafe struct Segmenter
{
    private const int MaxHeaders = 256;

    private fixed byte _headers[MaxHeaders];
    private byte* _payload;
    private int _left;
    private int _sent;
    private int _index;
    private int _headerBytes;
    private int _l3;
    private int _l4;
    private int _size;
    private bool _v4;
    private bool _tcp;

    /// <summary>Payload is left to be cut.</summary>
    internal readonly bool IsActive => _left != 0;

    /// <summary>Starts on a superframe.</summary>
    /// <param name="vnet">Its offload header.</param>
    /// <param name="frame">All of it, contiguous; its payload will be overwritten.</param>
    /// <param name="length">Its bytes.</param>
    /// <returns>False where it is of a kind that cannot be cut here, e.g. in a tunnel.</returns>
    internal bool TryBegin(virtio_net_hdr* vnet, byte* frame, int length)
    {
        _tcp = (vnet->gso_type & ~VirtioNet.VIRTIO_NET_HDR_GSO_ECN)
            is VirtioNet.VIRTIO_NET_HDR_GSO_TCPV4 or VirtioNet.VIRTIO_NET_HDR_GSO_TCPV6;
        _l3 = VnetOffload.L3Offset(frame, out _v4);
        _l4 = vnet->csum_start;
        _size = vnet->gso_size;
        bool known = (_tcp || vnet->gso_type == VirtioNet.VIRTIO_NET_HDR_GSO_UDP_L4)
            && (vnet->flags & VirtioNet.VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0 && _size != 0;
        if (!known || _l4 + (_tcp ? TcpHeader.Size : UdpHeader.Size) > length
            || !VnetOffload.IsPlain(frame + _l3, _l4 - _l3, _v4, _tcp))
            return false;
        _headerBytes = _l4 + (_tcp ? ((TcpHeader*)(frame + _l4))->HeaderLength : UdpHeader.Size);
        if (_headerBytes > MaxHeaders || _headerBytes >= length || (_tcp && _headerBytes < _l4 + TcpHeader.Size))
            return false;
        fixed (byte* headers = _headers)
            Buffer.MemoryCopy(frame, headers, MaxHeaders, _headerBytes);
        _payload = frame + _headerBytes;
        _left = length - _headerBytes;
        _sent = 0;
        _index = 0;
        return true;
    }

    /// <summary>Makes the next frame. It may be made again until <see cref="Advance"/>.</summary>
    /// <param name="length">Its bytes.</param>
    /// <returns>Its first byte.</returns>
    internal byte* Make(out int length)
    {
        int piece = Math.Min(_size, _left);
        length = _headerBytes + piece;
        byte* frame = _payload - _headerBytes;
        fixed (byte* headers = _headers)
            Buffer.MemoryCopy(headers, frame, _headerBytes, _headerBytes);
        int l4Bytes = length - _l4;
        ushort pseudo = WriteIp(frame + _l3, _l4 - _l3 + l4Bytes, l4Bytes);
        if (_tcp)
            WriteTcp((TcpHeader*)(frame + _l4), piece == _left);
        else
        {
            ((UdpHeader*)(frame + _l4))->Length = (ushort)l4Bytes;
            ((UdpHeader*)(frame + _l4))->Checksum = 0;
        }
        ushort sum = (ushort)~Checksum.AddRaw(Checksum.Raw(new ReadOnlySpan<byte>(frame + _l4, l4Bytes)), pseudo);
        *(ushort*)(frame + _l4 + (_tcp ? 16 : 6)) = sum == 0 && !_tcp ? (ushort)0xffff : sum;
        return frame;
    }

    /// <summary>Goes past the frame made last.</summary>
    internal void Advance()
    {
        int piece = Math.Min(_size, _left);
        _payload += piece;
        _sent += piece;
        _left -= piece;
        _index++;
    }

    /// <summary>Drops what is left.</summary>
    internal void Reset() => _left = 0;

    private readonly ushort WriteIp(byte* at, int l3Bytes, int l4Bytes)
    {
        if (!_v4)
        {
            var ip6 = (IPv6Header*)at;
            ip6->PayloadLength = (ushort)(l3Bytes - IPv6Header.Size);
            return Checksum.PseudoHeader(in *ip6, _tcp ? IPProtocols.Tcp : IPProtocols.Udp, l4Bytes);
        }
        var ip = (IPv4Header*)at;
        ip->TotalLength = (ushort)l3Bytes;
        ip->Identification = (ushort)(ip->Identification + _index);
        ip->Checksum = Checksum.IPv4(new ReadOnlySpan<byte>(at, _l4 - _l3));
        return Checksum.PseudoHeader(in *ip, l4Bytes);
    }

    private readonly void WriteTcp(TcpHeader* tcp, bool last)
    {
        tcp->Sequence = tcp->Sequence + (uint)_sent;
        tcp->Checksum = 0;
        if (!last)
            tcp->Flags &= ~(TcpFlags.Fin | TcpFlags.Psh);
        if (_index != 0)
            tcp->Flags &= ~TcpFlags.Cwr;   // RFC 3168 §6.1.2: only the first says so
    }
}
