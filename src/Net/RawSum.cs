using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Dataplane.Net;

/// <summary>
/// The 16-bit one's complement sum under every Internet checksum, in memory byte order (RFC 1071 §2(B)): stored as it
/// is, it is right on the wire. Words are added 32 bits at a time into 64-bit sums, which cannot overflow below 16 GiB.
/// </summary>
internal static class RawSum
{
    /// <summary>Bytes from which vectors pay; below, the set-up costs more than it saves.</summary>
    private const int VectorFrom = 64;

    /// <summary>Sum of all 16-bit words, the last odd byte padded with zero; not folded.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static ulong Of(ReadOnlySpan<byte> data) =>
        data.Length >= VectorFrom && Vector128.IsHardwareAccelerated ? OfVector(data) : OfScalar(data);

    /// <summary>The twin without vectors, for short data and for machines without them.</summary>
    internal static ulong OfScalar(ReadOnlySpan<byte> data)
    {
        ref byte p = ref MemoryMarshal.GetReference(data);
        nuint at = 0, length = (nuint)data.Length;
        ulong sum = 0;
        for (; length - at >= 8; at += 8)
        {
            ulong word = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref p, at));
            sum += (uint)word + (word >> 32);
        }
        return sum + Tail(ref Unsafe.Add(ref p, at), length - at);
    }

    /// <summary>The twin with 256-bit vectors, or pairs of 128-bit ones where the machine has no wider.</summary>
    internal static ulong OfVector(ReadOnlySpan<byte> data)
    {
        ref byte p = ref MemoryMarshal.GetReference(data);
        nuint at = 0, length = (nuint)data.Length;
        Vector256<ulong> low = Vector256.Create(0xffff_fffful);
        Vector256<ulong> even = default, odd = default;
        for (; length - at >= 64; at += 64)
        {
            Vector256<ulong> a = Load(ref p, at), b = Load(ref p, at + 32);
            even += (a & low) + (b & low);
            odd += (a >> 32) + (b >> 32);
        }
        if (length - at >= 32)
        {
            Vector256<ulong> a = Load(ref p, at);
            even += a & low;
            odd += a >> 32;
            at += 32;
        }
        ulong sum = Vector256.Sum(even + odd);
        return sum + OfScalar(MemoryMarshal.CreateReadOnlySpan(ref Unsafe.Add(ref p, at), (int)(length - at)));
    }

    /// <summary>Down to 16 bits, carries brought round.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static ushort Fold(ulong sum)
    {
        sum = (uint)sum + (sum >> 32);
        sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)(sum + (sum >> 16));
    }

    private static ulong Tail(ref byte p, nuint length)
    {
        ulong sum = 0;
        if ((length & 4) != 0)
        {
            sum += Unsafe.ReadUnaligned<uint>(ref p);
            p = ref Unsafe.Add(ref p, 4);
        }
        if ((length & 2) != 0)
        {
            sum += Unsafe.ReadUnaligned<ushort>(ref p);
            p = ref Unsafe.Add(ref p, 2);
        }
        if ((length & 1) != 0)
            sum += BitConverter.IsLittleEndian ? p : (ulong)p << 8;
        return sum;
    }

    private static Vector256<ulong> Load(ref byte p, nuint at) =>
        Unsafe.ReadUnaligned<Vector256<ulong>>(ref Unsafe.Add(ref p, at));
}
