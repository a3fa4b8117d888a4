using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>An IPv4 address as it lies in a header: four bytes, network order.</summary>
[StructLayout(LayoutKind.Explicit, Size = 4, Pack = 1)]
public readonly struct IPv4Address : IEquatable<IPv4Address>
{
    [FieldOffset(0)] private readonly Be32 _bits;

    /// <summary>Makes one from a number, host order: 0x7f000001 is 127.0.0.1.</summary>
    public IPv4Address(uint value) => _bits = value;

    /// <summary>Makes one from its four parts, as written.</summary>
    public IPv4Address(byte a, byte b, byte c, byte d) => _bits = (uint)(a << 24 | b << 16 | c << 8 | d);

    /// <summary>The address as a number, host order, so that the next address is one more.</summary>
    public uint Value => _bits.Value;

    /// <summary>The four bytes as they lie in memory, for checksums and hashes.</summary>
    public uint Raw => _bits.Raw;

    /// <summary>True for 224.0.0.0/4, RFC 5771.</summary>
    public bool IsMulticast => Value >> 28 == 0xe;

    /// <summary>Takes an address of the framework's own type.</summary>
    /// <exception cref="ArgumentException">It is no IPv4 address.</exception>
    public static IPv4Address From(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        if (!address.TryWriteBytes(bytes, out int written) || written != 4)
            throw new ArgumentException($"{address} is no IPv4 address", nameof(address));
        return new IPv4Address(BinaryPrimitives.ReadUInt32BigEndian(bytes));
    }

    /// <summary>The same address in the framework's own type.</summary>
    public IPAddress ToIPAddress() => new(_bits.Raw);

    /// <summary>Reads four decimal numbers, 0 to 255, joined by dots; nothing else (no octal, no short
    /// forms).</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out IPv4Address address)
    {
        address = default;
        uint value = 0;
        int parts = 0;
        foreach (Range range in text.Split('.'))
        {
            ReadOnlySpan<char> part = text[range];
            if (++parts > 4 || part.Length is 0 or > 3 || part is ['0', _, ..]
                || !byte.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out byte b))
                return false;
            value = value << 8 | b;
        }
        address = new IPv4Address(value);
        return parts == 4;
    }

    /// <summary>As <see cref="TryParse"/>.</summary>
    /// <exception cref="FormatException">It is no dotted quad.</exception>
    public static IPv4Address Parse(ReadOnlySpan<char> text) =>
        TryParse(text, out IPv4Address address) ? address
            : throw new FormatException($"'{text}' is no IPv4 address such as 192.0.2.1");

    /// <summary>Same address.</summary>
    public static bool operator ==(IPv4Address left, IPv4Address right) => left._bits == right._bits;

    /// <summary>Another address.</summary>
    public static bool operator !=(IPv4Address left, IPv4Address right) => left._bits != right._bits;

    /// <inheritdoc/>
    public bool Equals(IPv4Address other) => _bits == other._bits;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is IPv4Address other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => (int)_bits.Raw;

    /// <inheritdoc/>
    public override string ToString() => $"{Value >> 24}.{Value >> 16 & 255}.{Value >> 8 & 255}.{Value & 255}";
}
