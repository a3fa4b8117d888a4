using System.Globalization;
using Dataplane.Native;
using Dataplane.Net;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// A network interface of the kernel, its settings by ioctl; what it changes it puts back on dispose. Control path.
/// </summary>
internal sealed unsafe class KernelInterface : IDisposable
{
    private readonly SafeFileHandle _socket;
    private readonly string _device;
    private int? _mtuBefore;
    private MacAddress? _macBefore;
    private LinkStatus _link;
    private bool _removed;

    private KernelInterface(SafeFileHandle socket, string device, string name)
    {
        _socket = socket;
        _device = device;
        Name = name;
    }

    /// <summary>The interface's name.</summary>
    internal string Name { get; }

    /// <summary>Its number; another interface of the same name has another.</summary>
    internal int Index { get; private set; }

    /// <summary>Finds an interface.</summary>
    /// <param name="device">The port's name, for messages.</param>
    /// <param name="name">The interface's name.</param>
    /// <exception cref="DeviceException">There is none of that name.</exception>
    internal static KernelInterface Open(string device, string name)
    {
        var found = new KernelInterface(Socket.Open(Socket.AF_INET, Socket.SOCK_DGRAM, 0), device, name);
        var request = new ifreq(name);
        if (found.Call(SockIos.SIOCGIFINDEX, ref request) is var errno && errno != Errno.None)
        {
            found.Dispose();
            throw new DeviceException($"device '{device}': there is no interface '{name}'",
                fix: "iface= takes one of: " + string.Join(", ", Names()), errno: errno);
        }
        found.Index = request.ifr_ifindex;
        return found;
    }

    /// <summary>False once the interface is deleted, renamed or moved to another namespace.</summary>
    internal bool Exists
    {
        get
        {
            var request = new ifreq(Name);
            return Call(SockIos.SIOCGIFINDEX, ref request) == Errno.None && request.ifr_ifindex == Index;
        }
    }

    /// <summary>Administratively up, and with carrier; down when the interface is gone.</summary>
    internal LinkStatus GetLink()
    {
        var request = new ifreq(Name);
        const short Running = SockIos.IFF_UP | SockIos.IFF_RUNNING;
        bool up = Exists && Call(SockIos.SIOCGIFFLAGS, ref request) == Errno.None
            && (request.ifr_flags & Running) == Running;
        return new LinkStatus(up, up ? GetSpeedMbps() : 0);
    }

    /// <summary>The same, and what has changed since the last call is told.</summary>
    /// <param name="raise">Called with each event.</param>
    internal LinkStatus PollLink(Action<PortEvent> raise)
    {
        LinkStatus link = GetLink();
        if (link != _link)
        {
            _link = link;
            raise(PortEvent.LinkChanged);
        }
        if (!link.Up && !_removed && !Exists)
        {
            _removed = true;
            raise(PortEvent.Removed);
        }
        return link;
    }

    /// <summary>The MTU in bytes.</summary>
    internal int GetMtu() => Require(SockIos.SIOCGIFMTU, new ifreq(Name), "read the MTU of").ifr_mtu;

    /// <summary>Sets the MTU, bytes.</summary>
    /// <exception cref="DeviceException">EPERM, or EINVAL for one the interface cannot have.</exception>
    internal void SetMtu(int mtu)
    {
        int before = GetMtu();
        if (before == mtu)
            return;
        _ = Require(SockIos.SIOCSIFMTU, new ifreq(Name) { ifr_mtu = mtu }, $"set MTU {mtu} on");
        _mtuBefore ??= before;
    }

    /// <summary>The hardware address; all zero where it has none.</summary>
    internal MacAddress GetMac()
    {
        ifreq request = Require(SockIos.SIOCGIFHWADDR, new ifreq(Name), "read the address of");
        return request.ifr_hwaddr_family == SockIos.ARPHRD_ETHER
            ? MacAddress.Read(new ReadOnlySpan<byte>(request.ifr_hwaddr_data, 6))
            : default;
    }

