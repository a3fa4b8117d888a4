using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>
/// TCP header without options, 20 bytes. RFC 9293 §3.1.
/// <code>
/// 0: source port:16 | destination port:16      4: sequence:32     8: acknowledgment:32
/// 12: data offset:4 reserved:4 | flags:8 | window:16    16: checksum:16 | urgent:16
/// </code>
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = Size, Pack = 1)]
public struct TcpHeader
{
    /// <summary>Bytes without options.</summary>
    public const int Size = 20;

    /// <summary>Sender's port.</summary>
    [FieldOffset(0)] public Be16 SourcePort;

    /// <summary>Receiver's port.</summary>
    [FieldOffset(2)] public Be16 DestinationPort;

    /// <summary>Number of the first payload byte.</summary>
    [FieldOffset(4)] public Be32 Sequence;

    /// <summary>Number of the byte expected next, when <see cref="TcpFlags.Ack"/> is set.</summary>
    [FieldOffset(8)] public Be32 Acknowledgment;

    /// <summary>32-bit words of header (5 to 15) in the high half.</summary>
    [FieldOffset(12)] public byte DataOffset;

    /// <summary>Control bits.</summary>
    [FieldOffset(13)] public TcpFlags Flags;

    /// <summary>Receive window before scaling.</summary>
    [FieldOffset(14)] public Be16 Window;

    /// <summary>Over pseudo-header, header and payload.</summary>
    [FieldOffset(16)] public Be16 Checksum;

    /// <summary>Urgent pointer.</summary>
    [FieldOffset(18)] public Be16 UrgentPointer;

    /// <summary>Bytes with options, 0 to 60; below 20 the packet is broken.</summary>
    public readonly int HeaderLength => (DataOffset >> 4) * 4;
}

/// <summary>TCP control bits. RFC 9293 §3.1.</summary>
[Flags]
public enum TcpFlags : byte
{
    /// <summary>None.</summary>
    None = 0,
    /// <summary>No more data.</summary>
    Fin = 1,
    /// <summary>Opens a connection.</summary>
    Syn = 2,
    /// <summary>Resets the connection.</summary>
    Rst = 4,
    /// <summary>Push.</summary>
    Psh = 8,
    /// <summary>Acknowledgment field counts.</summary>
    Ack = 16,
    /// <summary>Urgent pointer counts.</summary>
    Urg = 32,
    /// <summary>ECN echo, RFC 3168.</summary>
    Ece = 64,
    /// <summary>Congestion window reduced, RFC 3168.</summary>
    Cwr = 128,
}

/// <summary>Walks the options of an IPv4 (RFC 791 §3.1) or TCP (RFC 9293 §3.2) header; they have one format.</summary>
/// <param name="options">The bytes between the fixed header and its length.</param>
/// <example><code>
/// var options = new OptionReader(bytes[TcpHeader.Size..tcp.HeaderLength]);
/// while (options.TryNext(out byte kind, out ReadOnlySpan&lt;byte&gt; value)) ...
/// </code></example>
public ref struct OptionReader(ReadOnlySpan<byte> options)
{
    private ReadOnlySpan<byte> _rest = options;

    /// <summary>True once an option was met whose length is below 2 or beyond the end.</summary>
    public bool IsBroken { get; private set; }

    /// <summary>The next option that is no padding.</summary>
    /// <param name="kind">Its kind.</param>
    /// <param name="value">Its bytes after kind and length.</param>
    /// <returns>False at the end-of-list option, at the end of the bytes, or when broken.</returns>
    public bool TryNext(out byte kind, out ReadOnlySpan<byte> value)
    {
        kind = 0;
        value = default;
        while (_rest.Length > 0 && _rest[0] == 1)
            _rest = _rest[1..];
        if (_rest.Length == 0 || _rest[0] == 0)
            return false;
        if (_rest.Length < 2 || _rest[1] < 2 || _rest[1] > _rest.Length)
        {
            IsBroken = true;
            _rest = default;
            return false;
        }
        kind = _rest[0];
        value = _rest[2.._rest[1]];
        _rest = _rest[_rest[1]..];
        return true;
    }
}
