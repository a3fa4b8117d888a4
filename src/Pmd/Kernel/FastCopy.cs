using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Dataplane.Pmd;

/// <summary>Copies of packets: mostly short, never overlapping. Data path.</summary>
internal static unsafe class FastCopy
{
    private const uint Long = 512;   // from there on the runtime's own is as good

    /// <summary>Copies bytes, and touches none beside them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Copy(byte* to, byte* from, uint length)
    {
        if (length - 32 > Long - 32)
        {
            Unsafe.CopyBlockUnaligned(to, from, length);
            return;
        }
        uint last = length - 32;
        for (uint at = 0; at < last; at += 32)
            Vector256.Store(Vector256.Load(from + at), to + at);
        Vector256.Store(Vector256.Load(from + last), to + last);   // over what is there already, to the end
    }
}
