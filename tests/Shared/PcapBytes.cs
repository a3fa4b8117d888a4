using System.Buffers.Binary;

namespace Dataplane.Tests;

/// <summary>A folder for the files of one test; gone when disposed.</summary>
internal sealed class PcapFolder : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("dataplane-pcap-");

    internal string Path => _folder.FullName;

    internal string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose() => _folder.Delete(recursive: true);
}

/// <summary>A packet and when it was.</summary>
internal sealed record TestPacket(ulong Nanoseconds, byte[] Bytes, uint? OriginalLength = null);

/// <summary>How a file of a test is written.</summary>
internal sealed record TestFormat(bool Ng = false, bool Swap = false, bool Nano = false);

/// <summary>
/// Capture files made byte by byte from the drafts, knowing nothing of the driver's writer, in both byte orders.
/// </summary>
internal sealed class PcapBytes(bool swap)
{
    private readonly List<byte> _bytes = [];

    internal static byte[] File(IEnumerable<TestPacket> packets, TestFormat format)
    {
        var file = new PcapBytes(format.Swap);
        if (format.Ng)
            file.Section().Interface(format.Nano ? (byte)9 : (byte)6);
        else
            file.U32(format.Nano ? 0xa1b2_3c4d : 0xa1b2_c3d4).U16(2).U16(4).U32(0).U32(0).U32(65535).U32(1);
        foreach (TestPacket packet in packets)
        {
            if (format.Ng)
                file.Enhanced(packet, format.Nano ? 1u : 1000u);
            else
                file.Record(packet, format.Nano);
        }
        return file.ToArray();
    }

    internal byte[] ToArray() => [.. _bytes];

    internal PcapBytes Record(TestPacket packet, bool nano) => U32((uint)(packet.Nanoseconds / 1_000_000_000))
        .U32((uint)(packet.Nanoseconds % 1_000_000_000 / (nano ? 1u : 1000u))).U32((uint)packet.Bytes.Length)
        .U32(packet.OriginalLength ?? (uint)packet.Bytes.Length).Raw(packet.Bytes);

    internal PcapBytes Section() => Block(0x0a0d0d0a, b => b
        .U32(0x1a2b3c4d).U16(1).U16(0).U32(uint.MaxValue).U32(uint.MaxValue));

    internal PcapBytes Interface(byte resolution = 6, long offset = 0, ushort link = 1, uint snap = 0) => Block(1, b =>
        b.U16(link).U16(0).U32(snap).Option(2, "eth0"u8).Option(9, [resolution]).OptionI64(14, offset).Option(0, []));

    internal PcapBytes Enhanced(TestPacket packet, uint unit, uint number = 0, bool comment = false)
    {
        ulong ticks = packet.Nanoseconds / unit;
        return Block(6, b =>
        {
            b.U32(number).U32((uint)(ticks >> 32)).U32((uint)ticks).U32((uint)packet.Bytes.Length)
                .U32(packet.OriginalLength ?? (uint)packet.Bytes.Length).Raw(packet.Bytes).Pad();
            if (comment)
                b.Option(1, "hello"u8).Option(0, []);
        });
    }

    internal PcapBytes Simple(byte[] packet, uint original) => Block(3, b => b.U32(original).Raw(packet).Pad());

    internal PcapBytes Block(uint type, Action<PcapBytes> body)
    {
        var inner = new PcapBytes(swap);
        body(inner);
        var length = (uint)(inner._bytes.Count + 12);
        return U32(type).U32(length).Raw([.. inner._bytes]).U32(length);
    }

    internal PcapBytes Option(ushort code, ReadOnlySpan<byte> value) =>
        U16(code).U16((ushort)value.Length).Raw(value).Pad();

    internal PcapBytes OptionI64(ushort code, long value)
    {
        U16(code).U16(8);
        byte[] bytes = BitConverter.GetBytes(swap ? BinaryPrimitives.ReverseEndianness(value) : value);
        return Raw(bytes);
    }

    internal PcapBytes U32(uint value) =>
        Raw(BitConverter.GetBytes(swap ? BinaryPrimitives.ReverseEndianness(value) : value));

    internal PcapBytes U16(ushort value) =>
        Raw(BitConverter.GetBytes(swap ? BinaryPrimitives.ReverseEndianness(value) : value));

    internal PcapBytes Raw(ReadOnlySpan<byte> bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    private PcapBytes Pad()
    {
        while (_bytes.Count % 4 != 0)
            _bytes.Add(0);
        return this;
    }
}
