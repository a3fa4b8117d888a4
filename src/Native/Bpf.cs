using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>BPF programs, maps and links: bpf(2). linux/bpf.h, linux/bpf_common.h. Control path.</summary>
internal static unsafe partial class Bpf
{
    internal const int BPF_MAP_CREATE = 0, BPF_MAP_UPDATE_ELEM = 2, BPF_MAP_DELETE_ELEM = 3, BPF_PROG_LOAD = 5,
        BPF_OBJ_PIN = 6, BPF_OBJ_GET = 7, BPF_PROG_GET_FD_BY_ID = 13, BPF_OBJ_GET_INFO_BY_FD = 15, BPF_LINK_CREATE = 28;
    internal const uint BPF_MAP_TYPE_XSKMAP = 17, BPF_PROG_TYPE_XDP = 6, BPF_XDP = 37, BPF_F_XDP_HAS_FRAGS = 1 << 5;
    internal const int BPF_FUNC_redirect_map = 51;
    internal const byte BPF_LDX = 0x01, BPF_LD = 0x00, BPF_MEM = 0x60, BPF_W = 0x00, BPF_DW = 0x18, BPF_IMM = 0x00,
        BPF_ALU64 = 0x07, BPF_MOV = 0xb0, BPF_K = 0x00, BPF_JMP = 0x05, BPF_CALL = 0x80, BPF_EXIT = 0x90,
        BPF_PSEUDO_MAP_FD = 1;
    internal const int XDP_PASS = 2;
    internal const int BPF_OBJ_NAME_LEN = 16;

