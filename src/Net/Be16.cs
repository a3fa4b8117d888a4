using System.Buffers.Binary;
using System.Globalization;

namespace Dataplane.Net;

/// <summary>
/// A 16-bit field in network byte order. It converts to and from <see cref="ushort"/> by itself, so headers read and
/// write as numbers: <c>udp.DestinationPort = 53</c>. One byte-swapping move in machine code.
/// </summary>
public readonly struct Be16 : IEquatable<Be16>
{
    private Be16(ushort raw) => Raw = raw;

    /// <summary>The two bytes as they lie in memory.</summary>
    public readonly ushort Raw;

    /// <summary>The number, host order.</summary>
    public ushort Value => Swap(Raw);

    /// <summary>Takes two bytes as they lie in memory, as checksums are computed (RFC 1071 §2(B)).</summary>
    public static Be16 FromRaw(ushort raw) => new(raw);

    /// <summary>The number, host order.</summary>
    public static implicit operator ushort(Be16 field) => Swap(field.Raw);

    /// <summary>A number into network order.</summary>
    public static implicit operator Be16(ushort value) => new(Swap(value));

    /// <summary>Same number.</summary>
    public static bool operator ==(Be16 left, Be16 right) => left.Raw == right.Raw;

    /// <summary>Another number.</summary>
    public static bool operator !=(Be16 left, Be16 right) => left.Raw != right.Raw;

    /// <inheritdoc/>
    public bool Equals(Be16 other) => Raw == other.Raw;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Be16 other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => Raw;

    /// <inheritdoc/>
    public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);

    private static ushort Swap(ushort v) => BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(v) : v;
}
