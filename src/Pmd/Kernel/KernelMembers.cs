using System.Runtime.InteropServices;
using Dataplane.Native;
using Dataplane.Net;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>What an interface of the kernel receives beyond its own address: memberships of a packet socket, which end
/// with it whatever happens. The socket is opened at the first. Control path.</summary>
internal sealed unsafe class KernelMembers(string device, KernelInterface netdev) : IDisposable
{
    private SafeFileHandle? _socket;

    /// <summary>A packet socket that receives nothing yet.</summary>
    /// <param name="device">The port's name, for messages.</param>
    /// <exception cref="DeviceException">EPERM.</exception>
    internal static SafeFileHandle OpenSocket(string device)
    {
        try
        {
            return Socket.Open(Socket.AF_PACKET, Socket.SOCK_RAW, 0);
        }
        catch (NativeException e) when (e.Errno == Errno.EPERM)
        {
            throw new DeviceException($"device '{device}': no right to open a packet socket",
                why: "packet sockets need CAP_NET_RAW",
                fix: "run as root, or: sudo setcap cap_net_raw,cap_net_admin+ep PROGRAM", errno: Errno.EPERM);
        }
    }

    /// <summary>Receives for one more address, or one fewer.</summary>
    internal void SetAddress(bool on, MacAddress address) =>
        Set(on, address.IsMulticast ? IfPacket.PACKET_MR_MULTICAST : IfPacket.PACKET_MR_UNICAST, address);

    /// <summary>Joins or leaves.</summary>
    /// <param name="on">Which.</param>
    /// <param name="kind">PACKET_MR_*.</param>
    /// <param name="address">Where the kind has one.</param>
    /// <exception cref="DeviceException">EPERM; the interface is gone.</exception>
    internal void Set(bool on, ushort kind, MacAddress address = default)
    {
        _socket ??= OpenSocket(device);
        var member = new packet_mreq { mr_ifindex = netdev.Index, mr_type = kind, mr_alen = 6 };
        address.Write(new Span<byte>(member.mr_address, 6));
        int option = on ? IfPacket.PACKET_ADD_MEMBERSHIP : IfPacket.PACKET_DROP_MEMBERSHIP;
        if (Socket.TrySetOption(_socket, Socket.SOL_PACKET, option, member) || !on)
            return;   // dropping fails only where the interface is gone
        var errno = (Errno)Marshal.GetLastPInvokeError();
        throw new DeviceException($"device '{device}': cannot change what {netdev.Name} receives", errno: errno);
    }

    /// <inheritdoc/>
    public void Dispose() => _socket?.Dispose();
}
