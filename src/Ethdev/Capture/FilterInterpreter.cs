using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Dataplane.Native;
using static Dataplane.Native.Filter;

namespace Dataplane;

/// <summary>Runs verified classic BPF programs, one instruction at a time. Data path.</summary>
internal static class FilterInterpreter
{
    /// <summary>What the program says of a packet: 0 to leave it, else the most bytes of it to keep.</summary>
    /// <param name="program">As <see cref="FilterVerifier"/> passed it.</param>
    /// <param name="data">The packet's first bytes. To load beyond them ends the program with 0, as in the
    /// kernel.</param>
    /// <param name="wireLength">Bytes of the whole packet.</param>
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static uint Run(ReadOnlySpan<sock_filter> program, ReadOnlySpan<byte> data, uint wireLength)
    {
        Span<uint> scratch = stackalloc uint[BPF_MEMWORDS];
        uint a = 0, x = 0;
        for (int at = 0; ; at++)
        {
            sock_filter one = program[at];
            switch (one.code & 7)
            {
                case BPF_LD:
                    if (!Load(one, data, scratch, x, wireLength, ref a))
                        return 0;
                    break;
                case BPF_LDX:
                    if (one.code == (BPF_LDX | BPF_B | BPF_MSH))
                    {
                        if (one.k >= (uint)data.Length)
                            return 0;
                        x = (uint)(data[(int)one.k] & 0xf) << 2;
                    }
                    else
                        x = (one.code & 0xe0) switch
                        {
                            BPF_MEM => scratch[(int)one.k],
                            BPF_LEN => wireLength,
                            _ => one.k,
                        };
                    break;
                case BPF_ST:
                    scratch[(int)one.k] = a;
                    break;
                case BPF_STX:
                    scratch[(int)one.k] = x;
                    break;
                case BPF_ALU:
                    if (!Compute(one, x, ref a))
                        return 0;
                    break;
                case BPF_JMP:
                    at += Jump(one, a, x);
                    break;
                case BPF_RET:
                    return one.code == (BPF_RET | BPF_A) ? a : one.k;
                default:
                    if (one.code == (BPF_MISC | BPF_TAX))
                        x = a;
                    else
                        a = x;
                    break;
            }
        }
    }

    private static bool Load(sock_filter one, ReadOnlySpan<byte> data, ReadOnlySpan<uint> scratch, uint x,
        uint wireLength, ref uint a)
    {
        ulong from = one.k;
        switch (one.code & 0xe0)
        {
            case BPF_IMM:
                a = one.k;
                return true;
            case BPF_LEN:
                a = wireLength;
                return true;
            case BPF_MEM:
                a = scratch[(int)one.k];
                return true;
            case BPF_IND:
                from += x;
                break;
        }
        int width = (one.code & 0x18) switch { BPF_W => 4, BPF_H => 2, _ => 1 };
        if (from + (uint)width > (uint)data.Length)
            return false;
        ReadOnlySpan<byte> bytes = data.Slice((int)from, width);
        a = width == 4 ? BinaryPrimitives.ReadUInt32BigEndian(bytes)
            : width == 2 ? BinaryPrimitives.ReadUInt16BigEndian(bytes) : bytes[0];
        return true;
    }

    private static bool Compute(sock_filter one, uint x, ref uint a)
    {
        uint operand = (one.code & BPF_X) != 0 ? x : one.k;
        switch (one.code & 0xf0)
        {
            case BPF_ADD: a += operand; break;
            case BPF_SUB: a -= operand; break;
            case BPF_MUL: a *= operand; break;
            case BPF_OR: a |= operand; break;
            case BPF_AND: a &= operand; break;
            case BPF_XOR: a ^= operand; break;
            case BPF_NEG: a = 0 - a; break;
            case BPF_LSH: a = operand < 32 ? a << (int)operand : 0; break;      // as libpcap; the verifier bounds
            case BPF_RSH: a = operand < 32 ? a >> (int)operand : 0; break;      // constants alone
            case BPF_DIV when operand != 0: a /= operand; break;
            case BPF_MOD when operand != 0: a %= operand; break;
            default: return false;
        }
        return true;
    }

    private static int Jump(sock_filter one, uint a, uint x)
    {
        uint operand = (one.code & BPF_X) != 0 ? x : one.k;
        return (one.code & 0xf0) switch
        {
            BPF_JA => (int)one.k,
            BPF_JEQ => a == operand ? one.jt : one.jf,
            BPF_JGT => a > operand ? one.jt : one.jf,
            BPF_JGE => a >= operand ? one.jt : one.jf,
            _ => (a & operand) != 0 ? one.jt : one.jf,
        };
    }
}
