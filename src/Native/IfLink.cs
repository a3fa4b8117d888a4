using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>XDP programs of an interface by rtnetlink, for kernels without links of bpf(2). linux/if_link.h,
/// linux/rtnetlink.h, linux/netlink.h. Control path.</summary>
internal static unsafe class IfLink
{
    internal const int NETLINK_ROUTE = 0;
    internal const ushort NLMSG_ERROR = 2, RTM_NEWLINK = 16, RTM_GETLINK = 18, RTM_SETLINK = 19;
    internal const ushort NLM_F_REQUEST = 1, NLM_F_ACK = 4, NLA_F_NESTED = 1 << 15, IFLA_XDP = 43;
    internal const ushort IFLA_XDP_FD = 1, IFLA_XDP_FLAGS = 3, IFLA_XDP_PROG_ID = 4;
    internal const uint XDP_FLAGS_UPDATE_IF_NOEXIST = 1 << 0, XDP_FLAGS_SKB_MODE = 1 << 1, XDP_FLAGS_DRV_MODE = 1 << 2;

    private const int HeaderBytes = 16, InfoBytes = 16, AttributeBytes = 4;   // nlmsghdr, ifinfomsg, nlattr

    /// <summary>Puts a program on an interface, or takes the one there off.</summary>
    /// <param name="ifindex">The interface.</param>
    /// <param name="program">The program's file, -1 for none.</param>
    /// <param name="flags">XDP_FLAGS_*.</param>
    /// <exception cref="NativeException">EBUSY, EEXIST: another program is there; EOPNOTSUPP: not in that
    /// mode; EPERM.</exception>
    internal static void SetXdp(int ifindex, int program, uint flags)
    {
        const int Nested = AttributeBytes + 2 * (AttributeBytes + sizeof(uint));
        const int Total = HeaderBytes + InfoBytes + Nested;
        byte* message = stackalloc byte[Total];
        Begin(message, Total, RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, ifindex);
        byte* at = message + HeaderBytes + InfoBytes;
        PutHeader(ref at, Nested, IFLA_XDP | NLA_F_NESTED);
        Put(ref at, IFLA_XDP_FD, (uint)program);
        Put(ref at, IFLA_XDP_FLAGS, flags);
        byte[] answer = Ask(new ReadOnlySpan<byte>(message, Total), "RTM_SETLINK IFLA_XDP");
        var error = (Errno)(-BitConverter.ToInt32(answer, HeaderBytes));
        if (BitConverter.ToUInt16(answer, 4) != NLMSG_ERROR || error != Errno.None)
            throw new NativeException("RTM_SETLINK IFLA_XDP", error);
    }

    /// <summary>The number of the program on an interface, 0 for none. Any user.</summary>
    /// <exception cref="NativeException">ENODEV.</exception>
    internal static uint GetXdp(int ifindex)
    {
        const int Total = HeaderBytes + InfoBytes;
        byte* message = stackalloc byte[Total];
        Begin(message, Total, RTM_GETLINK, NLM_F_REQUEST, ifindex);
        byte[] answer = Ask(new ReadOnlySpan<byte>(message, Total), "RTM_GETLINK");
        if (BitConverter.ToUInt16(answer, 4) == NLMSG_ERROR)
            throw new NativeException("RTM_GETLINK", (Errno)(-BitConverter.ToInt32(answer, HeaderBytes)));
        ReadOnlySpan<byte> xdp = Find(answer.AsSpan(HeaderBytes + InfoBytes), IFLA_XDP);
        ReadOnlySpan<byte> id = Find(xdp, IFLA_XDP_PROG_ID);
        return id.Length == sizeof(uint) ? BitConverter.ToUInt32(id) : 0;
    }

    private static void Begin(byte* message, int bytes, ushort type, ushort flags, int ifindex)
    {
        new Span<byte>(message, bytes).Clear();
        *(uint*)message = (uint)bytes;
        *(ushort*)(message + 4) = type;
        *(ushort*)(message + 6) = flags;
        *(int*)(message + HeaderBytes + 4) = ifindex;
    }

    private static void PutHeader(ref byte* at, int bytes, int type)
    {
        *(ushort*)at = (ushort)bytes;
        *(ushort*)(at + 2) = (ushort)type;
        at += AttributeBytes;
    }

    private static void Put(ref byte* at, ushort type, uint value)
    {
        PutHeader(ref at, AttributeBytes + sizeof(uint), type);
        *(uint*)at = value;
        at += sizeof(uint);
    }

    private static ReadOnlySpan<byte> Find(ReadOnlySpan<byte> attributes, ushort type)
    {
        while (attributes.Length >= AttributeBytes)
        {
            int length = BitConverter.ToUInt16(attributes);
            if (length < AttributeBytes || length > attributes.Length)
                return default;
            if ((BitConverter.ToUInt16(attributes[2..]) & ~NLA_F_NESTED) == type)
                return attributes[AttributeBytes..length];
            attributes = attributes[Math.Min((length + 3) & ~3, attributes.Length)..];
        }
        return default;
    }

    private static byte[] Ask(ReadOnlySpan<byte> message, string what)
    {
        using SafeFileHandle socket = Socket.Open(Socket.AF_NETLINK, Socket.SOCK_RAW, NETLINK_ROUTE);
        fixed (byte* bytes = message)
            if (Socket.send(Socket.Fd(socket), bytes, (nuint)message.Length, 0) != message.Length)
                throw NativeException.FromErrno(what);
        byte[] answer = new byte[1 << 16];
        fixed (byte* bytes = answer)
        {
            nint count = Socket.recv(Socket.Fd(socket), bytes, (nuint)answer.Length, 0);
            if (count < HeaderBytes + sizeof(int))
                throw NativeException.FromErrno(what);
            return answer[..(int)count];
        }
    }
}
