using System.Buffers.Binary;

namespace Dataplane.Tests;

/// <summary>Ethernet frames for tests.</summary>
internal static class Frames
{
    /// <summary>Of the local experimental type 0x88b5, with a number and then a pattern that depends on it.</summary>
    internal static byte[] Numbered(int number, int length)
    {
        var frame = new byte[length];
        frame.AsSpan(0, 6).Fill(0xff);
        frame[6] = 2;
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), 0x88b5);
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(14), number);
        for (int i = 18; i < length; i++)
            frame[i] = (byte)(number * 31 + i);
        return frame;
    }

    /// <summary>With an 802.1Q tag behind the addresses.</summary>
    internal static byte[] Tag(byte[] frame, ushort tci) =>
        [.. frame[..12], 0x81, 0x00, (byte)(tci >> 8), (byte)tci, .. frame[12..]];
}
