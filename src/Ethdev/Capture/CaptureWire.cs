using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;

namespace Dataplane;

/// <summary>Which way packets go.</summary>
[Flags]
internal enum CaptureDirection : uint
{
    /// <summary>From receive queues to the application.</summary>
    Receive = 1,
    /// <summary>Taken by transmit queues.</summary>
    Transmit = 2,
}

/// <summary>Why nothing more will come of a ring.</summary>
internal enum CaptureEnd : uint
{
    /// <summary>It goes on.</summary>
    None,
    /// <summary>The queue was released: its port was closed or configured anew.</summary>
    Released,
    /// <summary>The application ended the capture.</summary>
    Ended,
}

/// <summary>Body of a <see cref="ControlType.Capture"/> request; the filter's instructions follow.</summary>
[StructLayout(LayoutKind.Explicit, Size = 96)]
internal unsafe struct CaptureRequest
{
    /// <summary>Stands for all ports, or all queues.</summary>
    internal const int All = -1;

    /// <summary>Least and most of <see cref="SnapLength"/>.</summary>
    internal const uint LeastSnapLength = 16, MostSnapLength = 262_144;

    /// <summary>Least and most of <see cref="RingBytes"/>, and what one application gives to all captures.</summary>
    internal const uint LeastRingBytes = 64 << 10, MostRingBytes = 256 << 20;

    /// <summary>Most bytes of rings in one application.</summary>
    internal const ulong MostBytes = 1ul << 30;

    /// <summary>Most rings of one capture.</summary>
    internal const int MostRings = 512;

    /// <summary>Most captures of one application, and of one connection.</summary>
    internal const int MostCaptures = 16, MostCapturesOfAClient = 4;

    [FieldOffset(0)] internal int Port;
    [FieldOffset(4)] internal int Queue;
    [FieldOffset(8)] internal CaptureDirection Direction;

    /// <summary>A port's name in place of its number, as in <see cref="CaptureRingInfo"/>; else zeros.</summary>
    [FieldOffset(32)] internal fixed byte PortName[CaptureRingInfo.NameBytes];

    /// <summary>Most bytes of a packet to keep.</summary>
    [FieldOffset(12)] internal uint SnapLength;

    /// <summary>Bytes of each queue's ring, a power of two.</summary>
    [FieldOffset(16)] internal uint RingBytes;

    /// <summary>Instructions that follow; 0: every packet is taken.</summary>
    [FieldOffset(20)] internal uint Instructions;

    /// <summary>Asks for a port by its name.</summary>
    internal void SetPortName(string name)
    {
        fixed (byte* start = PortName)
            CaptureRingInfo.Put(name, new Span<byte>(start, CaptureRingInfo.NameBytes));
    }
}

/// <summary>
/// Body of the answer; <see cref="RingCount"/> times <see cref="CaptureRingInfo"/> follow. The first file with it is
/// the rings' memory, which can only be read; the second has a line of 128 bytes for each, for the reader to write how
/// far it is.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal struct CaptureReply
{
    [FieldOffset(0)] internal int RingCount;
    [FieldOffset(4)] internal uint RingBytes;
    [FieldOffset(8)] internal uint SnapLength;

    /// <summary>Whether stamps are of the CPU's counter (<see cref="Tsc.IsHardware"/>).</summary>
    [FieldOffset(12)] internal uint IsHardwareClock;

    /// <summary>Stamps per second, and one of them with the time it was taken, nanoseconds since 1970.</summary>
    [FieldOffset(16)] internal double Hz;
    [FieldOffset(24)] internal ulong Tsc;
    [FieldOffset(32)] internal long RealTimeNs;
}

/// <summary>One ring of a capture: a queue of a port, in one direction.</summary>
[StructLayout(LayoutKind.Explicit, Size = 96)]
internal unsafe struct CaptureRingInfo
{
    /// <summary>Bytes of a port's name, with a zero behind it where it is shorter.</summary>
    internal const int NameBytes = 64;

    [FieldOffset(0)] internal ushort Port;
    [FieldOffset(2)] internal ushort Queue;
    [FieldOffset(4)] internal CaptureDirection Direction;
    [FieldOffset(8)] internal ulong LinkBitsPerSecond;
    [FieldOffset(16)] internal fixed byte Mac[6];
    [FieldOffset(24)] internal fixed byte Name[NameBytes];

    /// <summary>A name as a string; what is no UTF-8 of it is replaced.</summary>
    internal static string Text(ReadOnlySpan<byte> name)
    {
        int end = name.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? name : name[..end]);
    }

    /// <summary>A string as a name, cut off where it is too long.</summary>
    internal static void Put(string text, Span<byte> name)
    {
        name.Clear();
        Utf8.FromUtf16(text, name, out _, out _);
    }
}

/// <summary>
/// The first page of a ring's memory; the packets are behind it. Written by the application alone, which never reads it
/// back.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal struct CaptureRingHeader
{
    /// <summary>Where the packets begin.</summary>
    internal const int Bytes = 4096;

    /// <summary>Bytes written since the start: K0, K1 of docs/ordering.md.</summary>
    [FieldOffset(0)] internal ulong Head;

    /// <summary>Packets that went by, those of them the filter took, that were written, and that had no room.</summary>
    [FieldOffset(8)] internal ulong Seen;
    [FieldOffset(16)] internal ulong Accepted;
    [FieldOffset(24)] internal ulong Captured;
    [FieldOffset(32)] internal ulong Dropped;

    /// <summary>A <see cref="CaptureEnd"/>: K4, K5 of docs/ordering.md.</summary>
    [FieldOffset(40)] internal uint End;
}

/// <summary>Before every packet in a ring; the whole is a multiple of <see cref="Unit"/> and in one piece.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal struct CaptureRecord
{
    /// <summary>Bytes records are rounded to, so that a header fits wherever one may begin.</summary>
    internal const uint Unit = 32;

    /// <summary>A <see cref="Captured"/> that says: nothing here, go on at the ring's start.</summary>
    internal const uint Wrap = uint.MaxValue;

    [FieldOffset(0)] internal ulong Tsc;

    /// <summary>Bytes of the packet, and those of them that follow.</summary>
    [FieldOffset(8)] internal uint Length;
    [FieldOffset(12)] internal uint Captured;

    /// <summary>Packets lost since the record before, for want of room.</summary>
    [FieldOffset(16)] internal uint Lost;

    /// <summary>Bytes of a record with so many of a packet.</summary>
    internal static uint Bytes(uint captured) => (24 + captured + Unit - 1) & ~(Unit - 1);
}
