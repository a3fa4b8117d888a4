using System.Runtime.InteropServices;
using System.Text;
using Dataplane.Native;
using Dataplane.Net;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>What wrote a section, and where. draft-ietf-opsawg-pcapng §4.1.</summary>
internal sealed record PcapSection(string Hardware, string System, string Application);

/// <summary>An interface of a section. §4.2.</summary>
internal sealed record PcapInterface(string Name, string Description, MacAddress Mac, ulong BitsPerSecond,
    string Filter);

/// <summary>An interface's counts at the end of a section. §4.6.</summary>
internal readonly record struct PcapCounts(ulong StartNs, ulong EndNs, ulong Seen, ulong Accepted, ulong Dropped,
    ulong Written);

/// <content>Sections with several interfaces, what is known of each packet, and statistics: for captures of a running
/// application.</content>
internal sealed unsafe partial class PcapWriter
{
    /// <summary>Stands for standard output in place of a path.</summary>
    internal const string StandardOutput = "-";

    /// <summary>Most bytes of a text that are kept.</summary>
    private const int MostTextBytes = 4096;

    /// <summary>Bytes enough for a block's own fields and all of its options but texts and packet data.</summary>
    private const int MostFieldBytes = 160;

    /// <summary>Bytes written and to be written.</summary>
    internal long Length => _fileBytes + _used - _written;

    /// <summary>Opens a path where it is a named pipe, which takes a program that reads it.</summary>
    /// <param name="path">Of any file; there need not be one.</param>
    /// <param name="pipe">For <see cref="CreateSection"/>; null where it is no pipe.</param>
    /// <returns>False: nobody reads it yet.</returns>
    internal static bool TryOpenPipe(string path, out SafeFileHandle? pipe)
    {
        pipe = null;
        if (path == StandardOutput)
            return true;
        SafeFileHandle file = Fcntl.open(path, Fcntl.O_WRONLY | Fcntl.O_NONBLOCK | Fcntl.O_CLOEXEC, 0);
        if (file.IsInvalid)
            return (Errno)Marshal.GetLastPInvokeError() != Errno.ENXIO;     // fifo(7)
        if (Fcntl.lseek(file, 0, Fcntl.SEEK_END) < 0 && Fcntl.fcntl(file, Fcntl.F_SETFL, 0) == 0)
            pipe = file;
        else
            file.Dispose();
        return true;
    }

    /// <summary>Makes a pcapng file of nanoseconds, or empties it, and begins a section of it; interfaces are to
    /// follow. Waits for the reader where it is a pipe.</summary>
    /// <param name="path">The file; "-" is standard output.</param>
    /// <param name="section">What it says of its writer.</param>
    /// <param name="snapLength">Most bytes of a packet to keep.</param>
    /// <param name="pipe">Of <see cref="TryOpenPipe"/>, the writer's from now on; null: opened here.</param>
    /// <exception cref="DeviceException">EACCES, ENOENT, ...: it cannot be written.</exception>
    internal static PcapWriter CreateSection(string path, PcapSection section, int snapLength,
        SafeFileHandle? pipe = null)
    {
        SafeFileHandle file;
        if (pipe != null)
            file = pipe;
        else if (path == StandardOutput)
            file = new SafeFileHandle(1, ownsHandle: false);
        else
        {
            // rw-------: what goes over a network is not for everybody to read
            file = Fcntl.open(path, Fcntl.O_WRONLY | Fcntl.O_CREAT | Fcntl.O_TRUNC | Fcntl.O_CLOEXEC, 0x180);
            if (file.IsInvalid)
                throw Refused("dpctl capture", path, (Errno)Marshal.GetLastPInvokeError());
        }
        var writer = new PcapWriter(file, PcapFormat.PcapNg, nanoseconds: true, (uint)snapLength);
        int block = writer.Begin(PcapWire.SectionHeader);
        writer.Put32(PcapWire.ByteOrderMagic, 1, uint.MaxValue, uint.MaxValue);
        writer.PutOption(PcapWire.SectionHardware, Text(section.Hardware));
        writer.PutOption(PcapWire.SectionSystem, Text(section.System));
        writer.PutOption(PcapWire.SectionApplication, Text(section.Application));
        writer.End(block);
        return writer;
    }

