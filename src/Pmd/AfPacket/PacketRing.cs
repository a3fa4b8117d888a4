using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>A packet socket, once <see cref="Map"/> was called with a memory-mapped ring. Control path; the data
/// path takes <see cref="Base"/> and <see cref="Fd"/>.</summary>
internal sealed unsafe class PacketRing : IDisposable
{
    private readonly SafeFileHandle _socket;
    private readonly AfPacketPort _port;
    private nuint _bytes;

    internal PacketRing(AfPacketPort port, int version)
    {
        _port = port;
        _socket = port.OpenSocket();
        try
        {
            // Both must come before the ring: with a ring in place the kernel answers EBUSY.
            Set(IfPacket.PACKET_VERSION, version, "PACKET_VERSION");
            Set(IfPacket.PACKET_VNET_HDR, 1, "PACKET_VNET_HDR");
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    /// <summary>First byte of the ring.</summary>
    internal byte* Base { get; private set; }

    /// <summary>The socket's descriptor.</summary>
    internal int Fd => Socket.Fd(_socket);

    internal SafeFileHandle Handle => _socket;

    /// <summary>Makes the ring and maps it.</summary>
    /// <exception cref="DeviceException">ENOMEM, EINVAL: the kernel cannot have a ring of that shape.</exception>
    internal void Map<T>(int option, T request, int blockBytes, int blocks) where T : unmanaged
    {
        if (!Socket.TrySetOption(_socket, Socket.SOL_PACKET, option, request))
            throw Refused($"a ring of {blocks} blocks of {blockBytes} bytes", "use a smaller framecnt= or blocksz=");
        _bytes = (nuint)blockBytes * (nuint)blocks;
        void* map = Mman.mmap(null, _bytes, Mman.PROT_READ | Mman.PROT_WRITE, Mman.MAP_SHARED | Mman.MAP_POPULATE, Fd,
            0);
        if (map == Mman.MAP_FAILED)
            throw Refused($"mapping a ring of {_bytes} bytes", "use a smaller framecnt= or blocksz=");
        Base = (byte*)map;
    }

    /// <summary>Ties the socket to the interface; with a protocol, it receives from now on.</summary>
    internal void Bind(ushort protocol)
    {
        var address = new sockaddr_ll
        {
            sll_family = Socket.AF_PACKET,
            sll_protocol = (ushort)(protocol << 8 | protocol >> 8),
            sll_ifindex = _port.Netdev.Index,
        };
        if (Socket.bind(Fd, &address, (uint)sizeof(sockaddr_ll)) < 0)
            throw Refused("binding to the interface", null);
    }

    /// <summary>setsockopt at SOL_PACKET.</summary>
    internal void Set<T>(int option, T value, string name) where T : unmanaged
    {
        if (!Socket.TrySetOption(_socket, Socket.SOL_PACKET, option, value))
            throw Refused(name, null);
    }

    /// <summary>setsockopt at SOL_PACKET where the port can do without.</summary>
    internal bool TrySet<T>(int option, T value) where T : unmanaged =>
        Socket.TrySetOption(_socket, Socket.SOL_PACKET, option, value);

    /// <summary>setsockopt at SOL_SOCKET where the port can do without.</summary>
    internal bool TrySetSocket<T>(int option, T value) where T : unmanaged =>
        Socket.TrySetOption(_socket, Socket.SOL_SOCKET, option, value);

    /// <summary>Lets no packet in, before <see cref="Bind"/>.</summary>
    internal void DenyAll()
    {
        var reject = new sock_filter { code = Filter.BPF_RET_K, k = 0 };
        var program = new sock_fprog { len = 1, filter = &reject };
        if (!Socket.TrySetOption(_socket, Socket.SOL_SOCKET, Socket.SO_ATTACH_FILTER, program))
            throw Refused("a socket filter", null);
    }

    /// <summary>Takes <see cref="DenyAll"/> back.</summary>
    internal void AllowAll() => _ = Socket.TrySetOption(_socket, Socket.SOL_SOCKET, Socket.SO_DETACH_FILTER, 0);

    /// <summary>Shares the interface's packets with the port's other queues.</summary>
    /// <param name="mode">PACKET_FANOUT_*.</param>
    /// <param name="group">The group's id, -1 to have the kernel choose one.</param>
    internal void JoinFanout(int mode, ref int group)
    {
        int unique = group < 0 ? IfPacket.PACKET_FANOUT_FLAG_UNIQUEID : 0;
        Set(IfPacket.PACKET_FANOUT, (mode | unique) << 16 | Math.Max(group, 0), "PACKET_FANOUT");
        int value;
        uint length = sizeof(int);
        if (Socket.getsockopt(Fd, Socket.SOL_PACKET, IfPacket.PACKET_FANOUT, &value, &length) == 0)
            group = value & 0xffff;
    }

    /// <summary>Packets the kernel found no room for since the last call. Data path, where packets were lost.</summary>
    internal uint TakeDrops()
    {
        tpacket_stats_v3 stats;
        uint length = (uint)sizeof(tpacket_stats_v3);
        return Socket.getsockopt(Fd, Socket.SOL_PACKET, IfPacket.PACKET_STATISTICS, &stats, &length) == 0
            ? stats.tp_drops : 0;
    }

    /// <summary>Unmaps the ring and closes the socket.</summary>
    public void Dispose()
    {
        if (Base != null)
            _ = Mman.munmap(Base, _bytes);
        Base = null;
        _socket.Dispose();
    }

    private DeviceException Refused(string what, string? fix)
    {
        NativeException kernel = NativeException.FromErrno(what);
        return new DeviceException($"device '{_port.Name}', interface {_port.Options.Interface}: the kernel refused "
            + $"{what}", fix: fix, errno: kernel.Errno);
    }
}
