using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>One instruction. linux/bpf.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct bpf_insn
{
    [FieldOffset(0)] internal byte code;
    [FieldOffset(1)] internal byte registers;   // dst_reg in the low, src_reg in the high half
    [FieldOffset(2)] internal short off;
    [FieldOffset(4)] internal int imm;
}

/// <summary>linux/bpf.h: what bpf(2) takes, here with the members used. The kernel takes any size whose unknown rest
/// is 0.</summary>
[StructLayout(LayoutKind.Explicit, Size = 144)]
internal unsafe struct bpf_attr
{
    // BPF_MAP_CREATE
    [FieldOffset(0)] internal uint map_type;
    [FieldOffset(4)] internal uint key_size;
    [FieldOffset(8)] internal uint value_size;
    [FieldOffset(12)] internal uint max_entries;
    [FieldOffset(28)] internal fixed byte map_name[16];

    // BPF_MAP_*_ELEM
    [FieldOffset(0)] internal uint map_fd;
    [FieldOffset(8)] internal void* key;
    [FieldOffset(16)] internal void* value;
    [FieldOffset(24)] internal ulong flags;

    // BPF_PROG_LOAD
    [FieldOffset(0)] internal uint prog_type;
    [FieldOffset(4)] internal uint insn_cnt;
    [FieldOffset(8)] internal bpf_insn* insns;
    [FieldOffset(16)] internal byte* license;
    [FieldOffset(24)] internal uint log_level;
    [FieldOffset(28)] internal uint log_size;
    [FieldOffset(32)] internal byte* log_buf;
    [FieldOffset(44)] internal uint prog_flags;
    [FieldOffset(48)] internal fixed byte prog_name[16];
    [FieldOffset(68)] internal uint expected_attach_type;

    // BPF_OBJ_*
    [FieldOffset(0)] internal byte* pathname;
    [FieldOffset(8)] internal uint bpf_fd;

    // BPF_*_GET_FD_BY_ID
    [FieldOffset(0)] internal uint prog_id;

    // BPF_OBJ_GET_INFO_BY_FD
    [FieldOffset(0)] internal uint info_bpf_fd;
    [FieldOffset(4)] internal uint info_len;
    [FieldOffset(8)] internal void* info;

    // BPF_LINK_CREATE
    [FieldOffset(0)] internal uint link_prog_fd;
    [FieldOffset(4)] internal uint link_target_ifindex;
    [FieldOffset(8)] internal uint link_attach_type;
    [FieldOffset(12)] internal uint link_flags;
}

/// <summary>linux/bpf.h: its beginning; the kernel gives as much as there is room for.</summary>
[StructLayout(LayoutKind.Explicit, Size = 88)]
internal unsafe struct bpf_map_info
{
    [FieldOffset(0)] internal uint type;
    [FieldOffset(4)] internal uint id;
    [FieldOffset(8)] internal uint key_size;
    [FieldOffset(12)] internal uint value_size;
    [FieldOffset(16)] internal uint max_entries;
    [FieldOffset(20)] internal uint map_flags;
    [FieldOffset(24)] internal fixed byte name[16];
}

/// <summary>linux/bpf.h: its beginning.</summary>
[StructLayout(LayoutKind.Explicit, Size = 232)]
internal unsafe struct bpf_prog_info
{
    [FieldOffset(0)] internal uint type;
    [FieldOffset(4)] internal uint id;
    [FieldOffset(64)] internal fixed byte name[16];
}
