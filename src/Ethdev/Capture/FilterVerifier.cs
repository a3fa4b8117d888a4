using Dataplane.Native;
using static Dataplane.Native.Filter;

namespace Dataplane;

/// <summary>
/// Whether a classic BPF program may run: it ends, and touches nothing but the packet and its own sixteen words. The
/// rules of the kernel's bpf_check_classic, net/core/filter.c, with no loads from outside the packet. Control path.
/// </summary>
internal static class FilterVerifier
{
    /// <summary>Refuses what may not run.</summary>
    /// <exception cref="ConfigException">Says which instruction, and why.</exception>
    internal static void Check(ReadOnlySpan<sock_filter> program)
    {
        if (program.Length is 0 or > BPF_MAXINSNS)
            throw Refused($"it has {program.Length} instructions; 1 to {BPF_MAXINSNS} are allowed");
        for (int i = 0; i < program.Length; i++)
            if (Fault(program, i) is { } fault)
                throw Refused($"instruction {i}, {Text(program[i])}: {fault}");
        if ((program[^1].code & 7) != BPF_RET)
            throw Refused("its last instruction is no return");
        CheckScratch(program);
    }

    /// <summary>What is wrong with an instruction by itself, or null.</summary>
    private static string? Fault(ReadOnlySpan<sock_filter> program, int at)
    {
        sock_filter one = program[at];
        switch (one.code)
        {
            case BPF_LD | BPF_W | BPF_ABS or BPF_LD | BPF_H | BPF_ABS or BPF_LD | BPF_B | BPF_ABS:
                return (int)one.k < 0 ? "loads from outside the packet (ancillary data) are not done here" : null;
            case BPF_LD | BPF_W | BPF_IND or BPF_LD | BPF_H | BPF_IND or BPF_LD | BPF_B | BPF_IND:
            case BPF_LD | BPF_IMM or BPF_LD | BPF_W | BPF_LEN:
            case BPF_LDX | BPF_IMM or BPF_LDX | BPF_W | BPF_LEN or BPF_LDX | BPF_B | BPF_MSH:
                return null;
            case BPF_LD | BPF_MEM or BPF_LDX | BPF_MEM or BPF_ST or BPF_STX:
                return one.k >= BPF_MEMWORDS ? $"there are {BPF_MEMWORDS} words of scratch memory" : null;
            case BPF_ALU | BPF_DIV | BPF_K or BPF_ALU | BPF_MOD | BPF_K:
                return one.k == 0 ? "divides by zero" : null;
            case BPF_ALU | BPF_LSH | BPF_K or BPF_ALU | BPF_RSH | BPF_K:
                return one.k >= 32 ? "shifts by more than 31 bits" : null;
            case BPF_ALU | BPF_ADD | BPF_K or BPF_ALU | BPF_SUB | BPF_K or BPF_ALU | BPF_MUL | BPF_K:
            case BPF_ALU | BPF_OR | BPF_K or BPF_ALU | BPF_AND | BPF_K or BPF_ALU | BPF_XOR | BPF_K:
            case BPF_ALU | BPF_ADD | BPF_X or BPF_ALU | BPF_SUB | BPF_X or BPF_ALU | BPF_MUL | BPF_X:
            case BPF_ALU | BPF_OR | BPF_X or BPF_ALU | BPF_AND | BPF_X or BPF_ALU | BPF_XOR | BPF_X:
            case BPF_ALU | BPF_DIV | BPF_X or BPF_ALU | BPF_MOD | BPF_X:
            case BPF_ALU | BPF_LSH | BPF_X or BPF_ALU | BPF_RSH | BPF_X or BPF_ALU | BPF_NEG:
            case BPF_MISC | BPF_TAX or BPF_MISC | BPF_TXA:
            case BPF_RET | BPF_K or BPF_RET | BPF_A:
                return null;
            case BPF_JMP | BPF_JA:
                return one.k >= program.Length - at - 1 ? "jumps out of the program" : null;
            case BPF_JMP | BPF_JEQ | BPF_K or BPF_JMP | BPF_JGT | BPF_K or BPF_JMP | BPF_JGE | BPF_K
                or BPF_JMP | BPF_JSET | BPF_K or BPF_JMP | BPF_JEQ | BPF_X or BPF_JMP | BPF_JGT | BPF_X
                or BPF_JMP | BPF_JGE | BPF_X or BPF_JMP | BPF_JSET | BPF_X:
                return Math.Max(one.jt, one.jf) >= program.Length - at - 1 ? "jumps out of the program" : null;
            default:
                return "there is no such instruction";
        }
    }

    /// <summary>A word of scratch memory must have been written on every way to where it is read.</summary>
    private static void CheckScratch(ReadOnlySpan<sock_filter> program)
    {
        var written = new uint[program.Length];     // words written on all ways here that are known so far
        Array.Fill(written, uint.MaxValue);
        written[0] = 0;
        for (int i = 0; i < program.Length; i++)
        {
            sock_filter one = program[i];
            uint known = written[i];
            switch (one.code)
            {
                case BPF_ST or BPF_STX:
                    known |= 1u << (int)one.k;
                    break;
                case BPF_LD | BPF_MEM or BPF_LDX | BPF_MEM when (known >> (int)one.k & 1) == 0:
                    throw Refused($"instruction {i}, {Text(one)}: reads scratch memory that was not written");
            }
            foreach (int next in Successors(one, i))
                written[next] &= known;
        }
    }

    /// <summary>Where a checked instruction may go on.</summary>
    internal static int[] Successors(sock_filter one, int at) => (one.code & 7) switch
    {
        BPF_RET => [],
        BPF_JMP when one.code == (BPF_JMP | BPF_JA) => [at + 1 + (int)one.k],
        BPF_JMP => [at + 1 + one.jt, at + 1 + one.jf],
        _ => [at + 1],
    };

    private static string Text(sock_filter one) => $"{{0x{one.code:x}, {one.jt}, {one.jf}, 0x{one.k:x}}}";

    private static ConfigException Refused(string why) => new("the filter program is refused", why,
        "give a program that libpcap compiled for Ethernet, such as tcpdump -dd prints");
}
