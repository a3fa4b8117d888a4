using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Dataplane.Net;

/// <summary>
/// The Toeplitz hash of receive side scaling: for every set bit of the input, first bit first, the 32 key bits from
/// that position on are added (xor). Same numbers as NICs give. Immutable; any thread; hashing allocates nothing.
/// </summary>
/// <remarks>
/// One 32-bit input word times its 64-bit key window, both without carries, holds all 32 sums at once: with the
/// window's bits reversed, bits 31 to 62 of the product are the hash reversed. So a word costs one PCLMULQDQ.
/// </remarks>
public sealed class Toeplitz
{
    /// <summary>Bytes a key has at least: enough for IPv6 with ports.</summary>
    public const int MinKeyBytes = 40;

    /// <summary>Bytes a key has at most, that of 40G NICs.</summary>
    public const int MaxKeyBytes = 52;

    private readonly byte[] _key;
    private readonly ulong[] _windows;

    /// <summary>Takes a key of 40 to 52 bytes, a multiple of 4.</summary>
    /// <exception cref="ArgumentException">It has another length.</exception>
    public Toeplitz(ReadOnlySpan<byte> key)
    {
        if (key.Length is < MinKeyBytes or > MaxKeyBytes || key.Length % 4 != 0)
            throw new ArgumentException($"a key has 40 to 52 bytes, a multiple of 4, not {key.Length}", nameof(key));
        _key = key.ToArray();
        _windows = new ulong[key.Length / 4 - 1];
        for (int i = 0; i < _windows.Length; i++)
            _windows[i] = Reverse(BinaryPrimitives.ReadUInt64BigEndian(key[(i * 4)..]));
    }

    /// <summary>The key of Microsoft's verification suite, the default of most NICs, 40 bytes.</summary>
    public static ReadOnlySpan<byte> MicrosoftKey =>
    [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
        0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
        0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    /// <summary>A key that repeats every 16 bits, so both directions of a flow hash alike; 40 bytes.</summary>
    public static ReadOnlySpan<byte> SymmetricKey =>
    [
        0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
        0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
        0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
    ];

    /// <summary>The hash with <see cref="MicrosoftKey"/>.</summary>
    public static Toeplitz Default { get; } = new(MicrosoftKey);

    /// <summary>The key.</summary>
    public ReadOnlySpan<byte> Key => _key;

    /// <summary>Hash of bytes in network order.</summary>
    /// <param name="tuple">A multiple of 4 bytes, at most the key's length less 4.</param>
    /// <exception cref="ArgumentException">It has another length.</exception>
    public uint Hash(ReadOnlySpan<byte> tuple)
    {
        if ((tuple.Length & 3) != 0 || tuple.Length > _windows.Length * 4)
            ThrowTuple(tuple.Length);
        return HashWords(MemoryMarshal.Cast<byte, Be32>(tuple));
    }

    /// <summary>Hash of IPv4 addresses.</summary>
    public uint Hash(IPv4Address source, IPv4Address destination) =>
        HashWords([Be32.FromRaw(source.Raw), Be32.FromRaw(destination.Raw)]);

    /// <summary>Hash of IPv4 addresses and ports.</summary>
    public uint Hash(IPv4Address source, IPv4Address destination, ushort sourcePort, ushort destinationPort) =>
        HashWords([Be32.FromRaw(source.Raw), Be32.FromRaw(destination.Raw), (uint)sourcePort << 16 | destinationPort]);

    /// <summary>Hash of IPv6 addresses.</summary>
    public uint Hash(IPv6Address source, IPv6Address destination) =>
        HashWords(MemoryMarshal.Cast<IPv6Address, Be32>([source, destination]));

    /// <summary>Hash of IPv6 addresses and ports.</summary>
    public uint Hash(IPv6Address source, IPv6Address destination, ushort sourcePort, ushort destinationPort)
    {
        Span<Be32> words = stackalloc Be32[9];
        MemoryMarshal.Cast<IPv6Address, Be32>([source, destination]).CopyTo(words);
        words[8] = (uint)sourcePort << 16 | destinationPort;
        return HashWords(words);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal uint HashWords(ReadOnlySpan<Be32> words) => Pclmulqdq.IsSupported ? HashClmul(words) : HashScalar(words);

    /// <summary>The twin for machines without PCLMULQDQ, and the definition the fast one is tested against.</summary>
    internal uint HashScalar(ReadOnlySpan<Be32> words)
    {
        uint hash = 0;
        for (int i = 0; i < words.Length; i++)
        {
            ulong window = BinaryPrimitives.ReadUInt64BigEndian(_key.AsSpan(i * 4));
            for (uint bits = words[i].Value; bits != 0;)
            {
                int first = BitOperations.LeadingZeroCount(bits);
                hash ^= (uint)(window << first >> 32);
                bits &= ~(0x8000_0000u >> first);
            }
        }
        return hash;
    }

    internal uint HashClmul(ReadOnlySpan<Be32> words)
    {
        Vector128<ulong> sum = default;
        ulong[] windows = _windows;
        for (int i = 0; i < words.Length && i < windows.Length; i++)
            sum ^= Pclmulqdq.CarrylessMultiply(Vector128.CreateScalarUnsafe(windows[i]),
                Vector128.CreateScalarUnsafe((ulong)words[i].Value), 0);
        return Reverse((uint)(sum.ToScalar() >> 31));
    }

    private static uint Reverse(uint v)
    {
        v = (v >> 1 & 0x5555_5555) | (v & 0x5555_5555) << 1;
        v = (v >> 2 & 0x3333_3333) | (v & 0x3333_3333) << 2;
        v = (v >> 4 & 0x0f0f_0f0f) | (v & 0x0f0f_0f0f) << 4;
        return BinaryPrimitives.ReverseEndianness(v);
    }

    private static ulong Reverse(ulong v) => (ulong)Reverse((uint)v) << 32 | Reverse((uint)(v >> 32));

    private static void ThrowTuple(int bytes) => throw new ArgumentException(
        $"a tuple of {bytes} bytes: it must be a multiple of 4, and 4 shorter than the key at most");
}
