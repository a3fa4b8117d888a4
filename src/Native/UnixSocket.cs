using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>Who is at the other end of a Unix socket. sys/socket.h, 12 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 12)]
internal struct ucred
{
    [FieldOffset(0)] internal int pid;
    [FieldOffset(4)] internal uint uid;
    [FieldOffset(8)] internal uint gid;
}

/// <summary>sys/un.h, 110 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 110)]
internal unsafe struct sockaddr_un
{
    [FieldOffset(0)] internal ushort sun_family;
    [FieldOffset(2)] internal fixed byte sun_path[108];
}

/// <summary>
/// A socket of this machine's processes, which carries files beside bytes: for control planes. Never blocks, so it
/// suits one thread that waits for many. One thread at a time. unix(7), cmsg(3).
/// </summary>
internal sealed unsafe class UnixSocket : IDisposable
{
    /// <summary>The most files in one message. linux/net/scm.h, SCM_MAX_FD.</summary>
    internal const int MaxFiles = 253;

    private const int HeaderSize = 16;   // struct cmsghdr: length, level, type

    private readonly string? _unlink;

    private UnixSocket(SafeFileHandle handle, string? unlink)
    {
        Handle = handle;
        _unlink = unlink;
    }

    internal SafeFileHandle Handle { get; }

    /// <summary>The process that connected or listens, as it was then. SO_PEERCRED.</summary>
    /// <exception cref="NativeException">Not connected.</exception>
    internal ucred Peer
    {
        get
        {
            ucred peer;
            uint length = (uint)sizeof(ucred);
            return Socket.getsockopt(Socket.Fd(Handle), Socket.SOL_SOCKET, Socket.SO_PEERCRED, &peer, &length) == 0
                ? peer : throw NativeException.FromErrno("getsockopt SO_PEERCRED");
        }
    }

    /// <summary>Listens at a path. The file is removed by <see cref="Dispose"/>; one that a dead process left is
    /// replaced.</summary>
    /// <param name="path">At most 107 bytes of UTF-8; with @ in front, a name without a file.</param>
    /// <param name="type">SOCK_STREAM or SOCK_SEQPACKET.</param>
    /// <param name="mode">Who may connect, as of a file.</param>
    /// <exception cref="NativeException">EADDRINUSE: a process listens there; or the kernel's reason.</exception>
    internal static UnixSocket Listen(string path, int type, UnixFileMode mode = UnixFileMode.UserRead
        | UnixFileMode.UserWrite)
    {
        sockaddr_un address = ToAddress(path, out uint length);
        SafeFileHandle fd = Socket.Open(Socket.AF_UNIX, type | Socket.SOCK_NONBLOCK, 0);
        bool isFile = path[0] != '@';
        try
        {
            int failed = Socket.bind(Socket.Fd(fd), &address, length);
            if (failed != 0)
            {
                NativeException failure = NativeException.FromErrno($"bind '{path}'");
                if (!isFile || failure.Errno != Errno.EADDRINUSE || !IsDead(path, type))
                    throw failure;
                File.Delete(path);
                if (Socket.bind(Socket.Fd(fd), &address, length) != 0)
                    throw NativeException.FromErrno($"bind '{path}'");
            }
            if (isFile && Unistd.chmod(path, (uint)mode) != 0)
                throw NativeException.FromErrno($"chmod '{path}'");
            if (Socket.listen(Socket.Fd(fd), 16) != 0)
                throw NativeException.FromErrno($"listen '{path}'");
            return new(fd, isFile ? path : null);
        }
        catch
        {
            fd.Dispose();
            throw;
        }
    }

