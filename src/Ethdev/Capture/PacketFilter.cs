using System.Runtime.CompilerServices;
using Dataplane.Native;

namespace Dataplane;

/// <summary>
/// A filter of packets: a verified classic BPF program, compiled where code can be made at run time and interpreted
/// elsewhere (ahead-of-time compiled applications). Immutable; many threads may run it.
/// </summary>
internal sealed unsafe class PacketFilter
{
    private readonly sock_filter[] _program;
    private readonly FilterCode? _code;

    private PacketFilter(sock_filter[] program, FilterCode? code) => (_program, _code) = (program, code);

    /// <summary>Whether it runs as machine code.</summary>
    internal bool IsCompiled => _code != null;

    /// <summary>Verifies a program, and compiles it. Control path.</summary>
    /// <param name="program">Classic BPF; it is copied.</param>
    /// <param name="interpret">Do not compile it.</param>
    /// <exception cref="ConfigException">It is refused, and why.</exception>
    internal static PacketFilter Create(ReadOnlySpan<sock_filter> program, bool interpret = false)
    {
        FilterVerifier.Check(program);
        sock_filter[] copy = program.ToArray();
        FilterCode? code = null;
        if (RuntimeFeature.IsDynamicCodeSupported && !interpret)
            code = FilterCompiler.Compile(copy);
        code?.Invoke(null, 0, 0);       // the runtime compiles it now, and not on an lcore
        return new(copy, code);
    }

    /// <summary>What it says of a packet: 0 to leave it, else the most bytes of it to keep. Data path.</summary>
    /// <param name="data">The packet's first bytes.</param>
    /// <param name="length">So many of them.</param>
    /// <param name="wireLength">Bytes of the whole packet.</param>
    /// <remarks>The one delegate of the data path, see docs/architecture.md's first rule: a DynamicMethod gives no
    /// function pointer, and to call it costs what a virtual method does.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal uint Run(byte* data, uint length, uint wireLength) => _code != null ? _code(data, length, wireLength)
        : FilterInterpreter.Run(_program, new ReadOnlySpan<byte>(data, (int)length), wireLength);
}
