using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>Writes eBPF instructions one behind the other: RFC 9669, those few that are needed. Control path.</summary>
internal sealed class BpfAssembler
{
    private readonly List<bpf_insn> _instructions = [];

    /// <summary>What was written.</summary>
    internal ReadOnlySpan<bpf_insn> Instructions => CollectionsMarshal.AsSpan(_instructions);

    /// <summary>target = *(u32 *)(base + offset).</summary>
    internal BpfAssembler Load32(int target, int from, short offset) =>
        Add(Bpf.BPF_LDX | Bpf.BPF_MEM | Bpf.BPF_W, target, from, offset, 0);

    /// <summary>target = value.</summary>
    internal BpfAssembler Move(int target, int value) =>
        Add(Bpf.BPF_ALU64 | Bpf.BPF_MOV | Bpf.BPF_K, target, 0, 0, value);

    /// <summary>target = the map; the kernel puts its address in place of the file's number. Two slots.</summary>
    internal BpfAssembler LoadMap(int target, int map)
    {
        Add(Bpf.BPF_LD | Bpf.BPF_DW | Bpf.BPF_IMM, target, Bpf.BPF_PSEUDO_MAP_FD, 0, map);
        return Add(0, 0, 0, 0, 0);
    }

    /// <summary>r0 = helper(r1, ..., r5).</summary>
    internal BpfAssembler Call(int helper) => Add(Bpf.BPF_JMP | Bpf.BPF_CALL, 0, 0, 0, helper);

    /// <summary>Ends the program with r0.</summary>
    internal BpfAssembler Exit() => Add(Bpf.BPF_JMP | Bpf.BPF_EXIT, 0, 0, 0, 0);

    private BpfAssembler Add(int code, int target, int source, short offset, int immediate)
    {
        _instructions.Add(new bpf_insn
        {
            code = (byte)code, registers = (byte)(target | source << 4), off = offset, imm = immediate,
        });
        return this;
    }
}