    /// <summary>The same for a device, whose user is told what to do where it cannot be.</summary>
    /// <exception cref="DeviceException">With the name of the device and the kernel's reason.</exception>
    internal static UnixSocket ListenFor(string device, string path, int type)
    {
        try
        {
            return Listen(path, type);
        }
        catch (NativeException e)
        {
            string folder = Path.GetDirectoryName(path) is { Length: > 0 } named ? named : ".";
            (string? why, string? fix) = e.Errno switch
            {
                Errno.EACCES or Errno.EPERM or Errno.EROFS => ($"this user may make no socket in {folder}",
                    "choose a path in a directory of your own, or run as the user it belongs to"),
                Errno.ENOENT or Errno.ENOTDIR => ($"{folder} is no directory", $"mkdir -p {folder}, or choose another "
                    + "path"),
                Errno.EADDRINUSE => ("another process listens there, or it is a file of another kind",
                    "end that process, or choose another path"),
                _ => (e.Why ?? e.Message, e.Fix),
            };
            throw new DeviceException($"device '{device}': cannot listen at {path}", why, fix, errno: e.Errno);
        }
    }

    /// <summary>Connects to who listens at a path.</summary>
    /// <exception cref="NativeException">ENOENT, ECONNREFUSED: nobody does; EACCES; EAGAIN: too many wait.</exception>
    internal static UnixSocket Connect(string path, int type)
    {
        sockaddr_un address = ToAddress(path, out uint length);
        SafeFileHandle fd = Socket.Open(Socket.AF_UNIX, type | Socket.SOCK_NONBLOCK, 0);
        if (Socket.connect(Socket.Fd(fd), &address, length) == 0)
            return new(fd, null);
        NativeException failure = NativeException.FromErrno($"connect '{path}'");
        fd.Dispose();
        throw failure;
    }

    /// <summary>Takes one who connected; null where nobody waits.</summary>
    /// <exception cref="NativeException">EMFILE and its like.</exception>
    internal UnixSocket? Accept()
    {
        int fd = Socket.accept4(Socket.Fd(Handle), null, null, Socket.SOCK_NONBLOCK | Socket.SOCK_CLOEXEC);
        if (fd >= 0)
            return new(new SafeFileHandle(fd, ownsHandle: true), null);
        return (Errno)Marshal.GetLastPInvokeError() is Errno.EAGAIN or Errno.EINTR or Errno.ECONNABORTED ? null
            : throw NativeException.FromErrno("accept4");
    }

