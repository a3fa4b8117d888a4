using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>
/// Counters of one queue in native memory, written only by the thread that polls it, read by any.
/// Drivers add to all but <see cref="Packets"/>, which the base class counts.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 128)]
public struct QueueStats
{
    /// <summary>Packets delivered to, or taken from, the application.</summary>
    [FieldOffset(0)] public ulong Packets;

    /// <summary>Their bytes without frame check sequence.</summary>
    [FieldOffset(8)] public ulong Bytes;

    /// <summary>Packets that were bad, too large or refused, each freed and counted here once.</summary>
    [FieldOffset(16)] public ulong Errors;

    /// <summary>Receive: packets the device lost because nobody polled in time. Transmit: packets taken and then dropped.</summary>
    [FieldOffset(24)] public ulong Missed;

    /// <summary>Receive: times (in packets) no mbuf could be had.</summary>
    [FieldOffset(32)] public ulong NoMbuf;

    /// <summary>Calls of the burst function.</summary>
    [FieldOffset(40)] public ulong Calls;
}
