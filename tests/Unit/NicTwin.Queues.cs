using Dataplane.Native;
using Dataplane.Net;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

internal sealed unsafe class NicTwinRx : RxQueue, IDisposable
{
    private const int FrameBytes = 9216, Slots = 128;

    private readonly NicTwin _port;
    private readonly byte[] _frames = new byte[FrameBytes * Slots];
    private readonly (int Length, uint Hash)[] _slots = new (int, uint)[Slots];
    private readonly SafeFileHandle _fd = Eventfd.Create();
    private int _first, _count;
    private bool _armed;

    internal NicTwinRx(NicTwin port, int index, Mempool pool, RxQueueConfig config) : base(port, index, pool)
    {
        _port = port;
        Offloads = config.Offloads;
    }

    private RxOffloads Offloads { get; }

    public override int WaitingCount => _count;

    public override SafeFileHandle? InterruptFd => _port.Config.RxInterrupts ? _fd : null;

    public override void EnableInterrupt()
    {
        _armed = true;
        if (_port.Defect == NicDefect.InterruptOnSilence)
            Eventfd.Signal(_fd);
    }

    public override void DisableInterrupt()
    {
        _armed = _port.Defect == NicDefect.InterruptAlways;
        Eventfd.Drain(_fd);
    }

    public override DescriptorStatus GetDescriptorStatus(int offset) =>
        offset < _count && _port.Defect != NicDefect.StatusNeverDone ? DescriptorStatus.Done
            : DescriptorStatus.WithDevice;

    public void Dispose() => _fd.Dispose();

    internal void Take(ReadOnlySpan<byte> frame, uint hash)
    {
        if (_count == Slots)
        {
            Stats->Missed++;
            return;
        }
        int slot = (_first + _count++) % Slots;
        frame.CopyTo(_frames.AsSpan(slot * FrameBytes));
        _slots[slot] = (frame.Length, hash);
        if (_armed && _port.Defect != NicDefect.InterruptLost)
            Eventfd.Signal(_fd);
        _armed &= _port.Defect == NicDefect.InterruptAlways;
    }

    protected override int Receive(Span<Mbuf> burst)
    {
        int received = 0;
        while (received < burst.Length && _count > 0)
        {
            (int length, uint hash) = _slots[_first];
            if (!TryMake(_frames.AsSpan(_first * FrameBytes, length), hash, out burst[received]))
            {
                Stats->NoMbuf += _port.Defect == NicDefect.NoMbufUncounted ? 0u : 1;
                break;
            }
            Stats->Bytes += burst[received++].Header->PktLen;
            _first = (_first + 1) % Slots;
            _count--;
        }
        return received;
    }

    protected internal override void Drain() => (_first, _count) = (0, 0);

    protected internal override void Release() => _fd.Dispose();

    private bool TryMake(Span<byte> frame, uint hash, out Mbuf packet)
    {
        MbufFlags flags = Check(frame);
        ushort tci = 0;
        bool asked = (Offloads & RxOffloads.VlanStrip) != 0;
        if ((asked || _port.Defect == NicDefect.StripsAlways) && frame[12] == 0x81 && frame[13] == 0)
        {
            tci = (ushort)(frame[14] << 8 | frame[15]);
            frame[..12].CopyTo(frame[4..]);
            frame = frame[4..];
            if (_port.Defect != NicDefect.StripsInSilence)
                flags |= MbufFlags.RxVlan | MbufFlags.RxVlanStripped;
        }
        packet = default;
        for (int at = 0; at < frame.Length;)
        {
            if (!Pool.TryAlloc(out Mbuf segment))
            {
                if (!packet.IsNull)
                    packet.Free();
                return false;
            }
            int bytes = Math.Min(segment.Tailroom, frame.Length - at);
            bool cut = _port.Defect == NicDefect.ScatterCutsShort && at > 0;
            frame.Slice(at, bytes).CopyTo(new Span<byte>(segment.Append(cut ? bytes - 1 : bytes), bytes));
            at += bytes;
            if (packet.IsNull)
                packet = segment;
            else
                packet.TryChain(segment);
        }
        packet.Port = _port.Id;
        packet.VlanTci = tci;
        if ((Offloads & RxOffloads.RssHash) != 0 && _port.Defect != NicDefect.NoHash)
            (packet.RssHash, flags) = (hash, flags | MbufFlags.RxRssHash);
        packet.Flags = flags;
        return true;
    }

