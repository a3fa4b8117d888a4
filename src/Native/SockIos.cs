using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>Settings of network interfaces. net/if.h, linux/sockios.h, net/if_arp.h.</summary>
internal static unsafe partial class SockIos
{
    internal const nuint SIOCGIFFLAGS = 0x8913, SIOCSIFFLAGS = 0x8914, SIOCGIFMTU = 0x8921, SIOCSIFMTU = 0x8922,
        SIOCSIFHWADDR = 0x8924, SIOCGIFHWADDR = 0x8927, SIOCGIFINDEX = 0x8933;
    internal const short IFF_UP = 0x1, IFF_LOOPBACK = 0x8, IFF_RUNNING = 0x40;
    internal const ushort ARPHRD_ETHER = 1;
    internal const int IFNAMSIZ = 16;

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int ioctl(int fd, nuint request, void* argp);

    /// <summary>One SIOC* call on the interface named in <paramref name="request"/>; 0 or the kernel's
    /// reason.</summary>
    internal static Errno Call(SafeFileHandle socket, nuint command, ref ifreq request)
    {
        fixed (ifreq* pointer = &request)
            return ioctl(Socket.Fd(socket), command, pointer) < 0 ? (Errno)Marshal.GetLastPInvokeError() : Errno.None;
    }
}

/// <summary>net/if.h: a name and a union, here with the members used.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal unsafe struct ifreq
{
    [FieldOffset(0)] internal fixed byte ifr_name[SockIos.IFNAMSIZ];
    [FieldOffset(16)] internal int ifr_ifindex;
    [FieldOffset(16)] internal int ifr_mtu;
    [FieldOffset(16)] internal short ifr_flags;
    [FieldOffset(16)] internal ushort ifr_hwaddr_family;
    [FieldOffset(18)] internal fixed byte ifr_hwaddr_data[14];

    /// <summary>A request for an interface; names of 16 bytes or more cannot exist and are cut.</summary>
    internal ifreq(string name)
    {
        Span<byte> bytes = stackalloc byte[64];
        int length = Encoding.UTF8.TryGetBytes(name, bytes, out int written) ? written : 0;
        for (int i = 0; i < Math.Min(length, SockIos.IFNAMSIZ - 1); i++)
            ifr_name[i] = bytes[i];
    }

    /// <summary>The name in it.</summary>
    internal readonly string Name
    {
        get
        {
            fixed (byte* name = ifr_name)
                return Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name));
        }
    }
}
