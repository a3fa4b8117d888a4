using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;
using static Dataplane.Native.Filter;

namespace Dataplane;

/// <summary>
/// Makes IL of a verified classic BPF program and of a loop round it, so that a burst is one call: what
/// <see cref="FilterInterpreter.Run"/> says of each of its packets. The runtime compiles it at once and in full. A load
/// is checked against the packet's length unless every way to it has passed a check that reaches as far.
/// </summary>
/// <remarks>
/// The program is there twice. Packets whose first segment has all that its loads of fixed places want, which are
/// nearly all, are asked that once; where that is not so, or a load of a computed place goes beyond the segment, the
/// second sees the segments put together and checks each load. Control path.
/// </remarks>
[RequiresDynamicCode("filters are interpreted where no code can be made")]
internal sealed unsafe partial class FilterCompiler
{
    // The method's arguments: mbufs, their number, verdicts, window. As of PacketFilter's function pointer.
    private static readonly OpCode s_mbufs = OpCodes.Ldarg_0, s_count = OpCodes.Ldarg_1, s_verdicts = OpCodes.Ldarg_2,
        s_window = OpCodes.Ldarg_3;

    private readonly sock_filter[] _program;
    private readonly ILGenerator _il;
    private readonly LocalBuilder _place, _taken, _mbuf, _data, _length, _wireLength, _keep, _a, _x;
    private readonly LocalBuilder?[] _scratch = new LocalBuilder?[BPF_MEMWORDS];
    private readonly Label[] _labels;
    private readonly uint[] _proven;    // bytes the packet has on every way to an instruction; no way: MaxValue
    private readonly Label _careful, _take, _next;
    private Label _short;               // where loads beyond the packet's end go
    private bool _saysMore;             // than 0

    private FilterCompiler(sock_filter[] program, ILGenerator il)
    {
        (_program, _il) = (program, il);
        _place = il.DeclareLocal(typeof(nuint));
        _taken = il.DeclareLocal(typeof(nuint));
        (_mbuf, _data) = (il.DeclareLocal(typeof(byte*)), il.DeclareLocal(typeof(byte*)));
        (_length, _wireLength) = (il.DeclareLocal(typeof(uint)), il.DeclareLocal(typeof(uint)));
        (_keep, _a, _x) = (il.DeclareLocal(typeof(uint)), il.DeclareLocal(typeof(uint)), il.DeclareLocal(typeof(uint)));
        (_careful, _take, _next) = (il.DefineLabel(), il.DefineLabel(), il.DefineLabel());
        (_labels, _proven) = (new Label[program.Length], new uint[program.Length]);
    }

    /// <summary>Compiles a program that <see cref="FilterVerifier"/> passed. The code lives as long as the method that
    /// is returned, and is called by its function pointer.</summary>
    internal static MethodInfo Compile(sock_filter[] program)
    {
        // A type of its own and not a DynamicMethod, which only a delegate can call.
        const string name = "PacketFilter";
        ModuleBuilder module = AssemblyBuilder.DefineDynamicAssembly(new AssemblyName(name),
            AssemblyBuilderAccess.RunAndCollect).DefineDynamicModule(name);
        TypeBuilder type = module.DefineType(name, TypeAttributes.Abstract | TypeAttributes.Sealed
            | TypeAttributes.Public);
        MethodBuilder method = type.DefineMethod("Run", MethodAttributes.Static | MethodAttributes.Public, typeof(uint),
            [typeof(byte*), typeof(uint), typeof(byte*), typeof(byte*)]);
        method.SetImplementationFlags(MethodImplAttributes.AggressiveOptimization);
        method.InitLocals = false;
        new FilterCompiler(program, method.GetILGenerator()).PutAll();
        MethodInfo made = type.CreateType().GetMethod(method.Name)!;
        // The runtime compiles it now, and not on an lcore; what it calls too.
        RuntimeHelpers.PrepareMethod(made.MethodHandle);
        RuntimeHelpers.PrepareMethod(typeof(PacketFilter).GetMethod(nameof(PacketFilter.FillWindow),
            BindingFlags.Static | BindingFlags.NonPublic)!.MethodHandle);
        return made;
    }

