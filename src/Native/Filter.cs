using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>Classic BPF: socket filters, and what libpcap compiles. linux/filter.h, linux/bpf_common.h.</summary>
internal static class Filter
{
    /// <summary>What an instruction is, and its class.</summary>
    internal const ushort BPF_LD = 0x00, BPF_LDX = 0x01, BPF_ST = 0x02, BPF_STX = 0x03, BPF_ALU = 0x04, BPF_JMP = 0x05,
        BPF_RET = 0x06, BPF_MISC = 0x07;

    /// <summary>What is loaded: width, and from where.</summary>
    internal const ushort BPF_W = 0x00, BPF_H = 0x08, BPF_B = 0x10,
        BPF_IMM = 0x00, BPF_ABS = 0x20, BPF_IND = 0x40, BPF_MEM = 0x60, BPF_LEN = 0x80, BPF_MSH = 0xa0;

    /// <summary>Operations and jumps.</summary>
    internal const ushort BPF_ADD = 0x00, BPF_SUB = 0x10, BPF_MUL = 0x20, BPF_DIV = 0x30, BPF_OR = 0x40, BPF_AND = 0x50,
        BPF_LSH = 0x60, BPF_RSH = 0x70, BPF_NEG = 0x80, BPF_MOD = 0x90, BPF_XOR = 0xa0,
        BPF_JA = 0x00, BPF_JEQ = 0x10, BPF_JGT = 0x20, BPF_JGE = 0x30, BPF_JSET = 0x40;

    /// <summary>Operands: the constant, the index register; for a return, the accumulator.</summary>
    internal const ushort BPF_K = 0x00, BPF_X = 0x08, BPF_A = 0x10;

    /// <summary>Moves between accumulator and index register.</summary>
    internal const ushort BPF_TAX = 0x00, BPF_TXA = 0x80;

    internal const int BPF_MEMWORDS = 16, BPF_MAXINSNS = 4096;

    internal const ushort BPF_RET_K = 0x06;
}

/// <summary>linux/filter.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct sock_filter
{
    [FieldOffset(0)] internal ushort code;
    [FieldOffset(2)] internal byte jt;
    [FieldOffset(3)] internal byte jf;
    [FieldOffset(4)] internal uint k;
}

/// <summary>linux/filter.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal unsafe struct sock_fprog
{
    [FieldOffset(0)] internal ushort len;
    [FieldOffset(8)] internal sock_filter* filter;
}
