using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>
/// Counters of one queue in native memory, written only by the thread that polls it, read by any.
/// The base class counts <see cref="Packets"/> and <see cref="Calls"/>; the driver counts the others, since it looks at
/// every packet anyway.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 128)]
public struct QueueStats
{
    /// <summary>
    /// Packets delivered to the application, or taken from it. Of those taken, <see cref="Errors"/> and
    /// <see cref="Missed"/> were not sent.
    /// </summary>
    [FieldOffset(0)] public ulong Packets;

    /// <summary>Bytes delivered or sent, without frame check sequence. Not those of errors and misses.</summary>
    [FieldOffset(8)] public ulong Bytes;

    /// <summary>
    /// Packets that were bad, too large or refused, each freed and counted here once. Receive: not in
    /// <see cref="Packets"/>; transmit: in it too.
    /// </summary>
    [FieldOffset(16)] public ulong Errors;

    /// <summary>Receive: packets the device lost because nobody polled in time. Transmit: packets taken and then
    /// dropped.</summary>
    [FieldOffset(24)] public ulong Missed;

    /// <summary>Receive: times (in packets) no mbuf could be had.</summary>
    [FieldOffset(32)] public ulong NoMbuf;

    /// <summary>Calls of the burst function; with <see cref="Packets"/>, the mean burst.</summary>
    [FieldOffset(40)] public ulong Calls;

    /// <summary>Reads counters that another thread may be writing; each is whole, the six not of one moment.</summary>
    internal static QueueStats Snapshot(ref QueueStats live) => new()
    {
        Packets = Volatile.Read(ref live.Packets),
        Bytes = Volatile.Read(ref live.Bytes),
        Errors = Volatile.Read(ref live.Errors),
        Missed = Volatile.Read(ref live.Missed),
        NoMbuf = Volatile.Read(ref live.NoMbuf),
        Calls = Volatile.Read(ref live.Calls),
    };

    /// <summary>What was counted since <paramref name="earlier"/>.</summary>
    internal readonly QueueStats Since(in QueueStats earlier) => new()
    {
        Packets = Packets - earlier.Packets,
        Bytes = Bytes - earlier.Bytes,
        Errors = Errors - earlier.Errors,
        Missed = Missed - earlier.Missed,
        NoMbuf = NoMbuf - earlier.NoMbuf,
        Calls = Calls - earlier.Calls,
    };
}