    /// <summary>The loop over the burst.</summary>
    private void PutAll()
    {
        Label over = _il.DefineLabel(), packet = _il.DefineLabel();
        foreach (LocalBuilder counter in (LocalBuilder[])[_place, _taken])
        {
            _il.Emit(OpCodes.Ldc_I4_0);
            _il.Emit(OpCodes.Conv_U);
            _il.Emit(OpCodes.Stloc, counter);
        }
        _il.Emit(OpCodes.Br, over);
        _il.MarkLabel(packet);
        bool reads = PutPacket(out uint reach);
        PutProgram(reach, _careful);
        PutTake();
        _il.MarkLabel(_next);
        PutIncrement(_place);
        _il.MarkLabel(over);
        if (_saysMore)
        {
            _il.Emit(OpCodes.Ldloc, _place);
            _il.Emit(s_count);
            _il.Emit(OpCodes.Conv_U);
            _il.Emit(OpCodes.Blt_Un, packet);
        }
        _il.Emit(OpCodes.Ldloc, _taken);
        _il.Emit(OpCodes.Conv_U4);
        _il.Emit(OpCodes.Ret);
        if (reads)
            PutCareful();
    }

    /// <summary>The program, for a packet with at least so many bytes.</summary>
    private void PutProgram(uint bytes, Label whereShort)
    {
        _short = whereShort;
        Array.Fill(_proven, uint.MaxValue);
        _proven[0] = bytes;
        for (int i = 0; i < _program.Length; i++)
            _labels[i] = _il.DefineLabel();
        foreach (LocalBuilder register in (LocalBuilder[])[_a, _x])
        {
            _il.Emit(OpCodes.Ldc_I4_0);
            _il.Emit(OpCodes.Stloc, register);
        }
        for (int i = 0; i < _program.Length; i++)
            if (_proven[i] != uint.MaxValue)
                Put(i);
    }

    /// <summary>Finds the next packet's bytes and lengths, those of them the program asks for.</summary>
    /// <param name="reach">So many bytes it has in its first segment; others go to <see cref="_careful"/>.</param>
    /// <returns>Whether the program asks for bytes.</returns>
    private bool PutPacket(out uint reach)
    {
        bool reads = false, asksLength = false;
        reach = 0;
        foreach (sock_filter one in _program)
        {
            if ((one.code & 7) is not (BPF_LD or BPF_LDX))
                continue;
            int mode = one.code & 0xe0;
            reads |= mode is BPF_ABS or BPF_IND or BPF_MSH;
            asksLength |= mode is BPF_LEN;
            if (mode is BPF_ABS or BPF_MSH && one.k <= ushort.MaxValue)
                reach = Math.Max(reach, one.k + (mode is BPF_ABS ? (uint)Width(one) : 1));
        }
        if (!reads && !asksLength)
            return false;
        PutSlot(s_mbufs, _place);
        _il.Emit(OpCodes.Ldind_I);
        _il.Emit(OpCodes.Stloc, _mbuf);
        if (asksLength)
            PutField(nameof(MbufHeader.PktLen), OpCodes.Ldind_U4, _wireLength);
        if (!reads)
            return false;
        PutData();
        _il.Emit(OpCodes.Ldloc, _length);
        PutConstant(reach);
        _il.Emit(OpCodes.Blt_Un, _careful);
        return true;
    }

