using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>Messages of the kernel. linux/netlink.h.</summary>
internal static unsafe class Netlink
{
    internal const int NETLINK_KOBJECT_UEVENT = 15;

    private const uint KernelGroup = 1;   // the kernel's own messages; udev sends its own to group 2

    /// <summary>12 bytes.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 12)]
    internal struct sockaddr_nl
    {
        [FieldOffset(0)] internal ushort nl_family;
        [FieldOffset(2)] internal ushort nl_pad;
        [FieldOffset(4)] internal uint nl_pid;
        [FieldOffset(8)] internal uint nl_groups;
    }

    /// <summary>A socket that gets what happens to devices. Any user.</summary>
    /// <exception cref="NativeException">The kernel gives none.</exception>
    internal static SafeFileHandle OpenUevents()
    {
        SafeFileHandle fd = Socket.Open(Socket.AF_NETLINK, Socket.SOCK_DGRAM | Socket.SOCK_NONBLOCK,
            NETLINK_KOBJECT_UEVENT);
        var address = new sockaddr_nl { nl_family = Socket.AF_NETLINK, nl_groups = KernelGroup };
        if (Socket.bind(Socket.Fd(fd), &address, (uint)sizeof(sockaddr_nl)) == 0)
            return fd;
        NativeException failure = NativeException.FromErrno("bind AF_NETLINK, NETLINK_KOBJECT_UEVENT");
        fd.Dispose();
        throw failure;
    }

    /// <summary>Takes one message; 0 where there is none.</summary>
    /// <param name="fd">From <see cref="OpenUevents"/>.</param>
    /// <param name="buffer">Where to put it; what does not fit is cut off.</param>
    /// <param name="isFromKernel">The kernel sent it, and no process.</param>
    /// <exception cref="NativeException">ENOBUFS: messages were lost.</exception>
    internal static int Receive(SafeFileHandle fd, Span<byte> buffer, out bool isFromKernel)
    {
        var sender = new sockaddr_nl { nl_pid = uint.MaxValue };
        fixed (byte* start = buffer)
        {
            var part = new iovec { iov_base = start, iov_len = (nuint)buffer.Length };
            var message = new msghdr
            {
                msg_name = &sender, msg_namelen = (uint)sizeof(sockaddr_nl), msg_iov = &part, msg_iovlen = 1,
            };
            nint count = Socket.recvmsg(Socket.Fd(fd), &message, Socket.MSG_DONTWAIT);
            isFromKernel = sender.nl_pid == 0;
            if (count >= 0)
                return (int)count;
            return (Errno)Marshal.GetLastPInvokeError() is Errno.EAGAIN or Errno.EINTR ? 0
                : throw NativeException.FromErrno("recvmsg AF_NETLINK");
        }
    }
}
