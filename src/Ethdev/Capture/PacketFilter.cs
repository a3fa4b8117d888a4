using System.Reflection;
using System.Runtime.CompilerServices;
using Dataplane.Native;

namespace Dataplane;

/// <summary>What a filter said of a packet that it takes.</summary>
/// <param name="place">Its place in the burst.</param>
/// <param name="keep">The most bytes of it to keep, never 0.</param>
internal readonly struct PacketVerdict(uint place, uint keep)
{
    // The compiled code writes both as they lie here.
    internal readonly uint Place = place, Keep = keep;
}

/// <summary>
/// A filter of packets: a verified classic BPF program, compiled where code can be made at run time and interpreted
/// elsewhere (ahead-of-time compiled applications). Immutable; many threads may run it.
/// </summary>
internal sealed unsafe class PacketFilter
{
    /// <summary>Bytes of a packet in several segments that it sees.</summary>
    internal const int WindowBytes = 4096;

    private readonly sock_filter[] _program;
    private readonly MethodInfo? _compiled;     // its code goes with it
    private readonly delegate*<Mbuf*, uint, PacketVerdict*, byte*, uint> _code;

    private PacketFilter(sock_filter[] program, MethodInfo? compiled)
    {
        (_program, _compiled) = (program, compiled);
        if (compiled != null)
            _code = (delegate*<Mbuf*, uint, PacketVerdict*, byte*, uint>)compiled.MethodHandle.GetFunctionPointer();
    }

    /// <summary>Whether it runs as machine code.</summary>
    internal bool IsCompiled => _compiled != null;

    /// <summary>Verifies a program, and compiles it. Control path.</summary>
    /// <param name="program">Classic BPF; it is copied.</param>
    /// <param name="interpret">Do not compile it.</param>
    /// <exception cref="ConfigException">It is refused, and why.</exception>
    internal static PacketFilter Create(ReadOnlySpan<sock_filter> program, bool interpret = false)
    {
        FilterVerifier.Check(program);
        sock_filter[] copy = program.ToArray();
        return new(copy, RuntimeFeature.IsDynamicCodeSupported && !interpret ? FilterCompiler.Compile(copy) : null);
    }

    /// <summary>Looks at a burst. Data path.</summary>
    /// <param name="packets">They stay as they are.</param>
    /// <param name="verdicts">Gets one of each packet it takes, in their order; has room for all.</param>
    /// <param name="window">The calling thread's, of <see cref="WindowBytes"/>.</param>
    /// <returns>How many it takes.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal int Run(ReadOnlySpan<Mbuf> packets, Span<PacketVerdict> verdicts, byte* window)
    {
        if (verdicts.Length < packets.Length)
            ThrowNoRoom();
        fixed (Mbuf* first = packets)
        fixed (PacketVerdict* taken = verdicts)
            return (int)(_code != null ? _code(first, (uint)packets.Length, taken, window)
                : Interpret(first, (uint)packets.Length, taken, window));
    }

    /// <summary>Puts the first bytes of a packet in several segments together.</summary>
    /// <returns>How many there are.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static uint FillWindow(MbufHeader* mbuf, byte* window) =>
        CopyOf(mbuf, window, Math.Min(mbuf->PktLen, WindowBytes));

    /// <summary>Copies a packet's first bytes, over segments. Data path.</summary>
    /// <returns>How many: fewer where the segments have less than the packet says.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static uint CopyOf(MbufHeader* mbuf, byte* target, uint bytes)
    {
        uint copied = 0;
        for (; mbuf != null && copied < bytes; mbuf = mbuf->Next)
        {
            uint part = Math.Min(mbuf->DataLen, bytes - copied);
            Unsafe.CopyBlockUnaligned(target + copied, mbuf->BufAddr + mbuf->DataOff, part);
            copied += part;
        }
        return copied;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private uint Interpret(Mbuf* packets, uint count, PacketVerdict* verdicts, byte* window)
    {
        uint taken = 0;
        for (uint i = 0; i < count; i++)
        {
            MbufHeader* mbuf = packets[i].Header;
            byte* data = mbuf->BufAddr + mbuf->DataOff;
            uint length = mbuf->DataLen;
            if (length < mbuf->PktLen && length < WindowBytes)
            {
                length = FillWindow(mbuf, window);
                data = window;
            }
            uint keep = FilterInterpreter.Run(_program, new ReadOnlySpan<byte>(data, (int)length), mbuf->PktLen);
            if (keep != 0)
                verdicts[taken++] = new(i, keep);
        }
        return taken;
    }

    private static void ThrowNoRoom() => throw new ArgumentException("there is no room for all verdicts");
}
