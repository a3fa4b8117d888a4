using System.Runtime.InteropServices;

namespace Dataplane;

/// <summary>What a message of the control socket is about. Numbers are for good.</summary>
internal enum ControlType : ushort
{
    /// <summary>Of an answer alone, with an error: to a message without a type, or to who is not served at all, before
    /// it asked.</summary>
    None = 0,
    /// <summary>No body; the answer is the process's name and arguments, joined by zero bytes.</summary>
    Hello = 1,
    /// <summary><c>CaptureRequest</c> and the filter; the answer is <c>CaptureReply</c> with two
    /// files.</summary>
    Capture = 2,
}

/// <summary>
/// Before the body of every message, both ways. A message is one of SOCK_SEQPACKET, in the machine's byte order, at
/// most <see cref="MaxBytes"/>; every request has one answer, in their order, and files may come with that. What was
/// asked for lasts until the connection ends.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct ControlHeader
{
    /// <summary>Most bytes of a message with its header.</summary>
    internal const int MaxBytes = 64 << 10;

    /// <summary>"DPC1".</summary>
    internal const uint KnownMagic = 0x3143_5044;

    [FieldOffset(0)] internal uint Magic;
    [FieldOffset(4)] internal ControlType Type;

    /// <summary>0 in a request. In an answer: 0, or errno, and then the body is text for people.</summary>
    [FieldOffset(8)] internal Errno Error;

    /// <summary>Bytes that follow.</summary>
    [FieldOffset(12)] internal uint BodyBytes;

    /// <summary>A whole message.</summary>
    internal static byte[] Frame(ControlType type, Errno error, ReadOnlySpan<byte> body)
    {
        int size = Marshal.SizeOf<ControlHeader>();
        byte[] message = new byte[size + body.Length];
        var header = new ControlHeader
        {
            Magic = KnownMagic, Type = type, Error = error, BodyBytes = (uint)body.Length,
        };
        MemoryMarshal.Write(message, header);
        body.CopyTo(message.AsSpan(size));
        return message;
    }

    /// <summary>Takes a message apart; false where it is none.</summary>
    internal static bool TryParse(ReadOnlySpan<byte> message, out ControlHeader header, out ReadOnlySpan<byte> body)
    {
        body = default;
        if (!MemoryMarshal.TryRead(message, out header) || header.Magic != KnownMagic)
            return false;
        body = message[Marshal.SizeOf<ControlHeader>()..];
        return header.BodyBytes == body.Length;
    }
}
