using System.Runtime.InteropServices;
using Dataplane.Net;

namespace Dataplane.Apps.Throughput;

/// <summary>What a test packet carries behind its UDP header: 18 bytes, all that a 64-byte frame has room
/// for.</summary>
[StructLayout(LayoutKind.Explicit, Size = 18)]
internal struct Stamp
{
    /// <summary>Bytes from the start of the frame.</summary>
    public const int Offset = EtherHeader.Size + IPv4Header.Size + UdpHeader.Size;

    /// <summary>Which trial it belongs to, so that stragglers of the one before are told apart.</summary>
    [FieldOffset(0)] public ushort Trial;

    /// <summary>0, 1, 2, ... in the order sent.</summary>
    [FieldOffset(2)] public ulong Sequence;

    /// <summary>TSC when it was handed to the port.</summary>
    [FieldOffset(10)] public ulong SentAt;
}
