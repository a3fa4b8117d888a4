using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// A plain packet socket on an interface: one system call a packet. For speed there is net_af_packet; this is for
/// command lines that name interfaces as DPDK's net_pcap does. One thread receives, one sends.
/// </summary>
internal sealed unsafe class PacketSocket : PacketSource
{
    private const int ControlBytes = 64, TagBytes = 4, TagAt = 12;

    private readonly SafeFileHandle _socket;
    private readonly int _fd;
    private readonly int _snapLength;
    private byte* _buffer;      // room for a tag, the frame, the control message
    private byte* _outgoing;    // a frame of several segments in one piece

    private PacketSocket(SafeFileHandle socket, int snapLength)
    {
        _socket = socket;
        _fd = Socket.Fd(socket);
        _snapLength = snapLength;
        _buffer = (byte*)NativeMemory.AlignedAlloc(PcapWire.MaxCaptureBytes + 4096, 64);
        _outgoing = (byte*)NativeMemory.AlignedAlloc(PcapWire.MaxCaptureBytes, 64);
    }

    /// <inheritdoc/>
    internal override bool IsOpenEnded => true;

    /// <summary>Opens a socket on an interface.</summary>
    /// <param name="device">The port's name, for messages.</param>
    /// <param name="netdev">The interface.</param>
    /// <param name="kind">Whether what is sent there is received too.</param>
    /// <param name="snapLength">Most bytes of a packet to receive.</param>
    /// <param name="receives">False: for sending alone.</param>
    /// <exception cref="DeviceException">EPERM, or the kernel's reason.</exception>
    internal static PacketSocket Open(string device, KernelInterface netdev, PcapEndKind kind, int snapLength,
        bool receives)
    {
        SafeFileHandle socket;
        try
        {
            socket = Socket.Open(Socket.AF_PACKET, Socket.SOCK_RAW, 0);
        }
        catch (NativeException e) when (e.Errno == Errno.EPERM)
        {
            throw new DeviceException($"device '{device}': no right to open a packet socket",
                why: "packet sockets need CAP_NET_RAW",
                fix: "run as root, or: sudo setcap cap_net_raw,cap_net_admin+ep PROGRAM", errno: Errno.EPERM);
        }
        var opened = new PacketSocket(socket, snapLength);
        const ushort All = IfPacket.ETH_P_ALL << 8;   // network order
        var address = new sockaddr_ll
        {
            sll_family = Socket.AF_PACKET,
            sll_protocol = receives ? All : (ushort)0,
            sll_ifindex = netdev.Index,
        };
        bool done = Socket.TrySetOption(socket, Socket.SOL_PACKET, IfPacket.PACKET_AUXDATA, 1)
            && (kind != PcapEndKind.InterfaceInbound
                || Socket.TrySetOption(socket, Socket.SOL_PACKET, IfPacket.PACKET_IGNORE_OUTGOING, 1))
            && Socket.bind(opened._fd, &address, (uint)sizeof(sockaddr_ll)) == 0;
        if (done)
        {
            // The first call of an import binds it, which takes managed memory: here, then, and not on the lcore.
            _ = Socket.recvmsg(-1, null, 0);
            _ = Socket.send(-1, null, 0, 0);
            return opened;
        }
        NativeException reason = NativeException.FromErrno("bind");
        opened.Dispose();
        throw new DeviceException($"device '{device}': cannot use interface {netdev.Name}", errno: reason.Errno);
    }

    /// <inheritdoc/>
    internal override ReadStatus Next(ref PcapRecord record)
    {
        byte* frame = _buffer + TagBytes, control = _buffer + PcapWire.MaxCaptureBytes + 64;
        var vector = new iovec { iov_base = frame, iov_len = (nuint)_snapLength };
        var message = new msghdr
        {
            msg_iov = &vector,
            msg_iovlen = 1,
            msg_control = control,
            msg_controllen = ControlBytes,
        };
        nint length = Socket.recvmsg(_fd, &message, Socket.MSG_DONTWAIT | Socket.MSG_TRUNC);
        if (length < 0)
            return ReadStatus.End;   // nothing there, or the interface is down; GetLink tells which
        record.Nanoseconds = (ulong)Clock.Nanoseconds(Clock.CLOCK_REALTIME);
        record.Data = frame;
        record.OriginalLength = (uint)length;
        record.Length = (uint)Math.Min(length, _snapLength);
        record.IsFirst = false;
        // cmsghdr is length, level and type in 16 bytes; the only control message asked for is the auxiliary data.
        if (message.msg_controllen >= (nuint)(16 + sizeof(tpacket_auxdata)))
            RestoreTag((tpacket_auxdata*)(control + 16), ref record);
        return ReadStatus.Packet;
    }

    /// <summary>Sends a packet. Data path.</summary>
    /// <returns>Why it could not be sent; EAGAIN and ENOBUFS pass.</returns>
    internal Errno Send(MbufHeader* mbuf)
    {
        byte* data = mbuf->BufAddr + mbuf->DataOff;
        if (mbuf->Next != null)
        {
            if (mbuf->PktLen > PcapWire.MaxCaptureBytes)
                return Errno.EMSGSIZE;
            new Mbuf(mbuf).CopyTo(new Span<byte>(_outgoing, (int)mbuf->PktLen));
            data = _outgoing;
        }
        return Socket.send(_fd, data, mbuf->PktLen, Socket.MSG_DONTWAIT) >= 0
            ? Errno.None : (Errno)Marshal.GetLastPInvokeError();
    }

    /// <inheritdoc/>
    /// <remarks>What came in while the port was stopped is not received.</remarks>
    internal override void Rewind()
    {
        PcapRecord old = default;
        for (int i = 0; i < 100_000 && Next(ref old) == ReadStatus.Packet; i++)
            continue;
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        NativeMemory.AlignedFree(_buffer);
        NativeMemory.AlignedFree(_outgoing);
        _buffer = _outgoing = null;
        _socket.Dispose();
    }

    /// <summary>The kernel took the VLAN tag out of the frame; it goes back to where it was.</summary>
    private static void RestoreTag(tpacket_auxdata* aux, ref PcapRecord record)
    {
        if ((aux->tp_status & IfPacket.TP_STATUS_VLAN_VALID) == 0 || record.Length < TagAt)
            return;
        bool known = (aux->tp_status & IfPacket.TP_STATUS_VLAN_TPID_VALID) != 0;
        ushort type = known ? aux->tp_vlan_tpid : IfPacket.ETH_P_8021Q;
        Buffer.MemoryCopy(record.Data, record.Data - TagBytes, TagAt, TagAt);
        record.Data -= TagBytes;
        record.Data[TagAt] = (byte)(type >> 8);
        record.Data[TagAt + 1] = (byte)type;
        record.Data[TagAt + 2] = (byte)(aux->tp_vlan_tci >> 8);
        record.Data[TagAt + 3] = (byte)aux->tp_vlan_tci;
        record.Length += TagBytes;
        record.OriginalLength += TagBytes;
    }
}