    /// <summary>Sets the hardware address.</summary>
    /// <exception cref="DeviceException">EPERM, EBUSY (some drivers want the interface down),
    /// EADDRNOTAVAIL.</exception>
    internal void SetMac(MacAddress mac)
    {
        MacAddress before = GetMac();
        if (before == mac)
            return;
        var request = new ifreq(Name) { ifr_hwaddr_family = SockIos.ARPHRD_ETHER };
        mac.Write(new Span<byte>(request.ifr_hwaddr_data, 6));
        _ = Require(SockIos.SIOCSIFHWADDR, request, $"set address {mac} on");
        _macBefore ??= before;
    }

    /// <summary>Sets the interface administratively up or down.</summary>
    /// <exception cref="DeviceException">EPERM.</exception>
    internal void SetUp(bool up)
    {
        ifreq request = Require(SockIos.SIOCGIFFLAGS, new ifreq(Name), "read the flags of");
        short flags = (short)(up ? request.ifr_flags | SockIos.IFF_UP : request.ifr_flags & ~SockIos.IFF_UP);
        if (flags != request.ifr_flags)
            _ = Require(SockIos.SIOCSIFFLAGS, new ifreq(Name) { ifr_flags = flags }, up ? "set up" : "set down");
    }

    /// <summary>
    /// Sets the interface up and waits, 200 ms at most, until the kernel sends by it: it follows a carrier that just
    /// came on behind its back, and drops packets until then.
    /// </summary>
    internal void SetUpAndWait()
    {
        SetUp(true);
        _ = SpinWait.SpinUntil(() => GetLink().Up, 200);
        ifreq flags = Require(SockIos.SIOCGIFFLAGS, new ifreq(Name), "read the flags of");
        // Sets nothing new, but waits for the lock under which that happens.
        _ = Require(SockIos.SIOCSIFFLAGS, new ifreq(Name) { ifr_flags = flags.ifr_flags }, "set up");
    }

    /// <summary>Puts back MTU and address where the interface still exists, and lets go of it.</summary>
    public void Dispose()
    {
        if (_socket.IsClosed)
            return;
        if ((_mtuBefore ?? -1) != -1 || _macBefore != null)
            Restore();
        _socket.Dispose();
    }

    private void Restore()
    {
        if (!Exists)
            return;
        var request = new ifreq(Name) { ifr_mtu = _mtuBefore ?? 0 };
        if (_mtuBefore != null)
            _ = Call(SockIos.SIOCSIFMTU, ref request);
        if (_macBefore is not { } mac)
            return;
        request = new ifreq(Name) { ifr_hwaddr_family = SockIos.ARPHRD_ETHER };
        mac.Write(new Span<byte>(request.ifr_hwaddr_data, 6));
        _ = Call(SockIos.SIOCSIFHWADDR, ref request);
    }

    private uint GetSpeedMbps()
    {
        try
        {
            string text = File.ReadAllText($"/sys/class/net/{Name}/speed");
            return int.TryParse(text, CultureInfo.InvariantCulture, out int speed) && speed > 0 ? (uint)speed : 0;
        }
        catch (IOException)
        {
            return 0;   // no speed, or /sys shows another namespace
        }
    }

    private static IEnumerable<string> Names() =>
        Directory.Exists("/sys/class/net") ? Directory.GetDirectories("/sys/class/net").Select(d => Path.GetFileName(d))
        .Order() : [];

    private Errno Call(nuint command, ref ifreq request) => SockIos.Call(_socket, command, ref request);

    private ifreq Require(nuint command, ifreq request, string what)
    {
        Errno errno = Call(command, ref request);
        if (errno != Errno.None)
            throw new DeviceException($"device '{_device}': cannot {what} {Name}", errno: errno,
                fix: errno == Errno.EPERM
                ? "run as root, or give the program the right: sudo setcap cap_net_admin,cap_net_raw+ep PROGRAM"
                : null);
        return request;
    }
}
