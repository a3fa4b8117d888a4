using System.Buffers.Binary;
using System.Globalization;

namespace Dataplane.Net;

/// <summary>
/// A 32-bit field in network byte order. It converts to and from <see cref="uint"/> by itself, so headers read and
/// write as numbers: <c>tcp.Sequence += 1460</c>. One byte-swapping move in machine code.
/// </summary>
public readonly struct Be32 : IEquatable<Be32>
{
    private Be32(uint raw) => Raw = raw;

    /// <summary>The four bytes as they lie in memory.</summary>
    public readonly uint Raw;

    /// <summary>The number, host order.</summary>
    public uint Value => Swap(Raw);

    /// <summary>Takes four bytes as they lie in memory.</summary>
    public static Be32 FromRaw(uint raw) => new(raw);

    /// <summary>The number, host order.</summary>
    public static implicit operator uint(Be32 field) => Swap(field.Raw);

    /// <summary>A number into network order.</summary>
    public static implicit operator Be32(uint value) => new(Swap(value));

    /// <summary>Same number.</summary>
    public static bool operator ==(Be32 left, Be32 right) => left.Raw == right.Raw;

    /// <summary>Another number.</summary>
    public static bool operator !=(Be32 left, Be32 right) => left.Raw != right.Raw;

    /// <inheritdoc/>
    public bool Equals(Be32 other) => Raw == other.Raw;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Be32 other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => (int)Raw;

    /// <inheritdoc/>
    public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);

    private static uint Swap(uint v) => BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(v) : v;
}