    private MbufFlags Check(ReadOnlySpan<byte> frame)
    {
        uint type = PacketParser.Parse(frame, out HeaderLengths lengths);
        bool v4 = PacketType.IsIpv4(type);
        if (!v4 && !PacketType.IsIpv6(type))
            return MbufFlags.None;
        MbufFlags flags = MbufFlags.None;
        if ((Offloads & RxOffloads.Ipv4Checksum) != 0 && v4)
            flags |= Checksum.VerifyIPv4(frame.Slice(lengths.L2, lengths.L3)) || Sloppy
                ? MbufFlags.RxIpChecksumGood : MbufFlags.RxIpChecksumBad;
        if ((type & PacketType.L4Mask) is not (PacketType.L4Tcp or PacketType.L4Udp)
            || (Offloads & RxOffloads.TcpChecksum) == 0)
            return flags;
        ReadOnlySpan<byte> l3 = frame[lengths.L2..], l4 = frame[lengths.L4Offset..];
        bool right = v4 ? Checksum.VerifyUdpTcp(in l3.HeaderAt<IPv4Header>(), l4)
            : Checksum.VerifyUdpTcp(in l3.HeaderAt<IPv6Header>(), l3[6], l4);
        right &= _port.Defect != NicDefect.ChecksumsSometimesBad || frame.Length > 200;
        return flags | (right || Sloppy ? MbufFlags.RxL4ChecksumGood : MbufFlags.RxL4ChecksumBad);
    }

    private bool Sloppy => _port.Defect == NicDefect.ChecksumsAlwaysGood;
}

internal sealed unsafe class NicTwinTx(NicTwin port, int index) : TxQueue(port, index)
{
    private readonly byte[] _whole = new byte[70_000], _piece = new byte[10_000];

    public override DescriptorStatus GetDescriptorStatus(int offset) => DescriptorStatus.Done;

    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        foreach (Mbuf packet in packets)
        {
            int length = packet.CopyTo(_whole);
            if ((packet.Flags & MbufFlags.TxTcpSegment) != 0)
                SendSegments(packet, length);
            else
                Send(packet, _whole.AsSpan(0, length));
            packet.Free();
        }
        return packets.Length;
    }

    private void SendSegments(Mbuf packet, int length)
    {
        int headers = packet.TxL2Length + packet.TxL3Length + packet.TxL4Length, size = packet.TxSegmentSize;
        for (int at = headers, i = 0; at < length; at += size, i++)
        {
            int bytes = Math.Min(size, length - at);
            Span<byte> segment = _piece.AsSpan(0, headers + bytes);
            _whole.AsSpan(0, headers).CopyTo(segment);
            _whole.AsSpan(at, bytes).CopyTo(segment[headers..]);
            Span<byte> l3 = segment[packet.TxL2Length..];
            ref TcpHeader tcp = ref l3.HeaderAt<TcpHeader>(packet.TxL3Length);
            if (port.Defect != NicDefect.SegmentsUnnumbered)
                tcp.Sequence = tcp.Sequence + (uint)(at - headers);
            if (at + bytes < length && port.Defect != NicDefect.SegmentsAllLast)
                tcp.Flags &= ~(TcpFlags.Fin | TcpFlags.Psh);
            if ((packet.Flags & MbufFlags.TxIpv6) != 0)
                l3.HeaderAt<IPv6Header>().PayloadLength = (ushort)(l3.Length - packet.TxL3Length);
            else
            {
                ref IPv4Header ip = ref l3.HeaderAt<IPv4Header>();
                ip.TotalLength = (ushort)l3.Length;
                ip.Identification = (ushort)(ip.Identification + i);
            }
            Send(packet, segment);
        }
    }

    private void Send(Mbuf packet, Span<byte> frame)
    {
        Fill(packet, frame);
        // The offload as such, not this packet's length: Bytes are those of the packet given.
        Stats->Bytes += (uint)frame.Length;
        if ((packet.Flags & MbufFlags.TxVlan) == 0)
        {
            port.Peer?.Arrive(frame);
            return;
        }
        Span<byte> tagged = stackalloc byte[frame.Length + 4];
        frame[..12].CopyTo(tagged);
        int tci = port.Defect == NicDefect.InsertsVlanAlone ? packet.VlanTci & 0xfff : packet.VlanTci;
        (tagged[12], tagged[13], tagged[14], tagged[15]) = (0x81, 0, (byte)(tci >> 8), (byte)tci);
        frame[12..].CopyTo(tagged[16..]);
        port.Peer?.Arrive(tagged);
    }

    private void Fill(Mbuf packet, Span<byte> frame)
    {
        MbufFlags flags = packet.Flags, l4Flag = flags & MbufFlags.TxL4ChecksumMask;
        Span<byte> l3 = frame[packet.TxL2Length..], l4 = l3[packet.TxL3Length..];
        if ((flags & MbufFlags.TxIpChecksum) != 0)
            l3.HeaderAt<IPv4Header>().Checksum = Checksum.IPv4(l3[..packet.TxL3Length]);
        if (l4Flag == 0 || (l4Flag == MbufFlags.TxUdpChecksum && port.Defect == NicDefect.UdpNotFilled))
            return;
        int field = l4Flag == MbufFlags.TxTcpChecksum ? 16 : 6;
        l4.HeaderAt<Be16>(field) = 0;
        l4.HeaderAt<Be16>(field) = (flags & MbufFlags.TxIpv6) != 0
            ? Checksum.UdpTcp(in l3.HeaderAt<IPv6Header>(), l3[6], l4)
            : Checksum.UdpTcp(in l3.HeaderAt<IPv4Header>(), l4);
    }
}
