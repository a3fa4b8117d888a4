using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>An IPv6 address as it lies in a header: 16 bytes, network order. RFC 4291.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16, Pack = 1)]
public readonly struct IPv6Address : IEquatable<IPv6Address>
{
    [FieldOffset(0)] private readonly ulong _rawHigh;
    [FieldOffset(8)] private readonly ulong _rawLow;

    /// <summary>Makes one from two numbers, host order: (0x20010db8_00000000, 1) is 2001:db8::1.</summary>
    public IPv6Address(ulong high, ulong low)
    {
        _rawHigh = Swap(high);
        _rawLow = Swap(low);
    }

    /// <summary>The first 64 bits as a number.</summary>
    public ulong High => Swap(_rawHigh);

    /// <summary>The last 64 bits as a number.</summary>
    public ulong Low => Swap(_rawLow);

    /// <summary>True for ff00::/8, RFC 4291 §2.7.</summary>
    public bool IsMulticast => High >> 56 == 0xff;

    /// <summary>Takes an address of the framework's own type.</summary>
    /// <exception cref="ArgumentException">It is no IPv6 address.</exception>
    public static IPv6Address From(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        if (!address.TryWriteBytes(bytes, out int written) || written != 16)
            throw new ArgumentException($"{address} is no IPv6 address", nameof(address));
        return MemoryMarshal.Read<IPv6Address>(bytes);
    }

    /// <summary>The same address in the framework's own type.</summary>
    public IPAddress ToIPAddress()
    {
        Span<byte> bytes = stackalloc byte[16];
        MemoryMarshal.Write(bytes, this);
        return new IPAddress(bytes);
    }

    /// <summary>Reads the forms of RFC 4291 §2.2; no zone.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out IPv6Address address)
    {
        address = default;
        if (text.IndexOfAny('%', '[') >= 0 || !IPAddress.TryParse(text, out IPAddress? parsed)
            || parsed.AddressFamily != AddressFamily.InterNetworkV6)
            return false;
        address = From(parsed);
        return true;
    }

    /// <summary>As <see cref="TryParse"/>.</summary>
    /// <exception cref="FormatException">It is no IPv6 address.</exception>
    public static IPv6Address Parse(ReadOnlySpan<char> text) =>
        TryParse(text, out IPv6Address address) ? address
            : throw new FormatException($"'{text}' is no IPv6 address such as 2001:db8::1");

    /// <summary>Same address.</summary>
    public static bool operator ==(IPv6Address left, IPv6Address right) => left.Equals(right);

    /// <summary>Another address.</summary>
    public static bool operator !=(IPv6Address left, IPv6Address right) => !left.Equals(right);

    /// <inheritdoc/>
    public bool Equals(IPv6Address other) => _rawHigh == other._rawHigh && _rawLow == other._rawLow;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is IPv6Address other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(_rawHigh, _rawLow);

    /// <summary>RFC 5952's short form.</summary>
    public override string ToString() => ToIPAddress().ToString();

    private static ulong Swap(ulong v) => BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(v) : v;
}
