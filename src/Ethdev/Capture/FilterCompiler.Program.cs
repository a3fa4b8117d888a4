using System.Buffers.Binary;
using System.Reflection.Emit;
using Dataplane.Native;
using static Dataplane.Native.Filter;

namespace Dataplane;

/// <content>The program's instructions, for the packet of the loop's round.</content>
internal sealed unsafe partial class FilterCompiler
{
    private void Put(int at)
    {
        sock_filter one = _program[at];
        uint proven = _proven[at];
        _il.MarkLabel(_labels[at]);
        switch (one.code & 7)
        {
            case BPF_LD:
                PutLoad(one, ref proven);
                _il.Emit(OpCodes.Stloc, _a);
                break;
            case BPF_LDX when one.code == (BPF_LDX | BPF_B | BPF_MSH) && one.k >= uint.MaxValue - 1:
                _il.Emit(OpCodes.Br, _next);        // no packet has that byte; one more, or two, would be 0
                proven = uint.MaxValue;             // nothing goes on from here
                break;
            case BPF_LDX:
                PutLoadIndex(one, ref proven);
                _il.Emit(OpCodes.Stloc, _x);
                break;
            case BPF_ST or BPF_STX:
                _il.Emit(OpCodes.Ldloc, (one.code & 7) == BPF_ST ? _a : _x);
                _il.Emit(OpCodes.Stloc, Scratch(one.k));
                break;
            case BPF_ALU:
                PutOperation(one);
                _il.Emit(OpCodes.Stloc, _a);
                break;
            case BPF_JMP:
                PutJump(one, at);
                break;
            case BPF_RET:
                PutReturn(one);
                break;
            default:
                bool toIndex = one.code == (BPF_MISC | BPF_TAX);
                _il.Emit(OpCodes.Ldloc, toIndex ? _a : _x);
                _il.Emit(OpCodes.Stloc, toIndex ? _x : _a);
                break;
        }
        foreach (int next in FilterVerifier.Successors(one, at))
            _proven[next] = Math.Min(_proven[next], proven);
    }

    private void PutReturn(sock_filter one)
    {
        if (one.code != (BPF_RET | BPF_A) && one.k == 0)
        {
            _il.Emit(OpCodes.Br, _next);
            return;
        }
        _saysMore = true;
        if (one.code == (BPF_RET | BPF_A))
        {
            _il.Emit(OpCodes.Ldloc, _a);
            _il.Emit(OpCodes.Brfalse, _next);
            _il.Emit(OpCodes.Ldloc, _a);
        }
        else
            PutConstant(one.k);
        _il.Emit(OpCodes.Stloc, _keep);
        _il.Emit(OpCodes.Br, _take);
    }

    private void PutLoad(sock_filter one, ref uint proven)
    {
        int width = Width(one);
        switch (one.code & 0xe0)
        {
            case BPF_IMM or BPF_LEN or BPF_MEM:
                PutPlain(one);
                break;
            case BPF_ABS:
                PutCheck(one.k + (uint)width, ref proven);
                PutReadAt(one.k, width);
                break;
            default:
                PutSum(one.k + (ulong)width);       // 64 bits: x + k + width does not wrap
                _il.Emit(OpCodes.Ldloc, _length);
                _il.Emit(OpCodes.Conv_U8);
                _il.Emit(OpCodes.Bgt_Un, _short);
                _il.Emit(OpCodes.Ldloc, _data);
                PutSum(one.k);
                _il.Emit(OpCodes.Conv_U);
                _il.Emit(OpCodes.Add);
                PutRead(width);
                break;
        }
    }

    /// <summary>A load into either register that does not look at the packet.</summary>
    private void PutPlain(sock_filter one)
    {
        if ((one.code & 0xe0) == BPF_IMM)
            PutConstant(one.k);
        else
            _il.Emit(OpCodes.Ldloc, (one.code & 0xe0) == BPF_LEN ? _wireLength : Scratch(one.k));
    }

    private void PutLoadIndex(sock_filter one, ref uint proven)
    {
        switch (one.code & 0xe0)
        {
            case BPF_IMM or BPF_LEN or BPF_MEM:
                PutPlain(one);
                break;
            default:    // BPF_MSH: four times a byte's lower half
                PutCheck(one.k + 1, ref proven);
                PutReadAt(one.k, 1);
                PutConstant(0xf);
                _il.Emit(OpCodes.And);
                _il.Emit(OpCodes.Ldc_I4_2);
                _il.Emit(OpCodes.Shl);
                break;
        }
    }

