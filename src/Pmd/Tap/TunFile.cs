using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>One queue of a TUN or TAP interface: an open <c>/dev/net/tun</c>. Control path but for <see
/// cref="Fd"/>.</summary>
internal sealed unsafe class TunFile : IDisposable
{
    private const string Device = "/dev/net/tun";
    private readonly SafeFileHandle _file;
    private readonly string _port;

    /// <summary>Makes the interface, or one more queue of it.</summary>
    /// <exception cref="DeviceException">No TUN in this kernel, no right, or the name is taken.</exception>
    internal TunFile(string port, string name, bool isTap)
    {
        _port = port;
        _file = Fcntl.open(Device, Fcntl.O_RDWR | Fcntl.O_CLOEXEC | Fcntl.O_NONBLOCK, 0);
        if (_file.IsInvalid)
            throw CannotOpen((Errno)Marshal.GetLastPInvokeError());
        var request = new ifreq(name)
        {
            ifr_flags = (short)((isTap ? IfTun.IFF_TAP : IfTun.IFF_TUN) | IfTun.IFF_NO_PI | IfTun.IFF_VNET_HDR
                | IfTun.IFF_MULTI_QUEUE),
        };
        if (SockIos.Call(_file, IfTun.TUNSETIFF, ref request) is var errno && errno != Errno.None)
        {
            _file.Dispose();
            throw CannotAttach(errno, name);
        }
        InterfaceName = request.Name;
    }

    /// <summary>The interface's name.</summary>
    internal string InterfaceName { get; }

    /// <summary>The descriptor.</summary>
    internal int Fd => Socket.Fd(_file);

    internal SafeFileHandle Handle => _file;

    /// <summary>False once the interface is deleted.</summary>
    internal bool IsAttached
    {
        get
        {
            var request = default(ifreq);
            return SockIos.Call(_file, IfTun.TUNGETIFF, ref request) == Errno.None;
        }
    }

    /// <summary>What the far side sees as its cable.</summary>
    internal void SetCarrier(bool on)
    {
        int value = on ? 1 : 0;
        _ = SockIos.ioctl(Fd, IfTun.TUNSETCARRIER, &value);   // fails only where the interface is gone
    }

    /// <summary>What the kernel may leave to us: TUN_F_*.</summary>
    /// <exception cref="DeviceException">The kernel refuses.</exception>
    internal void SetOffload(uint flags)
    {
        if (SockIos.ioctl(Fd, IfTun.TUNSETOFFLOAD, (void*)flags) < 0)
            throw new DeviceException($"device '{_port}': the kernel refused offloads 0x{flags:x} on {InterfaceName}",
                errno: (Errno)Marshal.GetLastPInvokeError());
    }

    /// <summary>The interface stays when its last file is closed.</summary>
    internal void SetPersist() => _ = SockIos.ioctl(Fd, IfTun.TUNSETPERSIST, (void*)1);

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private DeviceException CannotOpen(Errno errno) => new($"device '{_port}': cannot open {Device}", errno: errno,
        fix: errno is Errno.ENOENT or Errno.ENODEV or Errno.ENXIO ? "sudo modprobe tun"
            : errno is Errno.EACCES or Errno.EPERM ? $"sudo chmod 666 {Device}, or run as root" : null);

    private DeviceException CannotAttach(Errno errno, string name) => new(
        $"device '{_port}': cannot make interface '{name}'", errno: errno,
        why: errno switch
        {
            Errno.EPERM => "making an interface needs CAP_NET_ADMIN",
            Errno.EBUSY => "another program has it",
            Errno.EINVAL => "there is one of that name which is no TAP or TUN of several queues, or the name is no "
            + "good",
            _ => null,
        },
        fix: errno switch
        {
            Errno.EPERM => "run as root, or: sudo setcap cap_net_admin,cap_net_raw+ep PROGRAM",
            Errno.EBUSY or Errno.EINVAL => $"choose another iface=, or: sudo ip link del {name}",
            _ => null,
        });
}