    /// <summary>The first segment.</summary>
    private void PutData()
    {
        PutField(nameof(MbufHeader.BufAddr), OpCodes.Ldind_I, _data);
        PutField(nameof(MbufHeader.DataOff), OpCodes.Ldind_U2, _length);
        _il.Emit(OpCodes.Ldloc, _data);
        _il.Emit(OpCodes.Ldloc, _length);
        _il.Emit(OpCodes.Conv_U);
        _il.Emit(OpCodes.Add);
        _il.Emit(OpCodes.Stloc, _data);
        PutField(nameof(MbufHeader.DataLen), OpCodes.Ldind_U2, _length);
    }

    /// <summary>Out of the loop's way: short packets, and those in segments, whose first bytes are put together in the
    /// window.</summary>
    private void PutCareful()
    {
        Label look = _il.DefineLabel();
        _il.MarkLabel(_careful);
        PutField(nameof(MbufHeader.PktLen), OpCodes.Ldind_U4, _wireLength);
        _il.Emit(OpCodes.Ldloc, _length);
        _il.Emit(OpCodes.Ldloc, _wireLength);
        _il.Emit(OpCodes.Bge_Un, look);
        _il.Emit(OpCodes.Ldloc, _length);
        PutConstant(PacketFilter.WindowBytes);
        _il.Emit(OpCodes.Bge_Un, look);
        _il.Emit(OpCodes.Ldloc, _mbuf);
        _il.Emit(s_window);
        _il.Emit(OpCodes.Ldc_I8, (long)(delegate*<MbufHeader*, byte*, uint>)&PacketFilter.FillWindow);
        _il.Emit(OpCodes.Conv_U);
        _il.EmitCalli(OpCodes.Calli, CallingConventions.Standard, typeof(uint), [typeof(byte*), typeof(byte*)], null);
        _il.Emit(OpCodes.Stloc, _length);
        _il.Emit(s_window);
        _il.Emit(OpCodes.Stloc, _data);
        _il.MarkLabel(look);
        PutProgram(0, _next);
    }

    /// <summary>Writes the verdict of a packet to be kept.</summary>
    private void PutTake()
    {
        _il.MarkLabel(_take);
        PutSlot(s_verdicts, _taken);
        _il.Emit(OpCodes.Ldloc, _place);
        _il.Emit(OpCodes.Conv_U4);
        _il.Emit(OpCodes.Stind_I4);
        PutSlot(s_verdicts, _taken);
        _il.Emit(OpCodes.Ldc_I4_4);
        _il.Emit(OpCodes.Add);
        _il.Emit(OpCodes.Ldloc, _keep);
        _il.Emit(OpCodes.Stind_I4);
        PutIncrement(_taken);
    }

    /// <summary>The address of an array's eight bytes with this number.</summary>
    private void PutSlot(OpCode array, LocalBuilder number)
    {
        _il.Emit(array);
        _il.Emit(OpCodes.Ldloc, number);
        _il.Emit(OpCodes.Ldc_I4_3);
        _il.Emit(OpCodes.Shl);
        _il.Emit(OpCodes.Add);
    }

    private void PutIncrement(LocalBuilder counter)
    {
        _il.Emit(OpCodes.Ldloc, counter);
        _il.Emit(OpCodes.Ldc_I4_1);
        _il.Emit(OpCodes.Conv_U);
        _il.Emit(OpCodes.Add);
        _il.Emit(OpCodes.Stloc, counter);
    }

    /// <summary>Reads a field of the packet's header.</summary>
    private void PutField(string name, OpCode read, LocalBuilder into)
    {
        _il.Emit(OpCodes.Ldloc, _mbuf);
        _il.Emit(OpCodes.Ldc_I4, (int)Marshal.OffsetOf<MbufHeader>(name));
        _il.Emit(OpCodes.Conv_U);
        _il.Emit(OpCodes.Add);
        _il.Emit(read);
        _il.Emit(OpCodes.Stloc, into);
    }

    private void PutConstant(uint value) => _il.Emit(OpCodes.Ldc_I4, (int)value);

    private LocalBuilder Scratch(uint word) => _scratch[word] ??= _il.DeclareLocal(typeof(uint));
}
