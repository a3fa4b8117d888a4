using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>Sockets. sys/socket.h, asm-generic/socket.h, netinet/in.h.</summary>
internal static unsafe partial class Socket
{
    internal const int AF_UNIX = 1, AF_INET = 2, AF_NETLINK = 16, AF_PACKET = 17, AF_XDP = 44;
    internal const int SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_SEQPACKET = 5,
        SOCK_NONBLOCK = 0x800, SOCK_CLOEXEC = 0x80000;
    internal const int SOL_SOCKET = 1, SCM_RIGHTS = 1, SOL_PACKET = 263, SOL_XDP = 283;
    internal const int SO_ERROR = 4, SO_SNDBUF = 7, SO_PEERCRED = 17, SO_ATTACH_FILTER = 26, SO_DETACH_FILTER = 27,
        SO_SNDBUFFORCE = 32, SO_BUSY_POLL = 46, SO_PREFER_BUSY_POLL = 69, SO_BUSY_POLL_BUDGET = 70;
    internal const int MSG_CTRUNC = 8, MSG_TRUNC = 0x20, MSG_DONTWAIT = 0x40, MSG_NOSIGNAL = 0x4000,
        MSG_CMSG_CLOEXEC = 0x40000000;

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int socket(int domain, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int bind(int fd, void* addr, uint addrlen);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int listen(int fd, int backlog);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int accept4(int fd, void* addr, uint* addrlen, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int connect(int fd, void* addr, uint addrlen);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int setsockopt(int fd, int level, int optname, void* optval, uint optlen);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int getsockopt(int fd, int level, int optname, void* optval, uint* optlen);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint send(int fd, void* buf, nuint len, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint recv(int fd, void* buf, nuint len, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint sendmsg(int fd, msghdr* msg, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint recvmsg(int fd, msghdr* msg, int flags);

    /// <summary>A socket that closes itself.</summary>
    /// <exception cref="NativeException">EPERM: the kind of socket needs a capability.</exception>
    internal static SafeFileHandle Open(int domain, int type, int protocol)
    {
        int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
        if (fd < 0)
            throw NativeException.FromErrno($"socket({domain}, {type & 0xf}, {protocol})");
        return new SafeFileHandle(fd, ownsHandle: true);
    }

    /// <summary>setsockopt of a value that has no pointers in it.</summary>
    /// <exception cref="NativeException">The kernel's reason; <paramref name="name"/> is in the message.</exception>
    internal static void SetOption<T>(SafeFileHandle fd, int level, int option, T value, string name) where T
        : unmanaged
    {
        if (!TrySetOption(fd, level, option, value))
            throw NativeException.FromErrno($"setsockopt {name}");
    }

    /// <summary>Like <see cref="SetOption"/>, false where the kernel refuses.</summary>
    internal static bool TrySetOption<T>(SafeFileHandle fd, int level, int option, T value) where T : unmanaged =>
        setsockopt(Fd(fd), level, option, &value, (uint)sizeof(T)) == 0;

    /// <summary>getsockopt of a value that has no pointers in it; false where the kernel refuses.</summary>
    internal static bool TryGetOption<T>(SafeFileHandle fd, int level, int option, out T value) where T : unmanaged
    {
        value = default;
        uint length = (uint)sizeof(T);
        fixed (T* pointer = &value)
            return getsockopt(Fd(fd), level, option, pointer, &length) == 0;
    }

    /// <summary>The descriptor's number, for calls that must not count references (data path).</summary>
    internal static int Fd(SafeFileHandle handle) => (int)handle.DangerousGetHandle();
}

/// <summary>sys/socket.h, 56 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 56)]
internal unsafe struct msghdr
{
    [FieldOffset(0)] internal void* msg_name;
    [FieldOffset(8)] internal uint msg_namelen;
    [FieldOffset(16)] internal iovec* msg_iov;
    [FieldOffset(24)] internal nuint msg_iovlen;
    [FieldOffset(32)] internal void* msg_control;
    [FieldOffset(40)] internal nuint msg_controllen;
    [FieldOffset(48)] internal int msg_flags;
}
