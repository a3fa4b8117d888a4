using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Dataplane;

/// <summary>Copies between a ring's slots and a caller's elements. The two never overlap.</summary>
internal static class RingCopy
{
    /// <summary>Copies <paramref name="bytes"/>: at least 4, a multiple of 4.</summary>
    /// <remarks>The last block is copied from the end and may overlap the one before: no loop over leftovers.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Copy(ref byte to, ref byte from, nuint bytes)
    {
        if (bytes < 64)
        {
            CopySmall(ref to, ref from, bytes);
            return;
        }
        nuint last = bytes - 64;
        for (nuint at = 0; at < last; at += 64)
            Copy64(ref to, ref from, at);
        Copy64(ref to, ref from, last);
    }

    private static void CopySmall(ref byte to, ref byte from, nuint bytes)
    {
        if (bytes >= 32)
        {
            Vector256.LoadUnsafe(ref from).StoreUnsafe(ref to);
            Vector256.LoadUnsafe(ref from, bytes - 32).StoreUnsafe(ref to, bytes - 32);
        }
        else if (bytes >= 16)
        {
            Vector128.LoadUnsafe(ref from).StoreUnsafe(ref to);
            Vector128.LoadUnsafe(ref from, bytes - 16).StoreUnsafe(ref to, bytes - 16);
        }
        else if (bytes >= 8)
        {
            ulong end = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref from, bytes - 8));
            Unsafe.WriteUnaligned(ref to, Unsafe.ReadUnaligned<ulong>(ref from));
            Unsafe.WriteUnaligned(ref Unsafe.Add(ref to, bytes - 8), end);
        }
        else
        {
            Unsafe.WriteUnaligned(ref to, Unsafe.ReadUnaligned<uint>(ref from));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Copy64(ref byte to, ref byte from, nuint at)
    {
        if (Vector512.IsHardwareAccelerated)
        {
            Vector512.LoadUnsafe(ref from, at).StoreUnsafe(ref to, at);
            return;
        }
        Vector256<byte> low = Vector256.LoadUnsafe(ref from, at);
        Vector256.LoadUnsafe(ref from, at + 32).StoreUnsafe(ref to, at + 32);
        low.StoreUnsafe(ref to, at);
    }
}
