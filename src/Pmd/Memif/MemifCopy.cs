using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Dataplane.Pmd;

/// <summary>Copying packets between mbufs and shared memory: exactly so many bytes, none beyond either end.</summary>
internal static unsafe class MemifCopy
{
    /// <summary>Copies; the two do not overlap.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Copy(byte* to, byte* from, uint bytes)
    {
        // First and last 32 bytes, which meet or overlap in the middle; no branch within a size class.
        if (bytes - 32 <= 32)
        {
            Vector256<byte> first = Vector256.Load(from), last = Vector256.Load(from + bytes - 32);
            first.Store(to);
            last.Store(to + bytes - 32);
        }
        else
            CopyOther(to, from, bytes);
    }

    /// <summary>Asks for a line that will be read or written soon. Any address will do, also one that is not
    /// there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Prefetch(void* address)
    {
        if (Sse.IsSupported)
            Sse.Prefetch0(address);
    }

    private static void CopyOther(byte* to, byte* from, uint bytes)
    {
        if (bytes is > 64 and <= 128)
        {
            Vector256<byte> a = Vector256.Load(from), b = Vector256.Load(from + 32),
                c = Vector256.Load(from + bytes - 64), d = Vector256.Load(from + bytes - 32);
            a.Store(to);
            b.Store(to + 32);
            c.Store(to + bytes - 64);
            d.Store(to + bytes - 32);
        }
        else
            Unsafe.CopyBlockUnaligned(to, from, bytes);
    }
}
