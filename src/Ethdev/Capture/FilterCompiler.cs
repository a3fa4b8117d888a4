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
/// is checked against the packet's length unless every way to it has passed a check that reaches as far. Control path.
/// </summary>
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
    private readonly Label _segments, _look, _take, _next;
    private bool _saysMore;             // than 0

    private FilterCompiler(sock_filter[] program, ILGenerator il)
    {
        (_program, _il) = (program, il);
        _place = il.DeclareLocal(typeof(nuint));
        _taken = il.DeclareLocal(typeof(nuint));
        (_mbuf, _data) = (il.DeclareLocal(typeof(byte*)), il.DeclareLocal(typeof(byte*)));
        (_length, _wireLength) = (il.DeclareLocal(typeof(uint)), il.DeclareLocal(typeof(uint)));
        (_keep, _a, _x) = (il.DeclareLocal(typeof(uint)), il.DeclareLocal(typeof(uint)), il.DeclareLocal(typeof(uint)));
        (_segments, _look) = (il.DefineLabel(), il.DefineLabel());
        (_take, _next) = (il.DefineLabel(), il.DefineLabel());
        _labels = new Label[program.Length];
        for (int i = 0; i < program.Length; i++)
            _labels[i] = il.DefineLabel();
        _proven = new uint[program.Length];
        Array.Fill(_proven, uint.MaxValue);
        _proven[0] = 0;
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
        RuntimeHelpers.PrepareMethod(made.MethodHandle);    // the runtime compiles it now, and not on an lcore
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
        bool reads = PutPacket();
        foreach (LocalBuilder register in (LocalBuilder[])[_a, _x])
        {
            _il.Emit(OpCodes.Ldc_I4_0);
            _il.Emit(OpCodes.Stloc, register);
        }
        for (int i = 0; i < _program.Length; i++)
            if (_proven[i] != uint.MaxValue)
                Put(i);
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
            PutSegments();
    }

    /// <summary>Finds the next packet's bytes and lengths, those of them the program asks for.</summary>
    /// <returns>Whether it asks for bytes.</returns>
    private bool PutPacket()
    {
        bool reads = false, asksLength = false;
        foreach (sock_filter one in _program)
        {
            bool isLoad = (one.code & 7) is BPF_LD or BPF_LDX;
            reads |= isLoad && (one.code & 0xe0) is BPF_ABS or BPF_IND or BPF_MSH;
            asksLength |= isLoad && (one.code & 0xe0) is BPF_LEN;
        }
        if (!reads && !asksLength)
            return false;
        PutSlot(s_mbufs, _place);
        _il.Emit(OpCodes.Ldind_I);
        _il.Emit(OpCodes.Stloc, _mbuf);
        PutField(nameof(MbufHeader.PktLen), OpCodes.Ldind_U4);
        _il.Emit(OpCodes.Stloc, _wireLength);
        if (!reads)
            return false;
        PutField(nameof(MbufHeader.BufAddr), OpCodes.Ldind_I);
        PutField(nameof(MbufHeader.DataOff), OpCodes.Ldind_U2);
        _il.Emit(OpCodes.Conv_U);
        _il.Emit(OpCodes.Add);
        _il.Emit(OpCodes.Stloc, _data);
        PutField(nameof(MbufHeader.DataLen), OpCodes.Ldind_U2);
        _il.Emit(OpCodes.Stloc, _length);
        _il.Emit(OpCodes.Ldloc, _length);
        _il.Emit(OpCodes.Ldloc, _wireLength);
        _il.Emit(OpCodes.Blt_Un, _segments);
        _il.MarkLabel(_look);
        return true;
    }

    /// <summary>Out of the loop's way: the packet's first bytes are put together in the window.</summary>
    private void PutSegments()
    {
        _il.MarkLabel(_segments);
        _il.Emit(OpCodes.Ldloc, _length);
        PutConstant(PacketFilter.WindowBytes);
        _il.Emit(OpCodes.Bge_Un, _look);
        _il.Emit(OpCodes.Ldloc, _mbuf);
        _il.Emit(s_window);
        _il.Emit(OpCodes.Ldc_I8, (long)(delegate*<MbufHeader*, byte*, uint>)&PacketFilter.FillWindow);
        _il.Emit(OpCodes.Conv_U);
        _il.EmitCalli(OpCodes.Calli, CallingConventions.Standard, typeof(uint), [typeof(byte*), typeof(byte*)], null);
        _il.Emit(OpCodes.Stloc, _length);
        _il.Emit(s_window);
        _il.Emit(OpCodes.Stloc, _data);
        _il.Emit(OpCodes.Br, _look);
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
    private void PutField(string name, OpCode read)
    {
        _il.Emit(OpCodes.Ldloc, _mbuf);
        _il.Emit(OpCodes.Ldc_I4, (int)Marshal.OffsetOf<MbufHeader>(name));
        _il.Emit(OpCodes.Conv_U);
        _il.Emit(OpCodes.Add);
        _il.Emit(read);
    }

    private void PutConstant(uint value) => _il.Emit(OpCodes.Ldc_I4, (int)value);

    private LocalBuilder Scratch(uint word) => _scratch[word] ??= _il.DeclareLocal(typeof(uint));
}