    /// <summary>Adds an interface; the first is 0. Before its packets.</summary>
    /// <returns>False when there is no room, for the reason in <see cref="Error"/>.</returns>
    internal bool AddInterface(PcapInterface one)
    {
        ReadOnlySpan<byte> name = Text(one.Name), description = Text(one.Description), filter = Text(one.Filter);
        if (!Reserve(MostFieldBytes + name.Length + description.Length + filter.Length))
            return false;
        Span<byte> bytes = stackalloc byte[8];
        int block = Begin(PcapWire.InterfaceDescription);
        Put32(PcapWire.Ethernet, _snapLength);
        PutOption(PcapWire.InterfaceName, name);
        PutOption(PcapWire.InterfaceText, description);
        one.Mac.Write(bytes);
        PutOption(PcapWire.InterfaceMac, bytes[..6]);
        if (one.BitsPerSecond != 0)
            PutOption(PcapWire.InterfaceSpeed, one.BitsPerSecond);
        PutOption(PcapWire.TimestampResolution, [9]);
        if (!filter.IsEmpty)
            PutOption(PcapWire.InterfaceFilter, [0, .. filter]);
        End(block);
        return true;
    }

    /// <summary>Adds a packet. §4.3.</summary>
    /// <param name="interfaceId">Of which interface.</param>
    /// <param name="nanoseconds">Its stamp, since 1970.</param>
    /// <param name="length">Bytes of the whole packet.</param>
    /// <param name="data">Those kept.</param>
    /// <param name="outbound">It was sent; otherwise received.</param>
    /// <param name="queue">By which queue.</param>
    /// <param name="lost">Packets lost before it.</param>
    /// <returns>False when there is no room, for the reason in <see cref="Error"/>.</returns>
    internal bool AddPacket(uint interfaceId, ulong nanoseconds, uint length, ReadOnlySpan<byte> data, bool outbound,
        uint queue, uint lost)
    {
        if (!Reserve(MostFieldBytes + (long)data.Length))
            return false;
        int block = Begin(PcapWire.EnhancedPacket);
        Put32(interfaceId, (uint)(nanoseconds >> 32), (uint)nanoseconds, (uint)data.Length, length);
        PutPadded(data);
        PutOption(PcapWire.PacketFlags, outbound ? 2u : 1u);
        if (lost != 0)
            PutOption(PcapWire.PacketDropCount, (ulong)lost);
        PutOption(PcapWire.PacketQueue, queue);
        End(block);
        return true;
    }

    /// <summary>Adds an interface's counts.</summary>
    /// <returns>False when there is no room, for the reason in <see cref="Error"/>.</returns>
    internal bool AddStatistics(uint interfaceId, in PcapCounts counts)
    {
        if (!Reserve(MostFieldBytes))
            return false;
        int block = Begin(PcapWire.InterfaceStatistics);
        Put32(interfaceId, (uint)(counts.EndNs >> 32), (uint)counts.EndNs);
        PutOption(PcapWire.StatisticsStart, counts.StartNs >> 32 | counts.StartNs << 32);   // the upper half first
        PutOption(PcapWire.StatisticsEnd, counts.EndNs >> 32 | counts.EndNs << 32);
        PutOption(PcapWire.StatisticsReceived, counts.Seen);
        PutOption(PcapWire.StatisticsAccepted, counts.Accepted);
        PutOption(PcapWire.StatisticsDropped, counts.Dropped);
        PutOption(PcapWire.StatisticsDelivered, counts.Written);
        End(block);
        return true;
    }

    /// <summary>Makes room for a block, and all that is written of one is within what was asked for here.</summary>
    private bool Reserve(long bytes)
    {
        if (bytes <= BufferBytes - _used)
            return true;
        if (!Flush())
            return false;
        if (bytes <= BufferBytes - _used)
            return true;
        Error = Errno.EMSGSIZE;
        return false;
    }

    private static ReadOnlySpan<byte> Text(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        return bytes.AsSpan(0, Math.Min(bytes.Length, MostTextBytes));
    }

    private int Begin(uint type)
    {
        int block = _used;
        Put32(type, 0);
        return block;
    }

    // A block ends its options, and with its length.
    private void End(int block)
    {
        Put32(PcapWire.EndOfOptions);
        uint bytes = (uint)(_used - block + 4);
        Put32(bytes);
        *(uint*)(_buffer + block + 4) = bytes;
    }

    private void PutOption<T>(ushort code, T value) where T : unmanaged =>
        PutOption(code, new ReadOnlySpan<byte>(&value, sizeof(T)));

    private void PutOption(ushort code, ReadOnlySpan<byte> value)
    {
        Put32(code | (uint)value.Length << 16);
        PutPadded(value);
    }

    private void PutPadded(ReadOnlySpan<byte> bytes)
    {
        int padded = bytes.Length + 3 & ~3;
        *(uint*)(_buffer + _used + Math.Max(padded - 4, 0)) = 0;
        bytes.CopyTo(new Span<byte>(_buffer + _used, bytes.Length));
        _used += padded;
    }
}
