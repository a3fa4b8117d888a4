using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>A header in place: <see cref="Value"/> is the packet's own bytes, to read and to write.</summary>
/// <typeparam name="T">A header struct, e.g. <see cref="EtherHeader"/>.</typeparam>
public readonly ref struct HeaderRef<T> where T : unmanaged
{
    internal HeaderRef(ref T value) => Value = ref value;

    /// <summary>The bytes as a header. Never read this when the call that gave it returned false.</summary>
    public readonly ref T Value;
}

/// <summary>
/// Walks a packet's headers front to back. Every step is checked against the bytes that are left, none copies, none
/// allocates, none throws; a step that does not fit returns false and stays where it was.
/// </summary>
/// <example><code>
/// var cursor = new HeaderCursor(mbuf.Data);
/// if (cursor.TryRead(out HeaderRef&lt;EtherHeader&gt; ether) &amp;&amp; ether.Value.EtherType == EtherTypes.IPv4
///     &amp;&amp; cursor.TryRead(out HeaderRef&lt;IPv4Header&gt; ip))
///     ip.Value.TimeToLive--;
/// </code></example>
public ref struct HeaderCursor(Span<byte> packet)
{
    private readonly int _length = packet.Length;
    private Span<byte> _rest = packet;

    /// <summary>Bytes passed so far.</summary>
    public readonly int Offset => _length - _rest.Length;

    /// <summary>What is left: the payload after the last header read.</summary>
    public readonly Span<byte> Rest => _rest;

    /// <summary>The next bytes as a <typeparamref name="T"/>, and past them.</summary>
    /// <returns>False when fewer bytes are left than it has.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryRead<T>(out HeaderRef<T> header) where T : unmanaged
    {
        if (_rest.Length < Unsafe.SizeOf<T>())
        {
            header = default;
            return false;
        }
        header = new HeaderRef<T>(ref MemoryMarshal.AsRef<T>(_rest));
        _rest = _rest[Unsafe.SizeOf<T>()..];
        return true;
    }

    /// <summary>Past <paramref name="bytes"/> bytes, such as options.</summary>
    /// <returns>False when it is negative or more than what is left.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TrySkip(int bytes)
    {
        if ((uint)bytes > (uint)_rest.Length)
            return false;
        _rest = _rest[bytes..];
        return true;
    }
}

/// <summary>Headers straight over bytes, where the length has been checked already.</summary>
public static class HeaderExtensions
{
    /// <summary>The bytes at <paramref name="offset"/> as a header, in place.</summary>
    /// <param name="data">Packet bytes.</param>
    /// <param name="offset">Bytes from its start.</param>
    /// <exception cref="ArgumentOutOfRangeException">It does not fit: check the length first, once for all headers
    /// (what is left in here is one compare).</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ref T HeaderAt<T>(this Span<byte> data, int offset = 0) where T : unmanaged =>
        ref MemoryMarshal.AsRef<T>(data[offset..]);

    /// <inheritdoc cref="HeaderAt{T}(Span{byte}, int)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ref readonly T HeaderAt<T>(this ReadOnlySpan<byte> data, int offset = 0) where T : unmanaged =>
        ref MemoryMarshal.AsRef<T>(data[offset..]);
}