    private static readonly nint s_bpf = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 321 : 280;

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, nint cmd, bpf_attr* attr, nuint size);

    /// <summary>Makes a map.</summary>
    /// <exception cref="NativeException">EPERM: needs CAP_BPF and CAP_NET_ADMIN, or root.</exception>
    internal static SafeFileHandle CreateMap(uint type, uint keyBytes, uint valueBytes, uint entries, string name)
    {
        var attr = new bpf_attr
        {
            map_type = type, key_size = keyBytes, value_size = valueBytes, max_entries = entries,
        };
        Encoding.ASCII.GetBytes(name, new Span<byte>(attr.map_name, BPF_OBJ_NAME_LEN - 1));
        return OpenFd(BPF_MAP_CREATE, ref attr, "bpf BPF_MAP_CREATE");
    }

    /// <summary>Puts a file into a map's place.</summary>
    /// <exception cref="NativeException">E2BIG: the map has no such place.</exception>
    internal static void Update(SafeFileHandle map, uint key, int value)
    {
        var attr = new bpf_attr { map_fd = (uint)Socket.Fd(map), key = &key, value = &value };
        if (Call(BPF_MAP_UPDATE_ELEM, ref attr) < 0)
            throw NativeException.FromErrno($"bpf BPF_MAP_UPDATE_ELEM, key {key}");
    }

    /// <summary>Has the kernel check a program and take it.</summary>
    /// <param name="instructions">The program.</param>
    /// <param name="type">BPF_PROG_TYPE_*.</param>
    /// <param name="attachType">Where it will be attached.</param>
    /// <param name="flags">BPF_F_*.</param>
    /// <param name="name">At most 15 ASCII characters.</param>
    /// <exception cref="NativeException">EACCES, EINVAL: the verifier refused it, and what it said is the
    /// reason.</exception>
    internal static SafeFileHandle LoadProgram(ReadOnlySpan<bpf_insn> instructions, uint type, uint attachType,
        uint flags, string name)
    {
        fixed (bpf_insn* program = instructions)
        fixed (byte* license = "Dual MIT/GPL\0"u8)
        {
            var attr = new bpf_attr
            {
                prog_type = type, insn_cnt = (uint)instructions.Length, insns = program, license = license,
                prog_flags = flags, expected_attach_type = attachType,
            };
            Encoding.ASCII.GetBytes(name, new Span<byte>(attr.prog_name, BPF_OBJ_NAME_LEN - 1));
            int fd = (int)Call(BPF_PROG_LOAD, ref attr);
            return fd >= 0 ? new SafeFileHandle(fd, ownsHandle: true) : throw Refused(ref attr);
        }
    }

    /// <summary>Ties a program to an interface for as long as the returned file is open.</summary>
    /// <exception cref="NativeException">EBUSY: another program is there; EINVAL: no such kind of link;
    /// EOPNOTSUPP.</exception>
    internal static SafeFileHandle CreateLink(SafeFileHandle program, int ifindex, uint attachType, uint flags)
    {
        var attr = new bpf_attr
        {
            link_prog_fd = (uint)Socket.Fd(program), link_target_ifindex = (uint)ifindex,
            link_attach_type = attachType, link_flags = flags,
        };
        return OpenFd(BPF_LINK_CREATE, ref attr, "bpf BPF_LINK_CREATE");
    }

    /// <summary>Gives a map, program or link a name in a bpf file system, which keeps it.</summary>
    /// <exception cref="NativeException">EEXIST; EPERM: not in a bpf file system.</exception>
    internal static void Pin(SafeFileHandle fd, string path)
    {
        fixed (byte* name = Encoding.UTF8.GetBytes(path + "\0"))
        {
            var attr = new bpf_attr { pathname = name, bpf_fd = (uint)Socket.Fd(fd) };
            if (Call(BPF_OBJ_PIN, ref attr) < 0)
                throw NativeException.FromErrno($"bpf BPF_OBJ_PIN '{path}'");
        }
    }

    /// <summary>Opens what was pinned.</summary>
    /// <exception cref="NativeException">ENOENT, EACCES.</exception>
    internal static SafeFileHandle OpenPinned(string path)
    {
        fixed (byte* name = Encoding.UTF8.GetBytes(path + "\0"))
        {
            var attr = new bpf_attr { pathname = name };
            return OpenFd(BPF_OBJ_GET, ref attr, $"bpf BPF_OBJ_GET '{path}'");
        }
    }

    /// <summary>What a map is.</summary>
    /// <exception cref="NativeException">EINVAL: not a map, nor anything of bpf.</exception>
    internal static bpf_map_info MapInfo(SafeFileHandle map)
    {
        bpf_map_info info = default;
        var attr = new bpf_attr
        {
            info_bpf_fd = (uint)Socket.Fd(map), info_len = (uint)sizeof(bpf_map_info), info = &info,
        };
        return Call(BPF_OBJ_GET_INFO_BY_FD, ref attr) == 0 ? info
            : throw NativeException.FromErrno("bpf BPF_OBJ_GET_INFO_BY_FD");
    }

    /// <summary>The name of a loaded program, or null where there is none of that number or no right to ask.</summary>
    internal static string? ProgramName(uint id)
    {
        var attr = new bpf_attr { prog_id = id };
        int fd = (int)Call(BPF_PROG_GET_FD_BY_ID, ref attr);
        if (fd < 0)
            return null;
        using var handle = new SafeFileHandle(fd, ownsHandle: true);
        bpf_prog_info info = default;
        attr = new bpf_attr { info_bpf_fd = (uint)fd, info_len = (uint)sizeof(bpf_prog_info), info = &info };
        return Call(BPF_OBJ_GET_INFO_BY_FD, ref attr) == 0 ? Marshal.PtrToStringUTF8((nint)info.name) : null;
    }

    private static NativeException Refused(ref bpf_attr attr)
    {
        var errno = (Errno)Marshal.GetLastPInvokeError();
        byte[] log = new byte[1 << 16];
        fixed (byte* buffer = log)
        {
            // A second time, for the verifier's words: asked for at once, a log costs every load.
            attr.log_level = 1;
            attr.log_size = (uint)log.Length;
            attr.log_buf = buffer;
            int fd = (int)Call(BPF_PROG_LOAD, ref attr);
            if (fd >= 0)
                new SafeFileHandle(fd, ownsHandle: true).Dispose();
            string said = (Marshal.PtrToStringUTF8((nint)buffer) ?? "").Trim();
            return new NativeException("bpf BPF_PROG_LOAD", errno,
                why: said.Length != 0 ? "the kernel's verifier says: " + said : null);
        }
    }

    private static SafeFileHandle OpenFd(int command, ref bpf_attr attr, string what)
    {
        int fd = (int)Call(command, ref attr);
        return fd >= 0 ? new SafeFileHandle(fd, ownsHandle: true) : throw NativeException.FromErrno(what);
    }

    private static nint Call(int command, ref bpf_attr attr)
    {
        fixed (bpf_attr* pointer = &attr)
            return syscall(s_bpf, command, pointer, (nuint)sizeof(bpf_attr));
    }
}
