using Dataplane.Native;
using static Dataplane.Native.Filter;

namespace Dataplane.Tests;

/// <summary>Random classic BPF: programs that pass and do something, and any words at all.</summary>
internal static class FilterRandom
{
    private static readonly ushort[] s_widths = [BPF_W, BPF_H, BPF_B];
    private static readonly ushort[] s_operations =
        [BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR, BPF_AND, BPF_LSH, BPF_RSH, BPF_MOD, BPF_XOR];
    private static readonly ushort[] s_jumps = [BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET];

    /// <summary>Every code there is.</summary>
    internal static ushort[] Codes { get; } = AllCodes().ToArray();

    /// <summary>A program that passes: what it reads of scratch memory it has written at its start.</summary>
    internal static sock_filter[] Valid(Random random, int length)
    {
        var program = new List<sock_filter>();
        for (uint word = 0; word < 4; word++)
        {
            program.Add(new sock_filter { code = BPF_LD | BPF_IMM, k = Constant(random) });
            program.Add(new sock_filter { code = BPF_ST, k = word });
        }
        int all = program.Count + length + 1;
        while (program.Count < all - 1)
            program.Add(One(random, all - program.Count - 2));
        program.Add(new sock_filter { code = (ushort)(BPF_RET | random.Next(2) * BPF_A), k = Constant(random) });
        return [.. program];
    }

    /// <summary>Instructions of known codes, with operands that are mostly near what is allowed.</summary>
    internal static sock_filter[] Any(Random random, int length)
    {
        var program = new sock_filter[length];
        for (int i = 0; i < length; i++)
            program[i] = new sock_filter
            {
                code = random.Next(20) == 0 ? (ushort)random.Next(0x200) : Codes[random.Next(Codes.Length)],
                jt = (byte)random.Next(random.Next(8) == 0 ? 256 : 4), jf = (byte)random.Next(4),
                k = Constant(random),
            };
        if (length > 0 && random.Next(4) != 0)
            program[^1] = new sock_filter { code = BPF_RET | BPF_A };
        return program;
    }

    /// <summary>Packet bytes, few enough that loads miss them often.</summary>
    internal static byte[] Packet(Random random)
    {
        byte[] bytes = new byte[random.Next(100)];
        random.NextBytes(bytes);
        return bytes;
    }

    private static sock_filter One(Random random, int room)
    {
        ushort code = Codes[random.Next(Codes.Length)];
        var one = new sock_filter { code = code, k = Constant(random) };
        switch (code & 7)
        {
            case BPF_RET when random.Next(8) != 0:      // few, or nothing else would run
                return One(random, room);
            case BPF_LD or BPF_LDX when (code & 0xe0) == BPF_MEM:
                one.k %= 4;
                break;
            case BPF_LD when (code & 0xe0) == BPF_ABS:
                one.k &= int.MaxValue;
                break;
            case BPF_ST or BPF_STX:
                one.k %= BPF_MEMWORDS;
                break;
            case BPF_ALU when (code & BPF_X) == 0 && (code & 0xf0) is BPF_DIV or BPF_MOD:
                one.k |= 1;
                break;
            case BPF_ALU when (code & BPF_X) == 0 && (code & 0xf0) is BPF_LSH or BPF_RSH:
                one.k %= 32;
                break;
            case BPF_JMP:
                one.k = code == (BPF_JMP | BPF_JA) ? (uint)random.Next(Math.Min(room, 6) + 1) : one.k;
                one.jt = (byte)random.Next(Math.Min(room, 6) + 1);
                one.jf = (byte)random.Next(Math.Min(room, 6) + 1);
                break;
        }
        return one;
    }

    private static uint Constant(Random random) => random.Next(8) switch
    {
        0 => (uint)random.NextInt64(1L << 32),
        1 => uint.MaxValue - (uint)random.Next(8),
        2 => (uint)int.MaxValue - (uint)random.Next(8),
        _ => (uint)random.Next(90),
    };

    private static IEnumerable<ushort> AllCodes()
    {
        foreach (ushort width in s_widths)
            foreach (ushort mode in (ushort[])[BPF_ABS, BPF_IND])
                yield return (ushort)(BPF_LD | width | mode);
        foreach (ushort mode in (ushort[])[BPF_IMM, BPF_MEM, BPF_LEN])
        {
            yield return (ushort)(BPF_LD | mode);
            yield return (ushort)(BPF_LDX | mode);
        }
        yield return BPF_LDX | BPF_B | BPF_MSH;
        yield return BPF_ST;
        yield return BPF_STX;
        foreach (ushort operand in (ushort[])[BPF_K, BPF_X])
        {
            foreach (ushort operation in s_operations)
                yield return (ushort)(BPF_ALU | operation | operand);
            foreach (ushort jump in s_jumps)
                yield return (ushort)(BPF_JMP | jump | operand);
        }
        yield return BPF_ALU | BPF_NEG;
        yield return BPF_JMP | BPF_JA;
        yield return BPF_MISC | BPF_TAX;
        yield return BPF_MISC | BPF_TXA;
        yield return BPF_RET | BPF_K;
        yield return BPF_RET | BPF_A;
    }
}