    /// <summary>Sends bytes, and files with the first of them (the caller keeps its own).</summary>
    /// <returns>How many bytes went: fewer than all, or -1 for none, where the other end reads too slowly.</returns>
    /// <exception cref="NativeException">EPIPE, ECONNRESET: the other end is gone; EMSGSIZE.</exception>
    internal int Send(ReadOnlySpan<byte> bytes, params ReadOnlySpan<int> files)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(files.Length, MaxFiles);
        byte* control = stackalloc byte[HeaderSize + MaxFiles * sizeof(int) + 4];
        fixed (byte* start = bytes)
        {
            var part = new iovec { iov_base = start, iov_len = (nuint)bytes.Length };
            var message = new msghdr { msg_iov = &part, msg_iovlen = 1 };
            if (files.Length > 0)
            {
                *(nuint*)control = (nuint)(HeaderSize + files.Length * sizeof(int));
                ((int*)control)[2] = Socket.SOL_SOCKET;
                ((int*)control)[3] = Socket.SCM_RIGHTS;
                files.CopyTo(new Span<int>(control + HeaderSize, files.Length));
                message.msg_control = control;
                message.msg_controllen = (nuint)(HeaderSize + (files.Length * sizeof(int) + 7 & ~7));
            }
            nint sent;
            do
                sent = Socket.sendmsg(Socket.Fd(Handle), &message, Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL);
            while (sent < 0 && (Errno)Marshal.GetLastPInvokeError() == Errno.EINTR);
            if (sent >= 0)
                return (int)sent;
            return (Errno)Marshal.GetLastPInvokeError() == Errno.EAGAIN ? -1
                : throw NativeException.FromErrno("sendmsg");
        }
    }

    /// <summary>Takes bytes, and the files that came with them, which are the caller's to dispose.</summary>
    /// <param name="buffer">A message of SOCK_SEQPACKET that is longer is cut off.</param>
    /// <param name="files">Where they are added; close-on-exec.</param>
    /// <returns>How many bytes; 0: the other end closed; -1: nothing there yet.</returns>
    /// <exception cref="NativeException">ECONNRESET; EMFILE: this process has no room for the files, which were
    /// closed.</exception>
    internal int Receive(Span<byte> buffer, List<SafeFileHandle> files)
    {
        byte* control = stackalloc byte[HeaderSize + MaxFiles * sizeof(int) + 4];
        fixed (byte* start = buffer)
        {
            var part = new iovec { iov_base = start, iov_len = (nuint)buffer.Length };
            var message = new msghdr
            {
                msg_iov = &part, msg_iovlen = 1, msg_control = control,
                msg_controllen = HeaderSize + MaxFiles * sizeof(int) + 4,
            };
            nint count = Socket.recvmsg(Socket.Fd(Handle), &message,
                Socket.MSG_DONTWAIT | Socket.MSG_CMSG_CLOEXEC);
            if (count < 0)
            {
                return (Errno)Marshal.GetLastPInvokeError() is Errno.EAGAIN or Errno.EINTR ? -1
                    : throw NativeException.FromErrno("recvmsg");
            }
            int first = files.Count;
            TakeFiles(control, message.msg_controllen, files);
            if ((message.msg_flags & Socket.MSG_CTRUNC) == 0)
                return (int)count;
            for (int i = first; i < files.Count; i++)
                files[i].Dispose();
            files.RemoveRange(first, files.Count - first);
            throw new NativeException("recvmsg SCM_RIGHTS", Errno.EMFILE, "not all files of the message fit");
        }
    }

    /// <summary>Closes it, and removes the file it listened at.</summary>
    public void Dispose()
    {
        try
        {
            if (_unlink != null && !Handle.IsClosed)
                File.Delete(_unlink);
        }
        catch (DirectoryNotFoundException)
        {
            // somebody removed it with its directory
        }
        Handle.Dispose();
    }

    private static void TakeFiles(byte* control, nuint length, List<SafeFileHandle> files)
    {
        for (nuint at = 0; at + HeaderSize <= length;)
        {
            nuint size = *(nuint*)(control + at);
            if (size < HeaderSize || size > length - at)
                return;
            if (((int*)(control + at))[2] == Socket.SOL_SOCKET && ((int*)(control + at))[3] == Socket.SCM_RIGHTS)
            {
                for (nuint i = HeaderSize; i + sizeof(int) <= size; i += sizeof(int))
                    files.Add(new SafeFileHandle(*(int*)(control + at + i), ownsHandle: true));
            }
            at += (size + 7) & ~(nuint)7;
        }
    }

    /// <summary>Whether a path is a socket's at which nobody listens.</summary>
    internal static bool IsDead(string path, int type)
    {
        // An ordinary file refuses a connection like a dead socket; only a socket cannot be opened (open(2), ENXIO).
        using (SafeFileHandle file = Fcntl.open(path, Fcntl.O_RDONLY | Fcntl.O_CLOEXEC | Fcntl.O_NONBLOCK, 0))
        {
            if (!file.IsInvalid || (Errno)Marshal.GetLastPInvokeError() != Errno.ENXIO)
                return false;
        }
        try
        {
            Connect(path, type).Dispose();
            return false;
        }
        catch (NativeException e)
        {
            return e.Errno == Errno.ECONNREFUSED;
        }
    }

    private static sockaddr_un ToAddress(string path, out uint length)
    {
        sockaddr_un address = new() { sun_family = Socket.AF_UNIX };
        int bytes = Encoding.UTF8.GetByteCount(path);
        if (bytes is 0 or > 107)
            throw new NativeException($"the socket's path '{path}'", Errno.ENAMETOOLONG,
                "the kernel takes 1 to 107 bytes (unix(7))", "choose a shorter one");
        Encoding.UTF8.GetBytes(path, new Span<byte>(address.sun_path, 107));
        bool isFile = path[0] != '@';
        if (!isFile)
            address.sun_path[0] = 0;
        length = (uint)(sizeof(ushort) + bytes + (isFile ? 1 : 0));
        return address;
    }
}