    private void PutOperation(sock_filter one)
    {
        bool byIndex = (one.code & BPF_X) != 0;
        int operation = one.code & 0xf0;
        if (byIndex && operation is BPF_DIV or BPF_MOD)
        {
            _il.Emit(OpCodes.Ldloc, _x);
            _il.Emit(OpCodes.Brfalse, _next);
        }
        _il.Emit(OpCodes.Ldloc, _a);
        if (operation == BPF_NEG)
        {
            _il.Emit(OpCodes.Neg);
            return;
        }
        if (byIndex)
            _il.Emit(OpCodes.Ldloc, _x);
        else
            PutConstant(one.k);
        if (byIndex && operation is BPF_LSH or BPF_RSH)
            PutWideShift(operation == BPF_LSH ? OpCodes.Shl : OpCodes.Shr_Un);
        else
            _il.Emit(operation switch
            {
                BPF_ADD => OpCodes.Add,
                BPF_SUB => OpCodes.Sub,
                BPF_MUL => OpCodes.Mul,
                BPF_DIV => OpCodes.Div_Un,
                BPF_MOD => OpCodes.Rem_Un,
                BPF_OR => OpCodes.Or,
                BPF_AND => OpCodes.And,
                BPF_XOR => OpCodes.Xor,
                BPF_LSH => OpCodes.Shl,
                _ => OpCodes.Shr_Un,
            });
    }

    /// <summary>Shifts what is on the stack by the index register, also by more than 31 bits, which leaves 0.</summary>
    private void PutWideShift(OpCode shift)
    {
        _il.Emit(OpCodes.Ldc_I4, 31);
        _il.Emit(OpCodes.And);
        _il.Emit(shift);
        // and with -(x < 32)
        _il.Emit(OpCodes.Ldloc, _x);
        _il.Emit(OpCodes.Ldc_I4, 32);
        _il.Emit(OpCodes.Clt_Un);
        _il.Emit(OpCodes.Neg);
        _il.Emit(OpCodes.And);
    }

    private void PutJump(sock_filter one, int at)
    {
        if (one.code == (BPF_JMP | BPF_JA))
        {
            _il.Emit(OpCodes.Br, _labels[at + 1 + (int)one.k]);
            return;
        }
        _il.Emit(OpCodes.Ldloc, _a);
        if ((one.code & BPF_X) != 0)
            _il.Emit(OpCodes.Ldloc, _x);
        else
            PutConstant(one.k);
        if ((one.code & 0xf0) == BPF_JSET)
            _il.Emit(OpCodes.And);
        _il.Emit((one.code & 0xf0) switch
        {
            BPF_JEQ => OpCodes.Beq,
            BPF_JGT => OpCodes.Bgt_Un,
            BPF_JGE => OpCodes.Bge_Un,
            _ => OpCodes.Brtrue,
        }, _labels[at + 1 + one.jt]);
        if (one.jf != 0)
            _il.Emit(OpCodes.Br, _labels[at + 1 + one.jf]);
    }

    private static int Width(sock_filter one) => (one.code & 0x18) switch { BPF_W => 4, BPF_H => 2, _ => 1 };

    /// <summary>Leaves the program where the packet has fewer bytes.</summary>
    private void PutCheck(uint bytes, ref uint proven)
    {
        if (bytes <= proven)
            return;
        proven = bytes;
        _il.Emit(OpCodes.Ldloc, _length);
        PutConstant(bytes);
        _il.Emit(OpCodes.Blt_Un, _short);
    }

    /// <summary>Index register and a constant, 64 bits.</summary>
    private void PutSum(ulong constant)
    {
        _il.Emit(OpCodes.Ldloc, _x);
        _il.Emit(OpCodes.Conv_U8);
        _il.Emit(OpCodes.Ldc_I8, (long)constant);
        _il.Emit(OpCodes.Add);
    }

    /// <summary>Reads at a constant place, which has been checked.</summary>
    private void PutReadAt(uint place, int width)
    {
        _il.Emit(OpCodes.Ldloc, _data);
        PutConstant(place);
        _il.Emit(OpCodes.Conv_U);
        _il.Emit(OpCodes.Add);
        PutRead(width);
    }

    /// <summary>Reads what the address on the stack points to, of the network's byte order.</summary>
    private void PutRead(int width)
    {
        if (width > 1)
            _il.Emit(OpCodes.Unaligned, (byte)1);
        _il.Emit(width switch { 4 => OpCodes.Ldind_U4, 2 => OpCodes.Ldind_U2, _ => OpCodes.Ldind_U1 });
        if (width > 1)
            _il.Emit(OpCodes.Call, typeof(BinaryPrimitives).GetMethod(nameof(BinaryPrimitives.ReverseEndianness),
                [width == 4 ? typeof(uint) : typeof(ushort)])!);
    }
}
