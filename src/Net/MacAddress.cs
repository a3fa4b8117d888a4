using System.Buffers.Binary;
using System.Globalization;

namespace Dataplane.Net;

/// <summary>A 48-bit Ethernet address, its first byte on the wire in bits 40 to 47 of <paramref
/// name="Value"/>.</summary>
public readonly record struct MacAddress(ulong Value)
{
    /// <summary>ff:ff:ff:ff:ff:ff.</summary>
    public static MacAddress Broadcast => new(0xffff_ffff_ffff);

    /// <summary>True where the group bit is set.</summary>
    public bool IsMulticast => (Value >> 40 & 1) != 0;

    /// <summary>Reads the 6 bytes at the start of <paramref name="bytes"/>.</summary>
    public static MacAddress Read(ReadOnlySpan<byte> bytes) =>
        new((ulong)BinaryPrimitives.ReadUInt16BigEndian(bytes) << 32
            | BinaryPrimitives.ReadUInt32BigEndian(bytes[2..]));

    /// <summary>Writes 6 bytes at the start of <paramref name="bytes"/>.</summary>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt16BigEndian(bytes, (ushort)(Value >> 32));
        BinaryPrimitives.WriteUInt32BigEndian(bytes[2..], (uint)Value);
    }

    /// <summary>A locally administered unicast address (IEEE 802 §8.4) made from a number.</summary>
    public static MacAddress Local(uint number) => new(0x0200_0000_0000ul | number);

    /// <summary>Reads six hexadecimal bytes joined by ':' or '-'.</summary>
    public static bool TryParse(string? text, out MacAddress mac)
    {
        mac = default;
        string[] parts = (text ?? "").Split(':', '-');
        ulong value = 0;
        foreach (string part in parts)
        {
            if (parts.Length != 6 || part.Length is 0 or > 2
                || !byte.TryParse(part, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte b))
                return false;
            value = value << 8 | b;
        }
        mac = new MacAddress(value);
        return true;
    }

    /// <inheritdoc/>
    public override string ToString() =>
        $"{Byte(0):x2}:{Byte(1):x2}:{Byte(2):x2}:{Byte(3):x2}:{Byte(4):x2}:{Byte(5):x2}";

    private byte Byte(int index) => (byte)(Value >> (40 - 8 * index));
}
